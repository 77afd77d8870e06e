"""The one door to the brokers there are: publishing through a bounded window, waiting, reading segments,
emitting.

Brokers stand in order of preference; a publisher stays with the first until it fails for longer than
`patience_s`. Not here: what a body means (domain/stream); what a vendor does (embedded.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from vcf_pipeline.adapters.broker.port import Broker, Message
from vcf_pipeline.domain.errors import (
    BrokerUnavailable,
    OffsetLost,
    OffsetRegressed,
    PipelineError,
    TopicMissing,
    TopicRecreated,
    TransientError,
)
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Segment, add_segment
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.dead_letters import write_letter
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.topics import (
    CONTROL,
    DEAD_LETTERS,
    Topic,
    partition_for,
    variants_topic,
)

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

READ_BYTES = 8 << 20
WAIT_BYTES = 8 << 20
_PAUSE_FIRST_S, _PAUSE_MOST_S = 0.05, 1.0


@dataclass(frozen=True)
class Window:
    """What may be sent and not yet acknowledged: so many bytes or chunks, whichever is more, and so many
    messages.
    """

    bytes: int = 8 << 20
    chunks: int = 4
    messages: int = 10_000

    def has_room(self, pending_bytes: int, pending: int, size: int) -> bool:
        if pending >= self.messages:
            return False
        return pending < self.chunks or pending_bytes + size <= self.bytes


WINDOW = Window()


class Publisher:
    """Sends the chunks of one publish_id into one partition, in order, from a thread of its own.

    on_acknowledged(first_seq, bodies, segment) is called from that thread once a stretch is durable. Leaving
    the `with` by an exception gives up what is not acknowledged; leaving it whole flushes.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        topic: Topic,
        publish_id: str,
        on_acknowledged: Callable[[int, list[bytes], Segment], None] | None,
    ) -> None:
        self.topic, self.publish_id = topic, publish_id
        self.partition = partition_for(topic, publish_id)
        self.segments: list[Segment] = []
        self.bytes_sent = 0
        self._coordinator = coordinator
        self._on_acknowledged = on_acknowledged
        self._queue: deque[tuple[int, bytes]] = deque()
        self._pending_bytes = self._pending = 0
        self._changed = threading.Condition()
        self._is_ending = False
        self._problem: BaseException | None = None
        self._thread: threading.Thread | None = None

    def send(self, seq: int, body: bytes) -> None:
        """Returns when the window has room for it. Raises what the sending of earlier ones met."""
        window = self._coordinator.window
        with self._changed:
            while self._problem is None and not window.has_room(self._pending_bytes, self._pending, len(body)):
                self._changed.wait(1.0)
            self._raise_problem()
            self._queue.append((seq, body))
            self._pending += 1
            self._pending_bytes += len(body)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"publish-{self.publish_id}", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Returns when everything sent is durable. Raises BrokerUnavailable, BrokerTimeout, TopicFull,
        StreamBroken.
        """
        with self._changed:
            while self._problem is None and self._pending:
                self._changed.wait(1.0)
            self._raise_problem()

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        try:
            while stretch := self._next_stretch():
                bodies = [body for _, body in stretch]
                segment = self._coordinator._append(self.topic, self.partition, bodies, self)
                add_segment(self.segments, segment)
                size = sum(map(len, bodies))
                self.bytes_sent += size
                if self._on_acknowledged is not None:
                    self._on_acknowledged(stretch[0][0], bodies, segment)
                with self._changed:
                    self._pending -= len(bodies)
                    self._pending_bytes -= size
                    self._changed.notify_all()
        except BaseException as problem:
            with self._changed:
                self._problem = problem
                self._changed.notify_all()

    def _next_stretch(self) -> list[tuple[int, bytes]]:
        """What waits, up to half a window, so that the other half fills while this one is written. [] at the
        end.
        """
        with self._changed:
            while not self._queue and not self._is_ending:
                self._changed.wait(1.0)
            stretch: list[tuple[int, bytes]] = []
            size = 0
            limit = self._coordinator.window.bytes // 2
            while self._queue and (not stretch or size + len(self._queue[0][1]) <= limit):
                stretch.append(self._queue.popleft())
                size += len(stretch[-1][1])
            return stretch

    @property
    def is_given_up(self) -> bool:
        return self._is_ending

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            with self._changed:
                self._is_ending = True
                self._queue.clear()
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join(timeout=10.0)


class Coordinator:
    """brokers: in order of preference. patience_s: how long a transient failure is tried again before it is
    raised.

    clock: monotonic seconds; pause: sleeps so many seconds.
    """

    def __init__(
        self,
        brokers: Sequence[Broker],
        *,
        window: Window = WINDOW,
        patience_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if not brokers:
            raise ValueError("a coordinator needs a broker")
        self.window = window
        self._brokers = {broker.name: broker for broker in brokers}
        self._patience_s, self._clock, self._pause = patience_s, clock, pause
        self._ready: set[tuple[str, Topic]] = set()
        self._notes: deque[str] = deque(maxlen=20)
        self._told: set[str] = set()

    # ---- sending

    def publisher(
        self,
        tenant: str,
        publish_id: str,
        on_acknowledged: Callable[[int, list[bytes], Segment], None] | None = None,
    ) -> Publisher:
        """A `with`. Raises BadTenantName."""
        return Publisher(self, variants_topic(tenant), publish_id, on_acknowledged)

    def emit(self, envelope: Envelope, topic: Topic, key: str) -> Segment:
        """One control message, durable when this returns; equal keys keep their order."""
        return self._append(topic, partition_for(topic, key), [frame.encode(envelope)], None)

    def dead_letter(
        self,
        body: bytes,
        *,
        origin: str,
        reason: str,
        attempts: int = 1,
        code: str = "",
        tenant: str = "",
        callset_id: str = "",
    ) -> None:
        """What could not be processed, with its origin; see domain/stream/dead_letters.py."""
        letter = write_letter(
            body,
            origin=origin,
            reason=reason,
            ts=int(time.time() * 1000),
            attempts=attempts,
            code=code,
            tenant=tenant,
            callset_id=callset_id,
        )
        self.emit(letter, DEAD_LETTERS, letter.id)

    def send_again(self, topic: Topic, partition: int, body: bytes) -> Segment:
        """A message as it was, byte for byte, into the partition where it lay; durable when this returns."""
        return self._append(topic, partition, [body], None)

    def _append(self, topic: Topic, partition: int, bodies: Sequence[bytes], publisher: Publisher | None) -> Segment:
        """On the preferred broker, tried again while transient. A time-out may have landed: receivers drop
        the repeat.
        """
        broker = self._preferred()
        publish_id = publisher.publish_id if publisher is not None else ""

        def once() -> Segment:
            self._ensure(broker, topic)
            try:
                offsets = broker.append(topic, partition, bodies)
            except TopicMissing:
                self._ready.discard((broker.name, topic))  # deleted under us: made anew where that loses nothing
                if publisher is not None and publisher.segments:
                    raise
                self._ensure(broker, topic)
                offsets = broker.append(topic, partition, bodies)
            return Segment(
                broker.name,
                topic.full_name,
                broker.incarnation(topic),
                partition,
                publish_id,
                offsets[0],
                offsets[-1],
            )

        return self._patiently(once, lambda: publisher is not None and publisher.is_given_up)

    def _preferred(self) -> Broker:
        return next(iter(self._brokers.values()))

    def _ensure(self, broker: Broker, topic: Topic) -> None:
        if (broker.name, topic) not in self._ready:
            broker.ensure_topics([topic, *CONTROL])
            self._ready.add((broker.name, topic))

    def _patiently(self, attempt: Callable[[], Answer], is_given_up: Callable[[], bool]) -> Answer:
        deadline = self._clock() + self._patience_s
        pause = _PAUSE_FIRST_S
        while True:
            try:
                return attempt()
            except TransientError:
                if self._clock() + pause > deadline or is_given_up():
                    raise
                self._pause(pause)
                pause = min(2 * pause, _PAUSE_MOST_S)

    # ---- hearing

    def wait(self, topics: Sequence[Topic], cursor: Cursor, seconds: float) -> list[Message]:
        """Messages after the cursor, as soon as there are any; [] after so many seconds. At most 8 MiB and
        one message.

        A topic that is new to the cursor, recreated or regressed is read from its start. Raises
        BrokerUnavailable.
        """
        broker = self._preferred()
        positions: dict[tuple[Topic, int], int] = {}
        for topic in topics:
            self._ensure(broker, topic)
            incarnation = broker.incarnation(topic)
            starts, anomaly = cursor.start(broker.name, topic.full_name, incarnation, broker.end_offsets(topic))
            if anomaly is not None:
                self._note(f"{broker.name}: {topic.full_name} was {anomaly}; read again from its start")
            positions |= {(topic, partition): first for partition, first in starts.items()}
        deadline = self._clock() + seconds
        while True:
            try:
                return broker.wait(positions, max(0.0, deadline - self._clock()), WAIT_BYTES)
            except OffsetLost as lost:
                self._skip_lost(broker, positions, lost)

    def _skip_lost(self, broker: Broker, positions: dict[tuple[Topic, int], int], lost: OffsetLost) -> None:
        """Retention took messages that nobody had read: go on after them, and say so."""
        for (topic, partition), first in positions.items():
            try:
                broker.read(topic, partition, first, first, 1)
            except OffsetLost as here:
                self._note(f"{broker.name}: {topic.full_name}[{partition}] lost {first} to {here.first_available - 1}")
                positions[topic, partition] = here.first_available
                return
        raise lost

    def read_segment(self, segment: Segment, max_bytes: int = READ_BYTES) -> Iterator[Message]:
        """Its messages in order, those of other publications between them too; never more than max_bytes at
        once.

        Raises BrokerUnavailable (also for a broker that is not configured), TopicMissing, TopicRecreated,
        OffsetRegressed, OffsetLost.
        """
        broker = self._brokers.get(segment.broker)
        if broker is None:
            raise BrokerUnavailable(
                where=f"broker {segment.broker[:40]!r}",
                expected=f"one of {', '.join(self._brokers)}",
                got="a segment on another one",
                repair="Configure that broker here, or publish the file again.",
            )
        topic = Topic.parse(segment.topic)
        where = f"{segment.broker}:{segment.topic}[{segment.partition}]"
        incarnation = broker.incarnation(topic)
        if incarnation != segment.incarnation:
            raise TopicRecreated(
                where=where,
                expected=f"incarnation {segment.incarnation}",
                got=incarnation,
                repair="What was sent is gone with the old topic: publish the file again.",
            )
        end = broker.end_offsets(topic).get(segment.partition, 0)
        if end <= segment.last_offset:
            raise OffsetRegressed(
                where=where,
                expected=f"messages up to {segment.last_offset}",
                got=f"an end at {end}",
                repair="The broker lost messages that it had acknowledged: publish the file again.",
            )
        first = segment.first_offset
        while first <= segment.last_offset:
            messages = broker.read(topic, segment.partition, first, segment.last_offset, max_bytes)
            if not messages:
                return
            yield from messages
            first = messages[-1].offset + 1

    # ---- itself

    @property
    def brokers(self) -> list[Broker]:
        """In order of preference."""
        return list(self._brokers.values())

    def status(self) -> dict[str, Any]:
        """JSON-ready: each broker's health, which one is in use, and what was noticed lately."""
        brokers = {}
        for name, broker in self._brokers.items():
            health = broker.health()
            brokers[name] = {
                "healthy": health.is_healthy,
                "latency_ms": round(health.latency_ms, 3),
                "reason": health.reason,
            }
        return {"in_use": self._preferred().name, "brokers": brokers, "notes": list(self._notes)}

    def _note(self, text: str) -> None:
        """Said once per process and kept for status(): a sensor meets the same anomaly at every tick."""
        if text not in self._told:
            self._told.add(text)
            self._notes.append(text)
            log.warning("%s", text)

    def close(self) -> None:
        for broker in self._brokers.values():
            try:
                broker.close()
            except PipelineError as problem:
                log.warning("%s", problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
