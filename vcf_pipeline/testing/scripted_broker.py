"""A broker in memory that keeps every promise of the port, until its script says otherwise.

Failure is part of the script: `ScriptedBroker(appends=[WORKS, PAUSES, DIES])`. Not here: files, processes.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from vcf_pipeline.adapters.broker.port import Health, Message, Positions
from vcf_pipeline.domain.errors import (
    BrokerTimeout,
    BrokerUnavailable,
    MessageTooLarge,
    OffsetLost,
    TopicFull,
    TopicMissing,
)
from vcf_pipeline.domain.stream.topics import Topic
from vcf_pipeline.domain.stream.topology_diff import FoundTopic


class Step(Enum):
    """What the next call meets."""

    WORKS = "works"
    PAUSES = "pauses"  # BrokerTimeout, but what was sent has landed
    DIES = "dies"  # BrokerUnavailable, nothing has landed
    FULL = "full"


WORKS, PAUSES, DIES, FULL = Step


@dataclass
class _Log:
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex)
    partitions: dict[int, list[bytes]] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)


@dataclass
class _Late:
    """An append that came while the broker was frozen: it lands when the broker wakes, whoever waits for it."""

    topic: Topic
    partition: int
    bodies: list[bytes]
    first: int | None = None


class ScriptedBroker:
    """Implements port.Broker. appends, reads: a step per call, in order; after the last one all works.

    gate: cleared, appends wait until it is set: a broker that is slow, not dead. die, freeze, slow, restart, recreate
    and the others below say what happens to it from now on. call_timeout_s: what a call to a frozen one takes.
    """

    def __init__(
        self,
        appends: Sequence[Step] = (),
        reads: Sequence[Step] = (),
        *,
        name: str = "scripted",
        max_message_bytes: int = 4 << 20,
        call_timeout_s: float = 2.0,
    ) -> None:
        self.name, self.max_message_bytes = name, max_message_bytes
        self._call_timeout_s = call_timeout_s
        self._is_dead = self._is_frozen = False
        self._delay_s = 0.0
        self._late: list[_Late] = []
        self.gate = threading.Event()
        self.gate.set()
        self._appends, self._reads = list(appends), list(reads)
        self._logs: dict[Topic, _Log] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def ensure_topics(self, topics: Sequence[Topic]) -> None:
        with self._changed:
            self._check_open()
            for topic in topics:
                log = self._logs.setdefault(topic, _Log())
                for partition in range(topic.rule.partitions):
                    log.partitions.setdefault(partition, [])

    def describe_topics(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        with self._changed:
            self._check_open()
            return {
                topic: FoundTopic(len(log.partitions), topic.rule.retention_s) if log is not None else None
                for topic, log in ((topic, self._logs.get(topic)) for topic in topics)
            }

    def alter_topics(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self._partition(topic, 0)
        self.ensure_topics(topics)

    def append(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Sequence[int]:
        self.gate.wait()
        step = self._appends.pop(0) if self._appends else WORKS
        if step is DIES:
            raise BrokerUnavailable(where=self.name, got="the script says that it is dead")
        if step is FULL:
            raise TopicFull(where=self.name, got="the script says that it is full")
        if self._delay_s:
            time.sleep(self._delay_s)
        with self._changed:
            if self._is_frozen:
                return self._append_late(_Late(topic, partition, list(bodies)))
            first = self._store(topic, partition, bodies)
        if step is PAUSES:
            raise BrokerTimeout(where=self.name, got="the script says that it is frozen")
        return range(first, first + len(bodies))

    def _store(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> int:
        stored = self._partition(topic, partition)
        for body in bodies:
            if len(body) > self.max_message_bytes:
                raise MessageTooLarge(
                    where=topic.full_name, expected=f"at most {self.max_message_bytes}", got=str(len(body))
                )
        first = len(stored)
        stored.extend(bodies)
        self._changed.notify_all()
        return first

    def _append_late(self, late: _Late) -> Sequence[int]:
        self._late.append(late)
        self._check_open()  # until it wakes, dies, or the caller's time is over
        if late.first is None:
            raise TopicMissing(where=late.topic.full_name, expected="a topic", got="none")
        return range(late.first, late.first + len(late.bodies))

    def read(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        step = self._reads.pop(0) if self._reads else WORKS
        if step is not WORKS:
            raise (BrokerUnavailable if step is DIES else BrokerTimeout)(where=self.name, got="the script says so")
        with self._changed:
            return self._stored(topic, partition, first, last, max_bytes)

    def _stored(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        stored = self._partition(topic, partition)
        log = self._logs[topic]
        oldest = log.first.get(partition, 0)
        if first < oldest:
            raise OffsetLost(
                where=topic.full_name, expected=str(first), got=f"{oldest} as the oldest", first_available=oldest
            )
        messages: list[Message] = []
        size = 0
        for offset in range(max(first, 0), min(last + 1, len(stored))):
            body = stored[offset]
            messages.append(Message(topic, partition, offset, body, broker=self.name, incarnation=log.incarnation))
            size += len(body)
            if size >= max_bytes:
                break
        return messages

    def end_offsets(self, topic: Topic) -> dict[int, int]:
        with self._changed:
            self._partition(topic, 0)
            return {partition: len(stored) for partition, stored in self._logs[topic].partitions.items()}

    def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                messages: list[Message] = []
                left = max_bytes
                for (topic, partition), first in positions.items():
                    if left > 0:
                        found = self._stored(topic, partition, first, 1 << 40, left)
                        messages += found
                        left -= sum(len(message.body) for message in found)
                remaining = deadline - time.monotonic()
                if messages or remaining <= 0:
                    return messages
                self._changed.wait(remaining)

    def incarnation(self, topic: Topic) -> str:
        with self._changed:
            self._partition(topic, 0)
            return self._logs[topic].incarnation

    def health(self) -> Health:
        try:
            with self._changed:
                self._check_open()
        except (BrokerUnavailable, BrokerTimeout) as problem:
            return Health(False, 0.0, problem.message)
        if self._appends and self._appends[0] is not WORKS:
            return Health(False, 0.0, f"the script says {self._appends[0].value}")
        return Health(True, 0.0)

    def close(self) -> None:
        self._is_closed = True

    # ---- what happens to brokers

    def die(self) -> None:
        """Every call fails at once; calls that hang fail too, and what they sent is lost. What is stored stays."""
        with self._changed:
            self._is_dead, self._is_frozen = True, False
            self._late.clear()
            self._changed.notify_all()

    def freeze(self) -> None:
        """Nothing is answered, to anybody, until it wakes or the caller's own time is over."""
        with self._changed:
            self._is_frozen = True

    def slow(self, seconds: float) -> None:
        """Every append takes so much longer; everything else is answered."""
        self._delay_s = seconds

    def restart(self) -> None:
        """Well again, with all that is stored. What was sent while it was frozen lands now, late."""
        with self._changed:
            self._is_dead = self._is_frozen = False
            self._delay_s = 0.0
            for late in self._late:
                with contextlib.suppress(TopicMissing):
                    late.first = self._store(late.topic, late.partition, late.bodies)
            self._late.clear()
            self._changed.notify_all()

    def recreate(self, topic: Topic) -> None:
        """Deleted and created again: empty, another incarnation."""
        with self._changed:
            del self._logs[topic]
        self.ensure_topics([topic])

    def regress(self, topic: Topic, partition: int, end: int) -> None:
        """Acknowledged messages are lost and their offsets given again; the incarnation stays."""
        with self._changed:
            del self._partition(topic, partition)[end:]

    def expire(self, topic: Topic, partition: int, first: int) -> None:
        """Retention took what lies before `first`."""
        with self._changed:
            self._partition(topic, partition)
            self._logs[topic].first[partition] = first

    def _partition(self, topic: Topic, partition: int) -> list[bytes]:
        self._check_open()
        log = self._logs.get(topic)
        if log is None or partition not in log.partitions:
            raise TopicMissing(where=f"{topic.full_name}[{partition}]", expected="a topic", got="none")
        return log.partitions[partition]

    def _check_open(self) -> None:
        """Called with the lock held, which is given up while the broker is frozen."""
        if self._is_frozen and not self._changed.wait_for(lambda: not self._is_frozen, self._call_timeout_s):
            raise BrokerTimeout(where=self.name, got=f"no answer for {self._call_timeout_s:g} s")
        if self._is_dead:
            raise BrokerUnavailable(where=self.name, got="nothing listens there")
        if self._is_closed:
            raise BrokerUnavailable(where=self.name, got="the broker was closed")
