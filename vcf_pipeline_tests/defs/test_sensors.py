"""callset_sensor on a real instance: what is announced becomes partitions and runs, and the runs do it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dagster as dg
import msgpack
import pytest

from vcf_pipeline.defs import sensors
from vcf_pipeline.domain.errors import BrokerUnavailable, StreamBroken
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.dead_letters import read_letter
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.records_ended import RECORDS_ENDED, RecordsEnded
from vcf_pipeline.domain.stream.topics import (
    ANALYSIS_REQUESTS,
    CALLSETS,
    CONTROL,
    DATABASE_WRITES,
    DEAD_LETTERS,
    variants_topic,
)
from vcf_pipeline.domain.stream.variant_messages import RECORDS, records_body
from vcf_pipeline.settings import TICK_TIMEOUT, load_settings
from vcf_pipeline.stages import announce_records
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.defs.conftest import Desk
from vcf_pipeline_tests.stages.published import announcements
from vcf_pipeline_tests.stages.test_publish_variants import chunks_of, sent_by_a_stranger, variant

LISTENS_ON = {
    "callset_sensor": CALLSETS,
    "analysis_request_sensor": ANALYSIS_REQUESTS,
    "database_write_sensor": DATABASE_WRITES,
}
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def use_brokers(desk: Desk, *brokers: ScriptedBroker) -> None:
    """In place of the embedded log of the desk."""
    desk.control.close()
    settings = load_settings({}, home=desk.folder / "home", sensor={"hold_seconds": 0.05}, stream={"reconnect_s": 0.1})
    desk.control = Control(settings, brokers=brokers)


def partitions(desk: Desk) -> list[str]:
    return list(desk.instance.get_dynamic_partitions("callsets"))


def test_an_announced_callset_becomes_a_partition_and_a_run_that_makes_it_searchable(desk: Desk):
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.partition_key == partition
    assert request.tags["vcf_pipeline/path"] == "stream"
    assert partitions(desk) == [partition]
    result = desk.run(request)
    assert result.success
    made = {event.asset_key.to_user_string() for event in result.all_events if event.is_step_materialization}
    assert made == {"parsed_variants", "triaged_variants", "lancedb_variants", "kuzu_variants"}
    assert desk.state(partition) == "done"


def test_a_stranger_with_the_longest_ids_has_a_callset_that_is_done_and_carries_them(desk: Desk):
    ids = {"publish_id": "p" * 200, "correlation_id": "c" * 200}
    sent_by_a_stranger(desk.control.coordinator, chunks_of([variant(1), variant(2)]), **ids)
    assert desk.tick("callset_sensor").run_requests == []
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.tags["vcf_pipeline/correlation_id"] == ids["correlation_id"]
    assert desk.run(request).success
    callset = desk.control.ledger.callset(PartitionKey.parse(request.partition_key))
    assert callset is not None
    assert (callset.state, callset.correlation_id) == ("done", ids["correlation_id"])


def end_of(desk: Desk, partition: int, publish_id: str, seq: int) -> None:
    """A stranger's publication of one variant, its end in this partition of vcf-callsets."""
    broker, topic = desk.control.coordinator.brokers[0], variants_topic("t")
    broker.ensure_topics([topic, *CONTROL])
    told = {"tenant": "t", "publish_id": publish_id}
    chunk = Envelope(id=f"{publish_id}/0", kind=RECORDS, body=records_body([variant(seq)]), **told)
    (offset,) = broker.append(topic, 3, [frame.encode(chunk)])
    body = msgpack.packb({"n_chunks": 1, "partition": 3, "first_offset": offset, "label": publish_id})
    broker.append(
        CALLSETS, partition, [frame.encode(Envelope(id=f"{publish_id}/end", kind=RECORDS_ENDED, body=body, **told))]
    )


def heard_labels(desk: Desk) -> list[str]:
    """Of the announcements in the topic, sorted."""
    return sorted(one.label for one in announcements(desk.control.coordinator))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the sensors' clock says, and, in `steps`, how far it goes with every look."""
    clock = [0.0, 0.0]

    def monotonic() -> float:
        clock[0] += clock[1]
        return clock[0]

    monkeypatch.setattr(sensors, "time", SimpleNamespace(monotonic=monotonic))
    return clock


def test_ends_that_a_tick_has_no_time_for_are_left_to_the_next_with_what_lies_behind_them(
    desk: Desk, clock: list[float]
):
    for number, partition in enumerate([0, 0, 1]):
        end_of(desk, partition, f"end-{number}", number)
    (broker,) = desk.control.coordinator.brokers
    for partition in (0, 1, 2):
        broker.append(CALLSETS, partition, [b"junk %d" % partition])
    clock[1] = sensors.ENDS_SECONDS / 2
    made, buried = [], []
    for _ in range(6):
        desk.tick("callset_sensor")
        made.append(heard_labels(desk))
        buried.append(len(desk.control.coordinator.wait([DEAD_LETTERS], Cursor(), 0.0)))
    assert made[:3] == [["end-0"], ["end-0", "end-1"], ["end-0", "end-1", "end-2"]]
    assert made[-1] == made[2]
    assert buried[:3] == [1, 2, 3]
    assert buried[-1] == 3


def test_an_end_that_takes_longer_than_a_tick_may_is_a_dead_letter_and_the_next_is_announced(
    desk: Desk, clock: list[float], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(TICK_TIMEOUT, "80")
    end_of(desk, 0, "too-large", 1)
    clock[1] = 70.0
    desk.tick("callset_sensor")
    (letter,) = desk.control.coordinator.wait([DEAD_LETTERS], Cursor(), 0.0)
    assert b"PUBLICATION_TOO_LARGE" in letter.body
    clock[1] = 0.0
    end_of(desk, 0, "quick", 2)
    desk.tick("callset_sensor")
    assert heard_labels(desk) == ["quick"]
    assert len(desk.control.coordinator.wait([DEAD_LETTERS], Cursor(), 0.0)) == 1


def test_an_end_whose_messages_cannot_be_read_now_waits_and_other_partitions_go_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    for number, partition in enumerate([0, 0, 1]):
        end_of(desk, partition, f"end-{number}", number)
    announce = announce_records.announce_ended

    def unable(ended: RecordsEnded, *given: Any, **others: Any) -> Announcement:
        if ended.label == "end-0":
            raise BrokerUnavailable(where="broker", got="no leader of that partition")
        return announce(ended, *given, **others)

    with monkeypatch.context() as patched:
        patched.setattr(announce_records, "announce_ended", unable)
        for _ in range(2):
            desk.tick("callset_sensor")
            assert heard_labels(desk) == ["end-2"]
    desk.tick("callset_sensor")
    assert heard_labels(desk) == ["end-0", "end-1", "end-2"]


def test_a_quiet_topic_asks_for_nothing_and_an_old_message_is_not_heard_twice(desk: Desk):
    assert desk.tick("callset_sensor").run_requests == []
    desk.publish()
    assert len(desk.tick("callset_sensor").run_requests) == 1
    quiet = desk.tick("callset_sensor")
    assert quiet.run_requests == []
    assert quiet.dynamic_partitions_requests == []
    assert quiet.skip_reason is not None


def test_a_lost_cursor_asks_under_the_same_run_key_and_for_nothing_once_done(desk: Desk):
    desk.publish()
    (first,) = desk.tick("callset_sensor").run_requests
    desk.cursors.clear()
    (again,) = desk.tick("callset_sensor").run_requests
    assert again.run_key == first.run_key
    assert desk.run(first).success
    desk.cursors.clear()
    assert desk.tick("callset_sensor").run_requests == []


def test_an_announcement_whose_run_waits_asks_for_no_second_one(desk: Desk):
    partition = desk.publish()
    desk.tick("callset_sensor")
    desk.note_run(dg.DagsterRunStatus.STARTING, {"dagster/partition": partition})
    desk.cursors.clear()
    assert desk.tick("callset_sensor").run_requests == []


def test_what_is_no_announcement_becomes_a_dead_letter_with_its_origin_and_the_next_is_heard(desk: Desk):
    desk.say_anything()
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.partition_key == partition
    (letter,) = desk.control.coordinator.wait([DEAD_LETTERS], Cursor(), 0.0)
    assert b"vcf-callsets" in letter.body
    assert b"callset/announced" in letter.body


@pytest.mark.parametrize("sensor", LISTENS_ON)
def test_what_comes_after_a_topic_was_emptied_is_heard_however_much_of_it_comes_between_two_ticks(
    desk: Desk, sensor: str
):
    topic, broker = LISTENS_ON[sensor], ScriptedBroker()
    broker.ensure_topics(CONTROL)
    broker.append(topic, 0, [b"old 0", b"old 1"])
    use_brokers(desk, broker)
    desk.tick(sensor)
    broker.regress(topic, 0, 0)
    desk.tick(sensor)
    broker.append(topic, 0, [b"new 0", b"new 1"])
    desk.tick(sensor)
    buried = {read_letter(one).body for one in desk.control.coordinator.wait([DEAD_LETTERS], Cursor(), 0.0)}
    assert buried == {b"old 0", b"old 1", b"new 0", b"new 1"}


def test_eight_at_once_are_one_run_over_the_range_that_does_them_all(desk: Desk):
    burst = [desk.publish(records) for records in range(1, 9)]
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.partition_key is None
    known = partitions(desk)
    assert sorted(known) == sorted(burst)
    assert (request.tags[START], request.tags[END]) == (known[0], known[-1])
    assert request.tags["vcf_pipeline/path"] == "stream"
    result = desk.run(request)
    assert result.success
    assert {desk.state(partition) for partition in burst} == {"done"}
    parsed = [event for event in result.all_events if event.is_step_materialization and "parsed" in str(event)]
    assert {event.partition for event in parsed} == set(burst)
    metadata = parsed[0].step_materialization_data.materialization.metadata
    assert metadata["records"].value == sum(range(1, 9))
    assert metadata["callsets"].value == 8


def test_a_burst_is_done_whose_partitions_another_sensor_adds_first_in_an_order_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst = [desk.publish(records) for records in range(1, 10)]
    add = desk.instance.add_dynamic_partitions

    def another_was_first(name: str, keys: list[str]) -> None:
        add(name, [burst[-1], *burst[3:-1], *burst[:3]])
        add(name, keys)

    monkeypatch.setattr(desk.instance, "add_dynamic_partitions", another_was_first)
    for request in desk.tick("callset_sensor").run_requests:
        assert desk.run(request).success
    assert {desk.state(partition) for partition in burst} == {"done"}


def test_a_range_that_holds_nothing_any_more_fails_in_a_sentence(desk: Desk) -> None:
    for records in range(1, 9):
        desk.publish(records)
    (request,) = desk.tick("callset_sensor").run_requests
    turned = {START: request.tags[END], END: request.tags[START]}
    result = desk.run(dg.RunRequest(tags={**request.tags, **turned}))
    (failed,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "No partition lies in this run's range" in str(failed.step_failure_data.user_failure_data)


def test_a_poison_member_fails_the_range_and_then_it_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, later: None
) -> None:
    burst = [desk.publish(records) for records in range(1, 9)]
    poison = burst[3]
    _break_the_stream_of(poison, monkeypatch)
    _take_the_file_away(desk, poison)
    (request,) = desk.tick("callset_sensor").run_requests
    assert not desk.run(request).success
    assert desk.state(poison) == "failed"
    asked = desk.tick("reconcile_sensor")
    assert {one.partition_key for one in asked.run_requests} == set(burst) - {poison}
    assert poison in str(asked.skip_reason or asked.cursor)
    for one in asked.run_requests:
        assert desk.run(one).success
    assert {partition: desk.state(partition) for partition in burst} == dict.fromkeys(burst, "done") | {
        poison: "failed"
    }
    assert desk.asked_again() == []


def test_members_of_a_failed_range_that_are_heard_again_make_no_range(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst = [desk.publish(records) for records in range(1, 9)]
    _break_the_stream_of(burst[7], monkeypatch)
    _take_the_file_away(desk, burst[7])
    (request,) = desk.tick("callset_sensor").run_requests
    assert not desk.run(request).success
    desk.cursors.clear()
    assert {one.partition_key for one in desk.tick("callset_sensor").run_requests} == set(burst)


def test_a_range_whose_end_was_erased_fails_and_its_members_are_asked_for_singly(desk: Desk, later: None) -> None:
    burst = [desk.publish(records) for records in range(1, 9)]
    (request,) = desk.tick("callset_sensor").run_requests
    erased = request.tags[END]
    desk.control.ledger.forget(PartitionKey.parse(erased))
    desk.instance.delete_dynamic_partition("callsets", erased)
    with pytest.raises(dg.DagsterInvalidInvocationError):
        desk.run(request)
    asked = desk.tick("reconcile_sensor").run_requests
    assert {one.partition_key for one in asked} == set(burst) - {erased}


def _break_the_stream_of(partition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from vcf_pipeline.stages import receive

    real = receive.open_received

    @contextmanager
    def open_received(announcement, coordinator):
        if str(announcement.key) == partition:
            raise StreamBroken(where=partition, expected="chunks", got="none")
        with real(announcement, coordinator) as source:
            yield source

    monkeypatch.setattr(receive, "open_received", open_received)


def _take_the_file_away(desk: Desk, partition: str) -> None:
    announced = {str(one.key): one for one in _announcements(desk)}
    (desk.folder / announced[partition].uri).unlink()


def _announcements(desk: Desk):
    from vcf_pipeline_tests.stages.published import announcements

    return announcements(desk.control.coordinator)
