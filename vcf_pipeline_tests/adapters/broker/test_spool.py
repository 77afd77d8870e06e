"""The spool: what it keeps over a restart, how it refuses, and how it leaves by a broker in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.forwarder import resolved
from vcf_pipeline.adapters.broker.spool import KEEP_UNANNOUNCED_S, RESERVE_BYTES, SPOOL, Spool
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable, StreamBroken, TopicFull
from vcf_pipeline.domain.identity import announcement_id
from vcf_pipeline.domain.stream.announcement import Announcement, Segment
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline.testing.scripted_broker import ScriptedBroker

TOPIC = variants_topic("t")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 64 << 20)


def chunks(first: int, last: int, size: int = 10) -> list[tuple[int, bytes]]:
    return [(seq, b"%d:" % seq + b"x" * size) for seq in range(first, last + 1)]


def announced(publish_id: str, segments: list[Segment], n_chunks: int, callset: str = "0" * 16) -> Announcement:
    return Announcement(
        id=announcement_id("t", callset, publish_id),
        tenant="t",
        callset_id=callset,
        publish_id=publish_id,
        correlation_id="c",
        label="made",
        uri="/made/here.vcf",
        sha256="0" * 64,
        size_bytes=1,
        assembly=None,
        reader_settings={},
        settings_fingerprint="0" * 16,
        segments=tuple(segments),
        n_chunks=n_chunks,
        records=1,
        alleles=1,
        rejected=0,
        digest="d1:" + "0" * 32,
        vcf_version="VCFv4.2",
        created_at="2026-01-01T00:00:00+00:00",
    )


def test_nothing_is_made_before_it_is_used(spool: Spool):
    assert spool.publications() == []
    assert spool.used_bytes == 0
    spool.drop("nobody")
    assert not spool.folder.exists()


def test_chunks_are_there_for_the_next_process_under_their_numbers_once(spool: Spool):
    segment = spool.append(TOPIC, 3, "p", chunks(0, 4))
    again = spool.append(TOPIC, 3, "p", chunks(2, 6))
    assert (segment.broker, segment.first_offset, segment.last_offset) == (SPOOL, 0, 4)
    assert segment.incarnation == again.incarnation
    spool.close()
    (one,) = Spool(spool.folder, spool.max_bytes).publications()
    assert (one.publish_id, one.topic, one.n_left, one.announcement) == ("p", TOPIC, 7, None)
    assert Spool(spool.folder, spool.max_bytes).unsent("p", 1 << 20) == chunks(0, 6)


def test_it_is_private(spool: Spool):
    spool.append(TOPIC, 0, "p", chunks(0, 0))
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert spool.path.stat().st_mode & 0o077 == 0


def test_full_it_refuses_says_what_to_do_and_keeps_what_it_has(tmp_path: Path):
    spool = Spool(tmp_path / "spool", RESERVE_BYTES + (1 << 20))
    spool.append(TOPIC, 0, "p", chunks(0, 0, 600_000))
    with pytest.raises(TopicFull) as full:
        spool.append(TOPIC, 0, "p", chunks(1, 1, 600_000))
    for words in ("spool drain", "VCF_PIPELINE_STREAM__SPOOL_BYTES", "Nothing is lost"):
        assert words in str(full.value)
    assert [seq for seq, _ in spool.unsent("p", 1 << 30)] == [0]
    spool.keep(TOPIC, "p", b"an announcement still fits")
    spool.drop("p")
    spool.append(TOPIC, 0, "q", chunks(0, 0, 600_000))  # what is dropped makes room


def test_stretches_have_no_gap_and_leave_out_what_was_sent(spool: Spool):
    spool.append(TOPIC, 0, "p", chunks(0, 3))
    spool.append(TOPIC, 0, "p", chunks(7, 9))
    assert [seq for seq, _ in spool.unsent("p", 1 << 20)] == [0, 1, 2, 3]
    assert [seq for seq, _ in spool.unsent("p", 25)] == [0, 1]
    spool.note_sent("p", 0, 3, Segment("iggy", TOPIC.full_name, "i", 0, "p", 10, 13))
    assert [seq for seq, _ in spool.unsent("p", 1 << 20)] == [7, 8, 9]
    spool.forget_sent("p")
    assert [seq for seq, _ in spool.unsent("p", 1 << 20)] == [0, 1, 2, 3]


def test_what_nobody_announced_in_a_week_is_swept(tmp_path: Path):
    now = [1e9]
    spool = Spool(tmp_path / "spool", 64 << 20, clock=lambda: now[0])
    spool.append(TOPIC, 0, "given-up", chunks(0, 0))
    spool.append(TOPIC, 0, "whole", chunks(0, 0))
    spool.keep(TOPIC, "whole", b"announcement")
    now[0] += KEEP_UNANNOUNCED_S + 1
    assert spool.sweep() == ["given-up"]
    assert [one.publish_id for one in spool.publications()] == ["whole"]


def test_only_one_process_forwards(spool: Spool):
    other = Spool(spool.folder, spool.max_bytes)
    with spool.one_forwarder() as is_mine, other.one_forwarder() as is_theirs:
        assert (is_mine, is_theirs) == (True, False)
    with other.one_forwarder() as is_theirs:
        assert is_theirs


def kept(spool: Spool, coordinator: Coordinator, publish_id: str, callset: str) -> None:
    """A publication that found no broker."""
    with coordinator.publisher("t", publish_id) as publisher:
        for seq, body in chunks(0, 5):
            publisher.send(seq, body)
    whole = announced(publish_id, publisher.segments, 6, callset)
    assert coordinator.announce(whole, ts=1, producer="test") is None


@pytest.fixture
def broker() -> ScriptedBroker:
    return ScriptedBroker(name="iggy")


@pytest.fixture
def coordinator(broker: ScriptedBroker, spool: Spool):
    with Coordinator([broker], spool=spool, frozen_after_s=0.2) as coordinator:
        yield coordinator


def test_they_leave_in_the_order_in_which_they_came_each_announced_after_its_chunks(
    broker: ScriptedBroker, coordinator: Coordinator, spool: Spool
):
    broker.die()
    for number in range(3):
        kept(spool, coordinator, f"p{number}", str(number) * 16)
    drained = coordinator.drain()
    assert (drained.left, len(drained.forwarded)) == (3, 0)
    assert "iggy" in drained.reason
    broker.restart()
    drained = coordinator.drain()
    assert [one.publish_id for one in drained.forwarded] == ["p0", "p1", "p2"]
    assert spool.publications() == []
    for one in drained.forwarded:
        bodies = [message.body for segment in one.segments for message in coordinator.read_segment(segment)]
        assert [body for body in bodies if body in dict(chunks(0, 5)).values()] == [body for _, body in chunks(0, 5)]
        assert {segment.broker for segment in one.segments} == {"iggy"}


def test_whether_something_waits_is_known_without_making_anything(
    broker: ScriptedBroker, coordinator: Coordinator, spool: Spool
):
    assert not spool.has_announced()
    assert not spool.folder.exists()
    spool.append(TOPIC, 0, "being-published", chunks(0, 0))
    assert not spool.has_announced()
    broker.die()
    kept(spool, coordinator, "p", "1" * 16)
    assert spool.has_announced()
    broker.restart()
    coordinator.drain()
    assert not spool.has_announced()


def test_a_pass_whose_time_is_over_leaves_the_rest_to_the_next_in_the_middle_of_a_publication_too(
    broker: ScriptedBroker, coordinator: Coordinator, spool: Spool
):
    broker.die()
    big = chunks(0, 9, size=1 << 20)
    with coordinator.publisher("t", "p") as publisher:
        for seq, body in big:
            publisher.send(seq, body)
    assert coordinator.announce(announced("p", publisher.segments, 10), ts=1, producer="test") is None
    broker.restart()
    lefts = []
    while True:
        drained = coordinator.drain(is_over=lambda: True)
        lefts.append(drained.left)
        if not drained.left:
            break
        assert drained.forwarded == []
    assert lefts == [1, 1, 1, 0]
    (one,) = drained.forwarded
    sent = [message.body for segment in one.segments for message in coordinator.read_segment(segment)]
    assert sent == [body for _, body in big]


def test_an_unfit_broker_ends_a_pass_and_what_was_announced_is_kept(
    broker: ScriptedBroker, coordinator: Coordinator, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    broker.die()
    kept(spool, coordinator, "p0", "0" * 16)
    broker.restart()
    asked = []

    def refuse(topics: object) -> None:
        asked.append(topics)
        raise BadSetting(where="iggy", expected="a login that the server knows", got="another", code="LOGIN_REFUSED")

    monkeypatch.setattr(broker, "ensure_topics", refuse)
    kept(spool, coordinator, "p1", "1" * 16)
    asked.clear()
    drained = coordinator.drain()
    assert (drained.left, drained.forwarded, len(asked)) == (2, [], 1)
    assert "LOGIN_REFUSED" in drained.reason


def test_what_control_has_by_batch_is_dropped_not_sent(broker: ScriptedBroker, coordinator: Coordinator, spool: Spool):
    broker.die()
    kept(spool, coordinator, "p", "1" * 16)
    drained = coordinator.drain(is_done=lambda one: one.callset_id == "1" * 16)
    assert [one.publish_id for one in drained.done] == ["p"]
    assert (drained.left, spool.publications()) == (0, [])


def test_a_topic_that_is_lost_while_its_chunks_are_sent_on_is_filled_again(
    broker: ScriptedBroker, coordinator: Coordinator, spool: Spool
):
    broker.die()
    kept(spool, coordinator, "p", "1" * 16)
    broker.restart()
    broker.ensure_topics([TOPIC])
    spool.note_sent("p", 0, 2, Segment("iggy", TOPIC.full_name, "another life", 0, "p", 0, 2))
    (one,) = coordinator.drain().forwarded
    (segment,) = one.segments
    assert len(list(coordinator.read_segment(segment))) == 6


def test_chunks_on_brokers_and_in_the_spool_are_named_in_the_order_of_their_numbers():
    def on(broker: str, first: int, last: int) -> Segment:
        return Segment(broker, TOPIC.full_name, broker, 0, "p", first, last)

    whole = announced("p", [on("iggy", 40, 44), on(SPOOL, 5, 9), on("kafka", 70, 70), on(SPOOL, 11, 12)], 13)
    sent = [(5, 7, on("kafka", 100, 102)), (8, 9, on("iggy", 60, 61)), (11, 12, on("iggy", 90, 91))]
    assert resolved(whole, sent) == (
        on("iggy", 40, 44),
        on("kafka", 100, 102),
        on("iggy", 60, 61),
        on("kafka", 70, 70),
        on("iggy", 90, 91),
    )
    with pytest.raises(StreamBroken, match="from 8 on"):
        resolved(whole, sent[:1])


def test_a_segment_in_the_spool_is_read_by_nobody(coordinator: Coordinator):
    with pytest.raises(BrokerUnavailable):
        coordinator.read_segment(Segment(SPOOL, TOPIC.full_name, "i", 0, "p", 0, 0))
