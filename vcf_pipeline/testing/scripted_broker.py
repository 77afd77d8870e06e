"""A broker in memory that keeps every promise of the port, until its script says otherwise.

Failure is part of the script: `ScriptedBroker(appends=[WORKS, PAUSES, DIES])`. Not here: files, processes.
"""

from __future__ import annotations

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


class ScriptedBroker:
    """Implements port.Broker. appends, reads: a step per call, in order; after the last one all works.

    gate: cleared, appends wait until it is set: a broker that is slow, not dead.
    """

    def __init__(
        self,
        appends: Sequence[Step] = (),
        reads: Sequence[Step] = (),
        *,
        name: str = "scripted",
        max_message_bytes: int = 4 << 20,
    ) -> None:
        self.name, self.max_message_bytes = name, max_message_bytes
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
        with self._changed:
            stored = self._partition(topic, partition)
            for body in bodies:
                if len(body) > self.max_message_bytes:
                    raise MessageTooLarge(
                        where=topic.full_name, expected=f"at most {self.max_message_bytes}", got=str(len(body))
                    )
            first = len(stored)
            stored.extend(bodies)
            self._changed.notify_all()
        if step is PAUSES:
            raise BrokerTimeout(where=self.name, got="the script says that it is frozen")
        return range(first, first + len(bodies))

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
        if self._is_closed:
            return Health(False, 0.0, "the broker was closed")
        if self._appends and self._appends[0] is not WORKS:
            return Health(False, 0.0, f"the script says {self._appends[0].value}")
        return Health(True, 0.0)

    def close(self) -> None:
        self._is_closed = True

    # ---- what happens to brokers

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
        if self._is_closed:
            raise BrokerUnavailable(where=self.name, got="the broker was closed")
