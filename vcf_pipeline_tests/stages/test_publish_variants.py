"""Sessions of single variants: sent in chunks, announced once, and in the tables as a file of them would be."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgpack
import pytest
from polars.testing import assert_frame_equal
from uuid_utils import uuid7

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.domain.errors import (
    BadVariant,
    BrokerUnavailable,
    MissingChunks,
    StreamBroken,
    TooManyRejects,
    UnreadableMessage,
)
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import heard
from vcf_pipeline.domain.stream.topics import CALLSETS, variants_topic
from vcf_pipeline.domain.stream.variant_messages import HEADER_TEXT, RECORDS, VCFVariantMessage, records_body, to_line
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.announce_records import announce_ended
from vcf_pipeline.stages.publish_variants import BatchProcessor, SessionLimits
from vcf_pipeline.testing.scripted_broker import DIES, WORKS, ScriptedBroker
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.stages.published import announcements

NOW = "2026-01-01T00:00:00+00:00"


def variant(number: int, **fields: Any) -> VCFVariantMessage:
    return VCFVariantMessage(
        chromosome="1",
        position=1000 + number,
        reference="A",
        alternate="C,G" if number % 5 == 0 else "C",
        **{"quality": 30.0, "info_fields": {"DP": number, "MINE": f"m{number}"}, **fields},
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def session(coordinator: Coordinator, clock: Clock | None = None, **others: Any) -> BatchProcessor:
    return BatchProcessor(
        coordinator, tenant="t", now=lambda: NOW, new_id=lambda: str(uuid7()), clock=clock or Clock(), **others
    )


def filled(coordinator: Coordinator, variants: list[VCFVariantMessage], **others: Any) -> BatchProcessor:
    one = session(coordinator, **others)
    for each in variants:
        if one.add(each):
            one.flush()
    return one


def tables_of(control: Control, announced: Announcement) -> dict[str, Any]:
    """Accepted, received and parsed as a run does it."""
    from vcf_pipeline.stages.parse import parse_callset
    from vcf_pipeline.stages.receive import open_received

    assert control.ledger.record_announcement(announced) == "accepted"
    callset = control.ledger.callset(announced.key)
    assert callset is not None
    with (
        control.ledger.lease(f"parsed_variants/{announced.key}", wait_seconds=1) as lease,
        open_received(announced, control.coordinator) as source,
    ):
        parse_callset(
            source, callset=callset, tables=control.tables, ledger_lease=lease, announced_digest=announced.digest
        )
    return {
        table: control.tables.read(announced.tenant, announced.callset_id, "parsed_variants", table)
        for table in ("variants", "rejects")
    }


def tables_of_file(control: Control, path: Path) -> tuple[str, dict[str, Any]]:
    from vcf_pipeline.adapters.vcf_files.reader import open_reader
    from vcf_pipeline.stages.parse import parse_callset
    from vcf_pipeline.stages.register import register_callset

    callset, _ = register_callset(
        str(path),
        tenant="t",
        label=None,
        settings=ReaderSettings(),
        ledger=control.ledger,
        new_id=lambda: str(uuid7()),
    )
    with (
        control.ledger.lease(f"parsed_variants/{callset.key}", wait_seconds=1) as lease,
        open_reader(str(path), ReaderSettings()) as source,
    ):
        parse_callset(source, callset=callset, tables=control.tables, ledger_lease=lease)
    return callset.callset_id, {
        table: control.tables.read("t", callset.callset_id, "parsed_variants", table)
        for table in ("variants", "rejects")
    }


def text_of(variants: list[VCFVariantMessage]) -> str:
    return HEADER_TEXT + "".join(f"{to_line(each)}\n" for each in variants)


def test_a_session_is_in_the_tables_as_a_file_of_its_variants_would_be(tmp_path: Path):
    variants = [variant(number) for number in range(2500)]
    with Control(load_settings({}, home=tmp_path / "stream")) as control:
        (report,) = filled(control.coordinator, variants, label="night run").close()
        (announced,) = announcements(control.coordinator)
        streamed = tables_of(control, announced)
    (tmp_path / "same.vcf").write_text(text_of(variants))
    with Control(load_settings({}, home=tmp_path / "batch")) as control:
        callset_id, from_file = tables_of_file(control, tmp_path / "same.vcf")
    assert announced.callset_id == callset_id
    assert (report.records, report.alleles, report.chunks, report.label) == (2500, 3000, 4, "night run")
    for table, expected in from_file.items():
        assert_frame_equal(streamed[table], expected)


def test_a_session_without_a_variant_announces_nothing():
    with Coordinator([ScriptedBroker()]) as coordinator:
        one = session(coordinator)
        assert one.seconds_until_due() is None
        assert one.close() == []
        assert announcements(coordinator) == []


def test_a_chunk_is_due_at_its_number_or_by_the_clock():
    clock = Clock()
    with Coordinator([ScriptedBroker()]) as coordinator:
        one = session(coordinator, clock, limits=SessionLimits(chunk_variants=3))
        assert [one.add(variant(number)) for number in range(3)] == [False, False, True]
        one.flush()
        assert one.waiting == 0
        clock.now = 100.0
        one.add(variant(4))
        assert one.seconds_until_due() == 5.0
        clock.now = 105.0
        assert one.seconds_until_due() == 0.0
        one.flush()
        assert one.seconds_until_due() == 900.0 - 105.0
        one.close()


def test_a_callset_ends_at_its_rows_and_at_its_age_and_the_session_goes_on():
    clock = Clock()
    limits = SessionLimits(chunk_variants=10, callset_rows=20)
    with Coordinator([ScriptedBroker()]) as coordinator:
        one = filled(coordinator, [variant(number) for number in range(20)], clock=clock, limits=limits)
        assert [report.alleles for report in one.reports] == [24]
        one.add(variant(50))
        one.flush()
        clock.now = 900.0
        one.flush()
        assert [report.records for report in one.reports] == [20, 1]
        assert len(one.close()) == 2
        assert len({announced.callset_id for announced in announcements(coordinator)}) == 2


def test_a_bad_variant_is_refused_and_the_session_goes_on():
    with Coordinator([ScriptedBroker()]) as coordinator:
        one = filled(coordinator, [variant(1)])
        with pytest.raises(BadVariant):
            one.add(variant(2, quality=float("nan")))
        (report,) = one.close()
        assert (report.records, one.accepted) == (1, 1)


def test_an_abandoned_session_announces_nothing():
    with Coordinator([ScriptedBroker()]) as coordinator:
        one = filled(coordinator, [variant(number) for number in range(1500)])
        one.abandon()
        assert one.close() == []
        assert announcements(coordinator) == []


def test_a_broker_that_is_gone_fails_the_session_and_nothing_is_announced():
    clock = Clock()
    broker = ScriptedBroker(appends=[WORKS, *[DIES] * 100])

    def pause(seconds: float) -> None:
        clock.now += seconds

    with Coordinator([broker], clock=clock, pause=pause) as coordinator:
        one = filled(coordinator, [variant(1)])
        one.flush()
        one.add(variant(2))
        with pytest.raises(BrokerUnavailable):
            one.close()
        broker._appends.clear()
        assert announcements(coordinator) == []


# --- foreign producers


def sent_by_a_stranger(
    coordinator: Coordinator,
    chunks: list[bytes],
    *,
    seqs: list[int] | None = None,
    publish_id: str = "x",
    correlation_id: str = "",
    **end: Any,
) -> None:
    """Messages as another program would write them, in partition 3, with other cargo between them; then the end."""
    topic = variants_topic("t")
    broker = coordinator.brokers[0]
    broker.ensure_topics([topic, CALLSETS])
    for place, seq in enumerate(seqs if seqs is not None else range(len(chunks))):
        one = Envelope(id=f"x/{seq}", kind=RECORDS, tenant="t", publish_id=publish_id, seq=seq, body=chunks[place])
        broker.append(topic, 3, [frame.encode(one), b"garbage"])
    body = msgpack.packb({"n_chunks": len(chunks), "partition": 3, **end})
    one = Envelope(
        id="x/end", kind="variants/end", tenant="t", publish_id=publish_id, correlation_id=correlation_id, body=body
    )
    broker.append(CALLSETS, 1, [frame.encode(one)])


def ended(coordinator: Coordinator) -> Any:
    (message,) = heard(coordinator.wait([CALLSETS], Cursor(), 0.0))
    assert message.ended is not None, message.reason
    return message.ended


def chunks_of(variants: list[VCFVariantMessage], size: int = 40) -> list[bytes]:
    return [records_body(variants[at : at + size]) for at in range(0, len(variants), size)]


def test_what_a_stranger_sent_is_in_the_tables_as_a_file_of_it_would_be(tmp_path: Path):
    variants = [variant(number) for number in range(100)]
    chunks = chunks_of(variants)
    with Control(load_settings({}, home=tmp_path / "stream")) as control:
        sent_by_a_stranger(control.coordinator, chunks, label="from afar")
        first = announce_ended(ended(control.coordinator), control.coordinator, "embedded", NOW)
        (announced,) = announcements(control.coordinator)
        assert announced == first
        assert announced.label == "from afar"
        streamed = tables_of(control, announced)
    (tmp_path / "same.vcf").write_text(text_of(variants))
    with Control(load_settings({}, home=tmp_path / "batch")) as control:
        callset_id, from_file = tables_of_file(control, tmp_path / "same.vcf")
    assert announced.callset_id == callset_id
    assert_frame_equal(streamed["variants"], from_file["variants"])


@pytest.mark.parametrize("name", ["publish_id", "correlation_id", "label", "assembly"])
@pytest.mark.parametrize("length", [37, 55, 200])
def test_an_announcement_can_be_read_whatever_texts_the_end_of_it_was_heard_with(name: str, length: int):
    with Coordinator([ScriptedBroker()]) as coordinator:
        sent_by_a_stranger(coordinator, chunks_of([variant(1)]), **{name: "x" * length})
        made = announce_ended(ended(coordinator), coordinator, coordinator.brokers[0].name, NOW)
        assert announcements(coordinator) == [made]
        assert getattr(made, name) == "x" * length


def test_repeated_and_swapped_messages_of_a_stranger_make_one_callset():
    chunks = chunks_of([variant(number) for number in range(120)])
    made = []
    for seqs, bodies in (([0, 1, 2], chunks), ([1, 0, 1, 2], [chunks[1], chunks[0], chunks[1], chunks[2]])):
        with Coordinator([ScriptedBroker()]) as coordinator:
            sent_by_a_stranger(coordinator, bodies, seqs=seqs, n_chunks=3)
            made.append(announce_ended(ended(coordinator), coordinator, coordinator.brokers[0].name, NOW))
    assert made[0].callset_id == made[1].callset_id
    assert made[0].digest == made[1].digest


def test_what_a_stranger_sent_adds_up_to_the_same_however_much_of_it_is_parsed_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    chunks = chunks_of([variant(number) for number in range(120)], size=7)
    made = []
    for lines in (1, 20, 10_000):
        monkeypatch.setattr("vcf_pipeline.stages.announce_records._PARSED_LINES", lines)
        with Coordinator([ScriptedBroker()]) as coordinator:
            sent_by_a_stranger(coordinator, chunks)
            one = announce_ended(ended(coordinator), coordinator, coordinator.brokers[0].name, NOW)
            made.append((one.digest, one.sha256, one.records, one.alleles, one.size_bytes))
    assert made[0] == made[1] == made[2]


def test_an_end_whose_messages_are_not_read_in_time_is_refused():
    now = itertools.count(0.0, 1.0)
    with Coordinator([ScriptedBroker()]) as coordinator:
        sent_by_a_stranger(coordinator, chunks_of([variant(number) for number in range(400)]))
        given = (ended(coordinator), coordinator, coordinator.brokers[0].name, NOW)
        with pytest.raises(StreamBroken, match="first_offset") as refused:
            announce_ended(*given, seconds=9.0, clock=lambda: next(now))
        assert refused.value.code == "PUBLICATION_TOO_LARGE"
        assert announcements(coordinator) == []
        assert announce_ended(*given, seconds=30.0, clock=lambda: next(now)).records == 400


def test_a_missing_message_of_a_stranger_is_named_and_nothing_is_announced():
    chunks = chunks_of([variant(number) for number in range(120)])
    with Coordinator([ScriptedBroker()]) as coordinator:
        sent_by_a_stranger(coordinator, [chunks[0], chunks[2]], seqs=[0, 2], n_chunks=3)
        with pytest.raises(MissingChunks) as missing:
            announce_ended(ended(coordinator), coordinator, coordinator.brokers[0].name, NOW)
        assert missing.value.seqs == [1]
        assert announcements(coordinator) == []


@pytest.mark.parametrize("end", [{}, {"first_offset": 1}])
def test_a_stranger_whose_partition_has_lost_its_front_to_retention_is_read_from_what_is_kept(end: dict[str, int]):
    broker = ScriptedBroker()
    with Coordinator([broker]) as coordinator:
        broker.ensure_topics([variants_topic("t")])
        broker.append(variants_topic("t"), 3, [b"another's"] * 5)
        sent_by_a_stranger(coordinator, chunks_of([variant(number) for number in range(80)]), **end)
        broker.expire(variants_topic("t"), 3, 4)
        announced = announce_ended(ended(coordinator), coordinator, broker.name, NOW)
        assert (announced.records, announced.segments[0].first_offset) == (80, 5)


def test_messages_of_a_stranger_that_retention_took_are_named_as_missing():
    broker = ScriptedBroker()
    with Coordinator([broker]) as coordinator:
        sent_by_a_stranger(coordinator, chunks_of([variant(number) for number in range(120)]))
        broker.expire(variants_topic("t"), 3, 3)
        with pytest.raises(MissingChunks) as missing:
            announce_ended(ended(coordinator), coordinator, broker.name, NOW)
        assert missing.value.seqs == [0, 1]


def test_records_that_are_none_are_refused_whole():
    with Coordinator([ScriptedBroker()]) as coordinator:
        sent_by_a_stranger(coordinator, [msgpack.packb([{"chromosome": "1"}])])
        with pytest.raises(UnreadableMessage, match="position"):
            announce_ended(ended(coordinator), coordinator, coordinator.brokers[0].name, NOW)


def test_a_stranger_with_too_many_rejects_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "vcf_pipeline.stages.announce_records.read_lines", lambda envelope: ["1\tnowhere\t.\tA\tC\t.\t.\t."]
    )
    with Coordinator([ScriptedBroker()]) as coordinator:
        sent_by_a_stranger(coordinator, chunks_of([variant(1)]))
        with pytest.raises(TooManyRejects):
            announce_ended(ended(coordinator), coordinator, coordinator.brokers[0].name, NOW)


@pytest.mark.parametrize(
    "end",
    [
        {"n_chunks": 0},
        {"n_chunks": 1 << 30},
        {"n_chunks": "3"},
        {"partition": -1},
        {"first_offset": 1.5},
        {"label": "x" * 1000},
        {"assembly": 38},
        {"label": "a\0b"},
        {"publish_id": "a\0b"},
        {"correlation_id": "a\0b"},
    ],
)
def test_an_end_that_cannot_be_is_no_end_but_a_dead_letter(end: dict[str, Any]):
    with Coordinator([ScriptedBroker()]) as coordinator:
        sent_by_a_stranger(coordinator, chunks_of([variant(1)]), **end)
        (message,) = heard(coordinator.wait([CALLSETS], Cursor(), 0.0))
        assert message.ended is None
        assert message.reason
