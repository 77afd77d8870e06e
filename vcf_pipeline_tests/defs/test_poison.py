"""Poison on every topic: each a dead letter or a clear failure, and what comes after it is heard and done.

On the embedded log, and what depends on a broker on a real Kafka and a real Iggy too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import msgpack
import pytest

from vcf_pipeline.domain.errors import MessageTooLarge
from vcf_pipeline.domain.identity import PartitionKey, announcement_id
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.dead_letters import LetterRecord, Wanted
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import STAGE_EVENTS, CallsetAnnounced, heard_events
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL, Topic, variants_topic
from vcf_pipeline.stages.dead_letters import find_letters, hear_letters, replay
from vcf_pipeline_tests.adapters.broker.real_brokers import Between
from vcf_pipeline_tests.defs.conftest import Desk
from vcf_pipeline_tests.stages.published import announcements

GARBAGE = (
    b"",
    b"\xff" * 50,
    b"\x00",
    msgpack.packb({"v": 1, "id": "x", "kind": "callset/announced", "tenant": "t", "body": b"\xc1"}),
    msgpack.packb({"v": 99}),
    msgpack.packb([1, 2, 3]),
    b"\xdf\xff\xff\xff\xff",
    b"x" * (frame.MAX_MESSAGE_BYTES + 1),
)


ON_EVERY_BROKER = pytest.mark.parametrize("between", ["embedded", "kafka", "iggy"], indirect=True)


@pytest.fixture
def between(request: pytest.FixtureRequest, real: Callable[[str], Between]) -> Between:
    broker: Between = real(getattr(request, "param", "embedded"))
    return broker


@pytest.fixture
def desk(tmp_path: Path, between: Between) -> Iterator[Desk]:
    with dg.DagsterInstance.ephemeral() as instance:
        desk = Desk(instance, tmp_path, between.settings)
        yield desk
        desk.close()


def letters(desk: Desk) -> list[LetterRecord]:
    assert hear_letters(desk.control.coordinator, desk.control.ledger) == []
    return find_letters(desk.control.ledger, Wanted())


def drop(desk: Desk, topic: Topic, *bodies: bytes) -> None:
    """Bytes into every partition of a topic, by somebody who does not ask us, and whom no limit of ours binds."""
    from vcf_pipeline.adapters.broker.embedded import EmbeddedBroker

    ours: Any = desk.control.coordinator.brokers[0]
    if isinstance(ours, EmbeddedBroker):
        broker: Any = EmbeddedBroker(desk.control.home / "log", max_message_bytes=16 << 20)
    else:
        broker = type(ours)(replace(ours.options, max_message_bytes=16 << 20))
    broker.ensure_topics([topic])
    for partition in range(topic.rule.partitions):
        broker.append(topic, partition, bodies)
    broker.close()


@ON_EVERY_BROKER
def test_garbage_in_the_topic_of_announcements_is_buried_and_the_next_callset_is_done(desk: Desk) -> None:
    drop(desk, CALLSETS, *GARBAGE)
    partition = desk.publish()
    heard: list[Any] = []
    while not heard:
        heard = desk.tick("callset_sensor").run_requests
    assert [request.partition_key for request in heard] == [partition]
    assert desk.run(heard[0]).success
    assert desk.tick("callset_sensor").run_requests == []
    found = letters(desk)
    assert len(found) == len(GARBAGE)
    assert {(one.origin_topic, one.code, one.attempts) for one in found} == {
        ("vcf-callsets", "UNREADABLE_MESSAGE", CALLSETS.rule.partitions)
    }
    assert [one.size_bytes for one in found if one.is_cut] == [frame.MAX_MESSAGE_BYTES + 1]


@ON_EVERY_BROKER
def test_garbage_in_every_control_topic_stops_no_sensor_and_no_listener(desk: Desk) -> None:
    for topic in CONTROL:
        drop(desk, topic, *GARBAGE)
    partition = desk.publish()
    requests: list[Any] = []
    while not requests:
        requests = desk.tick("callset_sensor").run_requests
    assert desk.run(requests[0]).success
    assert desk.state(partition) == "done"
    desk.tick("reconcile_sensor")
    for name, kind in STAGE_EVENTS.items():
        (broker,) = desk.control.coordinator.brokers
        messages = broker.read(Topic(name), 0, 0, len(GARBAGE) - 1, 1 << 30)
        heard = heard_events(kind, messages)
        assert [one.event for one in heard] == [None] * len(GARBAGE)
        assert all(one.reason for one in heard)
    # those among the letters are letters about themselves
    assert {one.origin_topic for one in letters(desk)} == {"vcf-callsets", "dead-letters"}


@ON_EVERY_BROKER
def test_garbage_among_the_chunks_is_buried_and_the_callset_comes_out_whole(desk: Desk) -> None:
    from vcf_pipeline.stages.receive import open_received

    drop(desk, variants_topic("t"), b"before")
    partition = desk.publish(40)
    (announced,) = announcements(desk.control.coordinator)
    (segment,) = announced.segments
    drop(desk, variants_topic("t"), *GARBAGE)
    wider = replace(segment, first_offset=0, last_offset=segment.last_offset + len(GARBAGE))
    with open_received(replace(announced, segments=(wider,)), desk.control.coordinator) as source:
        assert sum(batch.n_records for batch in source.batches()) == 40
    found = letters(desk)
    # one of the pieces is a frame, of some other publication: it is passed over, and "before" is one more
    assert len(found) == len(GARBAGE)
    assert {(one.origin_topic, one.tenant) for one in found} == {("t.vcf-variants", "t")}
    assert str(announced.key) == partition


@ON_EVERY_BROKER
def test_a_message_over_the_limit_is_refused_and_what_comes_after_it_goes(desk: Desk) -> None:
    (broker,) = desk.control.coordinator.brokers
    broker.ensure_topics([CALLSETS])
    with pytest.raises(MessageTooLarge, match=str(broker.max_message_bytes)):
        broker.append(CALLSETS, 0, [b"before", b"x" * (broker.max_message_bytes + 1), b"after"])
    assert broker.end_offsets(CALLSETS)[0] == 0
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.partition_key == partition


POISONED: dict[str, dict[str, Any]] = {
    "a count that no database holds": {"size_bytes": (1 << 64) - 1},
    "records that no database holds": {"records": (1 << 64) - 1},
    "a NUL in the label": {"label": "a\0b"},
    "a label without end": {"label": "x" * 100_000},
    "settings that are no JSON": {"reader_settings": {"mode": b"\xff"}},
    "settings without end": {"reader_settings": {"mode": "x" * 100_000}},
    "a digest of another length": {"digest": "d1:" + "0" * 4000},
    "a NUL in the correlation": {"correlation_id": "c\0d"},
    "an offset that no broker has": {"segments": "far"},
}


@pytest.mark.parametrize("changed", POISONED.values(), ids=POISONED)
def test_an_announcement_that_the_ledger_could_not_keep_does_not_stop_the_sensor(
    desk: Desk, changed: dict[str, Any]
) -> None:
    good = desk.publish(5)
    (announced,) = announcements(desk.control.coordinator)
    if changed.get("segments") == "far":
        far = (1 << 64) - 1
        changed = {"segments": (replace(announced.segments[0], first_offset=far, last_offset=far),)}
    poisoned = replace(announced, **changed)
    for _ in range(CALLSETS.rule.partitions):
        desk.control.coordinator.emit(_event(poisoned), CALLSETS, str(poisoned.key))
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.partition_key == good
    (letter,) = letters(desk)
    assert (letter.tenant, letter.callset_id) == ("t", announced.callset_id)


@ON_EVERY_BROKER
def test_an_announcement_of_segments_that_do_not_exist_fails_alone_and_is_buried_with_its_message(desk: Desk) -> None:
    good = desk.publish(6)
    bad = _announce_nothing(desk)
    requests = {one.partition_key: one for one in desk.tick("callset_sensor").run_requests}
    assert set(requests) == {bad, good}
    assert not desk.run(requests[bad]).success
    assert desk.run(requests[good]).success
    assert (desk.state(bad), desk.state(good)) == ("failed", "done")
    (letter,) = letters(desk)
    assert f"t/{letter.callset_id}" == bad
    assert (letter.origin_topic, letter.code) == ("vcf-callsets", "OFFSET_REGRESSED")
    # once the fault is gone, sending the letter back asks for a run that Dagster has not had
    (done,) = replay(desk.control.coordinator, desk.control.ledger, [letter], dry_run=False)
    assert done.refused == ""
    (again,) = desk.tick("callset_sensor").run_requests
    assert again.partition_key == bad
    assert again.run_key != requests[bad].run_key
    assert not desk.run(again).success
    (letter,) = letters(desk)
    assert (letter.state, letter.attempts, letter.replays) == ("open", 2, 1)


def test_a_replayed_announcement_of_a_callset_that_is_done_asks_for_nothing(desk: Desk) -> None:
    partition = desk.publish(7)
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    (announced,) = announcements(desk.control.coordinator)
    for _ in range(2):
        desk.control.coordinator.emit(_event(announced), CALLSETS, partition)
    assert desk.tick("callset_sensor").run_requests == []


def _event(announced: Announcement) -> Envelope:
    return CallsetAnnounced(announced).to_envelope(ts=1, producer="test")


def _announce_nothing(desk: Desk) -> str:
    """An announcement that everything is right with but that there is nothing where it says; its partition."""
    (like,) = announcements(desk.control.coordinator)
    key = PartitionKey("t", "f" * 16)
    told = replace(
        like,
        id=announcement_id(key.tenant, key.callset_id, "p9"),
        callset_id=key.callset_id,
        publish_id="p9",
        segments=(replace(like.segments[0], publish_id="p9", first_offset=9000, last_offset=9001),),
        uri="/nowhere/at/all.vcf",
    )
    desk.control.coordinator.emit(_event(told), CALLSETS, str(key))
    return str(key)
