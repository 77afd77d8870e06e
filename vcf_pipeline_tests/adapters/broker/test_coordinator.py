"""The coordinator over scripted brokers: window, patience, anomalies."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator, Window
from vcf_pipeline.adapters.broker.port import Message, Positions
from vcf_pipeline.domain.errors import (
    BrokerTimeout,
    BrokerUnavailable,
    MessageTooLarge,
    OffsetRegressed,
    TopicFull,
    TopicRecreated,
)
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.dead_letters import read_letter
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import place_of
from vcf_pipeline.domain.stream.topics import CALLSETS, DEAD_LETTERS, variants_topic
from vcf_pipeline.testing.scripted_broker import DIES, FULL, PAUSES, WORKS, ScriptedBroker

TOPIC = variants_topic("t")


def patient(broker: ScriptedBroker, patience_s: float = 30.0, window: Window | None = None) -> Coordinator:
    """With a clock that only moves when somebody pauses."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    return Coordinator([broker], window=window or Window(), patience_s=patience_s, clock=lambda: now[0], pause=pause)


def bodies(coordinator: Coordinator, segments: Sequence[Segment]) -> list[bytes]:
    return [message.body for segment in segments for message in coordinator.read_segment(segment)]


def test_what_is_published_lies_in_its_segments_in_order():
    coordinator = patient(ScriptedBroker())
    acknowledged: list[tuple[int, list[bytes]]] = []
    with coordinator.publisher("t", "p", lambda seq, sent, _: acknowledged.append((seq, sent))) as publisher:
        for seq in range(50):
            publisher.send(seq, b"%d" % seq)
    assert len(publisher.segments) == 1
    assert bodies(coordinator, publisher.segments) == [b"%d" % seq for seq in range(50)]
    assert [body for _, sent in acknowledged for body in sent] == [b"%d" % seq for seq in range(50)]
    assert sum(len(sent) for _, sent in acknowledged) == 50
    assert publisher.bytes_sent == sum(len(b"%d" % seq) for seq in range(50))


def test_a_broker_that_stalls_holds_the_publisher_at_the_window():
    broker = ScriptedBroker()
    window = Window(bytes=1000, chunks=4, messages=100)
    coordinator = patient(broker, window=window)
    broker.gate.clear()
    sent: list[int] = []

    def publish() -> None:
        with coordinator.publisher("t", "p") as publisher:
            for seq in range(40):
                publisher.send(seq, b"x" * 100)
                sent.append(seq)
            publisher.flush()
            segments.extend(publisher.segments)

    segments: list[Segment] = []
    thread = threading.Thread(target=publish)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    assert len(sent) == 10
    broker.gate.set()
    thread.join(20)
    assert len(sent) == 40
    assert len(bodies(coordinator, segments)) == 40


@pytest.mark.parametrize(
    ("pending_bytes", "pending", "size", "has_room"),
    [
        (0, 0, 1 << 30, True),
        (8 << 20, 3, 1 << 20, True),
        (8 << 20, 4, 1, False),
        ((8 << 20) - 1, 5, 1, True),
        (10_000, 10_000, 1, False),
    ],
)
def test_the_window_is_8_mib_or_4_chunks_and_10000_messages(
    pending_bytes: int, pending: int, size: int, has_room: bool
):
    assert Window().has_room(pending_bytes, pending, size) is has_room


def test_a_death_is_tried_again_and_a_timeout_too_though_it_may_have_landed():
    broker = ScriptedBroker(appends=[DIES, PAUSES, WORKS])
    coordinator = patient(broker)
    with coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
    (segment,) = publisher.segments
    assert bodies(coordinator, [segment]) == [b"a"]
    assert segment.first_offset == 1  # the first landing is not in the segment
    assert broker.end_offsets(TOPIC)[segment.partition] == 2


@pytest.mark.parametrize(("step", "error"), [(DIES, BrokerUnavailable), (PAUSES, BrokerTimeout), (FULL, TopicFull)])
def test_after_the_patience_is_over_the_failure_reaches_the_publisher(step, error):
    coordinator = patient(ScriptedBroker(appends=[step] * 1000), patience_s=5.0)
    with pytest.raises(error), coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
        publisher.flush()


def test_what_no_patience_cures_is_raised_at_once_and_later_sends_meet_it():
    coordinator = patient(ScriptedBroker(max_message_bytes=10))
    with pytest.raises(MessageTooLarge), coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"x" * 11)
        with pytest.raises(MessageTooLarge):
            publisher.flush()
        publisher.send(1, b"y")


def test_leaving_by_an_exception_ends_the_thread_without_waiting_for_the_broker():
    before = threading.active_count()
    coordinator = patient(ScriptedBroker())
    with pytest.raises(KeyboardInterrupt), coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
        raise KeyboardInterrupt
    assert not any(thread.name == "publish-p" for thread in threading.enumerate())
    coordinator.close()
    assert threading.active_count() == before


def event(number: int) -> Envelope:
    return Envelope(id=f"event-{number}", kind="notification", tenant="t", body=b"%d" % number)


def ids(messages) -> list[str]:
    return sorted(frame.decode(message.body).id for message in messages)


def test_waiting_goes_on_after_the_cursor_and_equal_keys_keep_their_order():
    coordinator = patient(ScriptedBroker())
    for number in range(3):
        coordinator.emit(event(number), CALLSETS, "t/same")
    messages = coordinator.wait([CALLSETS], Cursor(), 1.0)
    assert [frame.decode(message.body).id for message in messages] == ["event-0", "event-1", "event-2"]
    cursor = Cursor().after(place_of(message) for message in messages)
    assert coordinator.wait([CALLSETS], cursor, 0.0) == []
    coordinator.emit(event(3), CALLSETS, "t/other")
    assert ids(coordinator.wait([CALLSETS], cursor, 1.0)) == ["event-3"]


def test_a_recreated_or_regressed_topic_is_read_again_from_its_start_and_named_in_status():
    broker = ScriptedBroker()
    coordinator = patient(broker)
    places = [coordinator.emit(event(number), CALLSETS, "t/same") for number in range(3)]
    messages = coordinator.wait([CALLSETS], Cursor(), 1.0)
    cursor = Cursor().after(place_of(message) for message in messages)
    broker.regress(CALLSETS, places[0].partition, 1)
    assert ids(coordinator.wait([CALLSETS], cursor, 1.0)) == ["event-0"]
    broker.recreate(CALLSETS)
    coordinator.emit(event(9), CALLSETS, "t/same")
    assert ids(coordinator.wait([CALLSETS], cursor, 1.0)) == ["event-9"]
    notes = " ".join(coordinator.status()["notes"])
    assert "regressed" in notes
    assert "recreated" in notes


@pytest.mark.parametrize("happens", ["regressed", "recreated"])
@pytest.mark.parametrize("others", [0, 1])
def test_the_cursor_keeps_that_a_topic_is_read_from_its_start_also_where_nothing_was_heard(happens: str, others: int):
    broker = ScriptedBroker()
    coordinator = Coordinator([broker, *(ScriptedBroker(name=f"other-{number}") for number in range(others))])
    broker.ensure_topics([CALLSETS])
    broker.append(CALLSETS, 0, [b"old 0", b"old 1"])
    heard, cursor = coordinator.hear([CALLSETS], Cursor(), 1.0)
    cursor = cursor.after(map(place_of, heard))
    if happens == "regressed":
        broker.regress(CALLSETS, 0, 0)
    else:
        broker.recreate(CALLSETS)
    heard, cursor = coordinator.hear([CALLSETS], Cursor.from_json(cursor.to_json()), 0.0)
    assert heard == []
    broker.append(CALLSETS, 0, [b"new 0", b"new 1"])
    heard, cursor = coordinator.hear([CALLSETS], Cursor.from_json(cursor.to_json()), 1.0)
    assert [message.body for message in heard] == [b"new 0", b"new 1"]
    assert coordinator.wait([CALLSETS], cursor.after(map(place_of, heard)), 0.0) == []


def test_a_topic_that_is_emptied_while_it_is_listened_to_is_read_from_its_start_in_the_same_call():
    class Emptied(ScriptedBroker):
        is_told = False

        def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
            if max(positions.values()) == 2 and not self.is_told:
                self.is_told = True
                self.regress(CALLSETS, 0, 0)
                raise OffsetRegressed(where="scripted", expected="an end from 2", got="0")
            return super().wait(positions, timeout_s, max_bytes)

    broker = Emptied()
    coordinator = patient(broker)
    broker.ensure_topics([CALLSETS])
    broker.append(CALLSETS, 0, [b"old 0", b"old 1"])
    cursor = Cursor().after(map(place_of, coordinator.wait([CALLSETS], Cursor(), 1.0)))
    heard, cursor = coordinator.hear([CALLSETS], cursor, 0.0)
    assert heard == []
    broker.append(CALLSETS, 0, [b"new 0", b"new 1"])
    assert len(coordinator.wait([CALLSETS], cursor, 1.0)) == 2


def test_what_retention_took_before_anybody_read_it_is_passed_and_named():
    broker = ScriptedBroker()
    coordinator = patient(broker)
    place, *_ = [coordinator.emit(event(number), CALLSETS, "t/same") for number in range(3)]
    broker.expire(CALLSETS, place.partition, 2)
    assert ids(coordinator.wait([CALLSETS], Cursor(), 1.0)) == ["event-2"]
    assert "lost 0 to 1" in coordinator.status()["notes"][0]


def test_a_segment_of_another_life_broker_or_beyond_the_end_is_an_error():
    broker = ScriptedBroker()
    coordinator = patient(broker)
    with coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
        publisher.send(1, b"b")
    (segment,) = publisher.segments
    elsewhere = Segment(**{**segment.to_dict(), "broker": "nowhere"})
    with pytest.raises(BrokerUnavailable):
        list(coordinator.read_segment(elsewhere))
    broker.regress(TOPIC, segment.partition, 1)
    with pytest.raises(OffsetRegressed):
        list(coordinator.read_segment(segment))
    broker.recreate(TOPIC)
    with pytest.raises(TopicRecreated):
        list(coordinator.read_segment(segment))


def test_a_dead_letter_keeps_origin_reason_and_body():
    broker = ScriptedBroker()
    coordinator = patient(broker)
    coordinator.dead_letter(b"\xff\x00", origin="embedded:vcf-callsets[0]@7/life", reason="no envelope", code="X")
    (message,) = coordinator.wait([DEAD_LETTERS], Cursor(), 1.0)
    letter = read_letter(message)
    assert letter.body == b"\xff\x00"
    assert (letter.origin, letter.origin_topic) == ("embedded:vcf-callsets[0]@7/life", "vcf-callsets")
    assert (letter.reason, letter.code, letter.attempts, letter.size_bytes) == ("no envelope", "X", 1, 2)


def test_a_message_sent_again_is_the_same_bytes_in_the_same_partition():
    broker = ScriptedBroker()
    coordinator = patient(broker)
    segment = coordinator.send_again("scripted", CALLSETS, 2, b"\xff\x00")
    assert (segment.topic, segment.partition, segment.first_offset) == ("vcf-callsets", 2, 0)
    assert [message.body for message in coordinator.read_segment(segment)] == [b"\xff\x00"]


def test_status_tells_each_brokers_health():
    status = patient(ScriptedBroker(appends=[DIES])).status()
    assert status["in_use"] == "scripted"
    assert status["brokers"]["scripted"]["healthy"] is False
    assert status["brokers"]["scripted"]["reason"]
