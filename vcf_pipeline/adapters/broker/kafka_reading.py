"""Messages read from Kafka by offsets: a range, or whatever comes next. A consumer for each call, never a group.

What to read is fixed before it is read: the end is asked first, and a range is done by position, since control
records, aborted transactions and compaction leave holes that no message fills. A consumer is silent both at the end
of a log and before a dead broker, so silence is checked by a question on another connection. Not here: cursors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vcf_pipeline.adapters.broker.kafka_clients import Clients
from vcf_pipeline.adapters.broker.kafka_errors import DOWN, NO_SUCH_TOPIC, OUT_OF_RANGE, mapped, timed_out
from vcf_pipeline.adapters.broker.kafka_topics import KnownTopic, Place, Topics
from vcf_pipeline.adapters.broker.port import Message, Positions
from vcf_pipeline.domain.errors import OffsetLost, OffsetRegressed
from vcf_pipeline.domain.stream.topics import Topic

if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from confluent_kafka import Message as Found

SLICE_S = 0.1
LOOK_S = 1.0
"""A consumer that is silent for so long is checked by a question."""


class _OutOfRange(Exception):
    """What was asked for is not in the log any more, or not yet: look at its bounds again."""


@dataclass
class _Take:
    """What one call gathers. spans: first offset wanted and the one to stop before, by place."""

    spans: dict[Place, tuple[int, int]]
    max_bytes: int
    messages: list[Message] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return self.size >= self.max_bytes


class Reader:
    """broker: the name that messages carry. silence_s: how long an answer may take while a consumer is silent.

    stall_s: how long messages that are there may fail to come.
    """

    def __init__(self, clients: Clients, topics: Topics, *, broker: str, silence_s: float, stall_s: float) -> None:
        self._clients, self._topics, self._broker = clients, topics, broker
        self._silence_s, self._stall_s = silence_s, stall_s

    def read(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        known = self._topics.known(topic)
        self._topics.check_partition(topic, partition, known)
        place = (topic, partition)
        oldest, end = self._topics.bounds([place])[place]
        self._check_kept(place, first, oldest)
        stop = min(last + 1, end)
        if first >= stop:
            return []
        take = _Take({place: (first, stop)}, max_bytes)
        try:
            with self._clients.consumer() as consumer:
                self._assign(consumer, {topic: known}, {place: first})
                self._gather(consumer, {topic: known}, take)
        except _OutOfRange:
            oldest, end = self._topics.bounds([place])[place]
            self._check_kept(place, first, oldest)
            raise OffsetRegressed(
                where=self._topics.where(topic, partition),
                expected=f"messages up to {stop - 1}",
                got=f"an end at {end}",
                repair="The broker lost messages that it had acknowledged: publish the file again.",
            ) from None
        return take.messages

    def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
        deadline = time.monotonic() + timeout_s
        if not positions:
            time.sleep(timeout_s)
            return []
        while True:
            known = self._topics.all_known({topic for topic, _ in positions})
            for topic, partition in positions:
                self._topics.check_partition(topic, partition, known[topic])
            bounds = self._topics.bounds(list(positions))
            for place, first in positions.items():
                self._check_kept(place, first, bounds[place][0])
            try:
                found = self._next(known, positions, bounds, deadline, max_bytes)
            except _OutOfRange:
                continue
            if found or time.monotonic() >= deadline:
                order = {place: number for number, place in enumerate(positions)}
                return sorted(found, key=lambda one: (order[one.topic, one.partition], one.offset))

    def _next(
        self,
        known: Mapping[Topic, KnownTopic],
        positions: Positions,
        bounds: Mapping[Place, tuple[int, int]],
        deadline: float,
        max_bytes: int,
    ) -> list[Message]:
        """What is there; else the first that comes, with what comes along. [] at the deadline, or to look again."""
        there = {place: (first, bounds[place][1]) for place, first in positions.items() if first < bounds[place][1]}
        take = _Take(there, max_bytes)
        with self._clients.consumer() as consumer:
            if there:
                self._assign(consumer, known, {place: first for place, (first, _) in there.items()})
                self._gather(consumer, known, take)
            if take.messages or time.monotonic() >= deadline:
                return take.messages
            # A position beyond the end waits: it is read from the end, and what comes before it is let go by.
            self._assign(consumer, known, {place: bounds[place][1] for place in positions})
            self._listen(consumer, known, positions, deadline, take)
            return take.messages

    def _listen(
        self,
        consumer: Consumer,
        known: Mapping[Topic, KnownTopic],
        positions: Positions,
        deadline: float,
        take: _Take,
    ) -> None:
        looked_at = started = time.monotonic()
        by_name = {(known[topic].name, partition): (topic, partition) for topic, partition in positions}
        while not take.is_full:
            left = 0.0 if take.messages else deadline - time.monotonic()
            found = consumer.poll(max(0.0, min(left, SLICE_S)))
            if found is not None:
                message = self._opened(found, known, by_name)
                if message.offset >= positions[message.topic, message.partition]:
                    take.messages.append(message)
                    take.size += len(message.body)
                continue
            if take.messages:
                return
            now = time.monotonic()
            is_down = self._clients.heard_since(started, *DOWN) is not None
            if is_down or now >= deadline or now - looked_at > LOOK_S:
                looked_at = started = now
                if self._has_changed(known, positions) or now >= deadline:
                    return

    def _has_changed(self, known: Mapping[Topic, KnownTopic], positions: Positions) -> bool:
        """Whether a topic is another now. Raises where the broker does not answer: silence is not "nothing there"."""
        now = self._topics.all_known(known, self._silence_s)
        self._topics.ends(list(positions), self._silence_s)
        return any(now[topic].incarnation != one.incarnation for topic, one in known.items())

    def _gather(self, consumer: Consumer, known: Mapping[Topic, KnownTopic], take: _Take) -> None:
        """Until every span is read or take is full."""
        by_name = {(known[topic].name, partition): (topic, partition) for topic, partition in take.spans}
        open_places = set(take.spans)
        moved_at = looked_at = time.monotonic()
        while open_places and not take.is_full:
            found = consumer.poll(SLICE_S)
            now = time.monotonic()
            if found is not None:
                message = self._opened(found, known, by_name)
                moved_at = now
                place = (message.topic, message.partition)
                first, stop = take.spans[place]
                if first <= message.offset < stop:
                    take.messages.append(message)
                    take.size += len(message.body)
                if message.offset >= stop - 1:
                    open_places.discard(place)
                continue
            open_places -= self._passed(consumer, known, take, open_places)
            if now - moved_at > self._stall_s:
                raise timed_out(self._clients.address, f"no message for {self._stall_s:g} s where some are stored")
            if now - looked_at > LOOK_S:
                looked_at = now
                self._topics.ends(list(open_places), self._silence_s)  # raises where nobody answers

    def _passed(
        self, consumer: Consumer, known: Mapping[Topic, KnownTopic], take: _Take, places: set[Place]
    ) -> set[Place]:
        """Those whose position stands at the end of their span, over records that are no messages."""
        from confluent_kafka import TopicPartition

        by_name = {(known[topic].name, partition): (topic, partition) for topic, partition in places}
        asked = [TopicPartition(name, partition) for name, partition in by_name]
        return {
            by_name[at.topic, at.partition]
            for at in consumer.position(asked)
            if at.offset >= take.spans[by_name[at.topic, at.partition]][1]
        }

    def _assign(self, consumer: Consumer, known: Mapping[Topic, KnownTopic], starts: Mapping[Place, int]) -> None:
        """By number: a symbolic offset costs half a second. An unknown topic is taken in silence: check before."""
        from confluent_kafka import TopicPartition

        consumer.assign(
            [
                TopicPartition(known[topic].name, partition, max(0, first))
                for (topic, partition), first in starts.items()
            ]
        )

    def _opened(
        self, found: Found[Any, Any], known: Mapping[Topic, KnownTopic], by_name: Mapping[tuple[str, int], Place]
    ) -> Message:
        problem = found.error()
        if problem is not None:
            name = problem.name()
            if name in OUT_OF_RANGE or name in NO_SUCH_TOPIC:
                raise _OutOfRange
            raise mapped(problem, self._clients.address)
        topic, partition = by_name[found.topic() or "", found.partition() or 0]
        headers = {
            name: value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
            for name, value in _pairs(found.headers())
        }
        return Message(
            topic,
            partition,
            found.offset() or 0,
            found.value() or b"",
            headers,
            broker=self._broker,
            incarnation=known[topic].incarnation,
        )

    def _check_kept(self, place: Place, first: int, oldest: int) -> None:
        if first < oldest:
            raise OffsetLost(
                where=self._topics.where(*place),
                expected=f"offset {first}",
                got=f"{oldest} as the oldest that is still stored",
                first_available=oldest,
            )


def _pairs(headers: Any) -> list[tuple[str, Any]]:
    if not headers:
        return []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)
