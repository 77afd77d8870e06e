"""callset_sensor on a real instance: what is announced becomes partitions and runs, and the runs do it."""

from __future__ import annotations

from contextlib import contextmanager

import dagster as dg
import pytest

from vcf_pipeline.domain.errors import StreamBroken
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.dead_letters import read_letter
from vcf_pipeline.domain.stream.topics import ANALYSIS_REQUESTS, CALLSETS, CONTROL, DATABASE_WRITES, DEAD_LETTERS
from vcf_pipeline.settings import load_settings
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.defs.conftest import Desk
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
