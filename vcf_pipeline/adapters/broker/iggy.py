"""Apache Iggy, the first choice: exact offsets from confirmations, reads by explicit offsets, waiting by polling.

Not here: clients, their loop and time-outs (iggy_session.py); how topics are made and judged (iggy_topics.py); errors'
words (iggy_errors.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from vcf_pipeline.adapters.broker.iggy_errors import not_durable, wrong_version
from vcf_pipeline.adapters.broker.iggy_session import IggyOptions, Purpose, Session
from vcf_pipeline.adapters.broker.iggy_topics import Facts, Names, Topics
from vcf_pipeline.adapters.broker.port import Health, Message, Positions
from vcf_pipeline.domain.errors import (
    MessageTooLarge,
    OffsetLost,
    OffsetRegressed,
    PipelineError,
    TopicMissing,
    TopicRecreated,
)
from vcf_pipeline.domain.stream.topics import Topic
from vcf_pipeline.domain.stream.topology_diff import FoundTopic

POLL_FIRST_S = 0.020
POLL_QUIET_S = 0.100
POLL_GROWTH = 1.25

FACTS_AGE_S = 1.0
"""How long an append believes what it knew of the topic."""
SEND_BYTES = 16 << 20
"""One request of an append at most, and one poll as far as sizes can be foreseen: the server has no limit of bytes."""
HTTP_BYTES = 1_400_000
"""The same over HTTP: a request is JSON with base64 in it, and the server's own limit for one is 2 MB."""
CLIENT_BYTES = 64_000_000
"""Of one message, which the client itself refuses above that."""
SEND_MESSAGES = 1000
_FIRST_COUNT = 8
_MOST_COUNT = 1000
_EMPTY = "vcf-pipeline-empty"
"""Header of a message whose body is empty: Iggy takes no empty ones, so one byte stands in for it."""
_FOR_EVER = (1 << 63) - 1
_Place = tuple[Topic, int]


class IggyBroker:
    """Implements port.Broker. Connects when first used; many threads may use it."""

    name = "iggy"

    def __init__(self, options: IggyOptions) -> None:
        self.options = options
        is_http = options.transport == "http"
        self.max_message_bytes = min(options.max_message_bytes, HTTP_BYTES if is_http else CLIENT_BYTES)
        self._send_bytes = HTTP_BYTES if is_http else SEND_BYTES
        self._session = Session(options)
        self._names = Names(options.prefix)
        self._topics = Topics(self._session, self._names)
        self._lock = threading.Lock()
        self._facts: dict[Topic, tuple[float, Facts]] = {}
        self._known_ends: dict[_Place, tuple[int, int]] = {}
        """Incarnation, and the highest end that was seen in it: a lower one means that the server lost messages."""
        self._largest: dict[_Place, int] = {}
        """Bytes of the largest message that was read: how many to ask for at once."""

    # ---- topics

    def ensure_topics(self, topics: Sequence[Topic]) -> None:
        for topic, facts in self._topics.ensure(topics).items():
            self._learn(topic, facts)

    def describe_topics(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        return self._topics.describe(topics)

    def alter_topics(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self._topics.raise_to_rule(topic)
            self._learn(topic, self._topics.facts(topic, "admin"))

    def end_offsets(self, topic: Topic) -> dict[int, int]:
        return dict(self._fresh(topic).ends)

    def incarnation(self, topic: Topic) -> str:
        return self._fresh(topic).incarnation

    # ---- messages

    def append(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Sequence[int]:
        for body in bodies:
            if len(body) > self.max_message_bytes:
                raise MessageTooLarge(
                    where=self._where(topic),
                    expected=f"at most {self.max_message_bytes} bytes",
                    got=str(len(body)),
                    repair="Cut the message; the limit is the broker's for all of its topics.",
                )
        facts = self._recent(topic)
        self._check_partition(facts, topic, partition)
        if facts.not_durable:
            raise not_durable(self._where(topic), facts.not_durable)
        offsets: list[int] = []
        try:
            for batch in _batches(bodies, self._send_bytes):
                first = self._send(topic, partition, batch)
                offsets.extend(range(first, first + len(batch)))
        except TopicMissing:
            self._forget(topic)
            raise
        if offsets:
            self._see_end(topic, partition, facts, offsets[-1] + 1)
        return offsets

    def read(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        facts = self._fresh(topic)
        self._check_partition(facts, topic, partition)
        self._check_not_regressed(topic, partition, facts, "read")
        return self._stored((topic, partition), facts, (max(first, 0), last), max_bytes, "read")

    def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
        deadline = time.monotonic() + timeout_s
        pause = POLL_FIRST_S
        lives: dict[Topic, int] = {}
        while True:
            messages = self._looked(positions, lives, max_bytes)
            if messages:
                return messages
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(pause, left))
            pause = min(pause * POLL_GROWTH, POLL_QUIET_S)

    def health(self) -> Health:
        started = time.perf_counter()
        try:
            limit = self.options.connect_timeout_s
            self._session.call("probe", lambda client: client.ping(), "ping", timeout_s=limit + 0.1)
        except PipelineError as problem:
            return Health(False, (time.perf_counter() - started) * 1e3, problem.message)
        took = (time.perf_counter() - started) * 1e3
        with self._lock:
            unsafe = [(topic, facts.not_durable) for topic, (_, facts) in self._facts.items() if facts.not_durable]
        if unsafe:
            topic, why = unsafe[0]
            return Health(False, took, not_durable(self._where(topic), why).message, self._details())
        return Health(True, took, details=self._details())

    def _details(self) -> dict[str, str]:
        with self._lock:
            known = [facts.not_durable for _, facts in self._facts.values()]
        details = {"version": self._session.server_version or "unknown"}
        if known:
            details["durability"] = "not persisted" if any(known) else "persisted"
        if self.options.transport == "quic" and not self.options.tls:
            details["certificate"] = "not checked"
        return details

    def close(self) -> None:
        self._session.close()

    # ---- what is known of a topic

    def _where(self, topic: Topic) -> str:
        return f"{self._session.where} {self._names.both(topic)}"

    def _fresh(self, topic: Topic, purpose: Purpose = "read") -> Facts:
        try:
            facts = self._topics.facts(topic, purpose)
        except TopicMissing:
            self._forget(topic)
            raise
        self._learn(topic, facts)
        return facts

    def _recent(self, topic: Topic) -> Facts:
        """Not older than FACTS_AGE_S: an append should not pay a round trip each time."""
        with self._lock:
            at, facts = self._facts.get(topic, (0.0, None))
        if facts is not None and time.monotonic() - at < FACTS_AGE_S:
            return facts
        return self._fresh(topic, "append")

    def _learn(self, topic: Topic, facts: Facts) -> None:
        with self._lock:
            self._facts[topic] = (time.monotonic(), facts)

    def _forget(self, topic: Topic) -> None:
        with self._lock:
            self._facts.pop(topic, None)

    def _check_partition(self, facts: Facts, topic: Topic, partition: int) -> None:
        if partition not in facts.ends:
            raise TopicMissing(
                where=self._where(topic),
                expected=f"a partition from 0 to {len(facts.ends) - 1}",
                got=str(partition),
                repair="`vcf-pipeline topology apply` makes those that the topology has.",
            )

    def _see_end(self, topic: Topic, partition: int, facts: Facts, end: int) -> None:
        with self._lock:
            life, known = self._known_ends.get((topic, partition), (facts.created_at, 0))
            highest = max(known, end) if life == facts.created_at else end
            self._known_ends[topic, partition] = (facts.created_at, highest)

    def _check_not_regressed(self, topic: Topic, partition: int, facts: Facts, purpose: Purpose) -> None:
        """Raises OffsetRegressed, once: whoever hears it looks again from the start."""
        place, end = (topic, partition), facts.ends[partition]
        with self._lock:
            life, known = self._known_ends.get(place, (facts.created_at, 0))
        if life == facts.created_at and end < known and not self._polled(place, known - 1, 1, purpose):
            with self._lock:
                self._known_ends[place] = (facts.created_at, end)
            raise OffsetRegressed(
                where=f"{self._where(topic)}[{partition}]",
                expected=f"an end at {known} or later",
                got=f"an end at {end}",
                repair="The topic was purged, or the server lost messages that it had acknowledged and counts anew: "
                "read this partition again from its start.",
            )
        self._see_end(topic, partition, facts, end)

    # ---- sending and polling

    def _send(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> int:
        """The offset of the first: a batch lies together."""
        import apache_iggy as iggy

        stream = self._names.stream(topic)
        to = iggy.Partitioning.partition_id(partition)
        messages = [iggy.SendMessage(body) if body else iggy.SendMessage(b"\0", {_EMPTY: True}) for body in bodies]
        answer = self._session.call(
            "append", lambda client: client.send_messages(stream, topic.name, to, messages), self._names.both(topic)
        )
        for confirmation in answer.confirmations:
            if confirmation.partition_id == partition:
                return int(confirmation.base_offset)
        raise wrong_version(self._where(topic), "a server that took the messages and did not say at which offset")

    def _polled(self, place: _Place, offset: int, count: int, purpose: Purpose) -> list[Any]:
        """apache_iggy.ReceiveMessage from an offset on, at most `count`."""
        import apache_iggy as iggy

        (topic, partition), stream = place, self._names.stream(place[0])
        strategy = iggy.PollingStrategy.Offset(offset) if offset >= 0 else iggy.PollingStrategy.First()
        found = self._session.call(
            purpose,
            lambda client: client.poll_messages(
                stream,
                topic.name,
                consumer=iggy.Consumer.Single("vcf-pipeline"),
                polling_strategy=strategy,
                count=count,
                auto_commit=False,
                partition_id=partition,
            ),
            f"{self._names.both(topic)}[{partition}]",
        )
        return list(found)

    def _stored(
        self, place: _Place, facts: Facts, span: tuple[int, int], max_bytes: int, purpose: Purpose
    ) -> list[Message]:
        (topic, partition), (offset, last) = place, span
        messages: list[Message] = []
        size = 0
        while offset <= last and size < max_bytes:
            count = min(self._count(place, max_bytes - size), last - offset + 1)
            found = self._polled(place, offset, count, purpose)
            if not messages and (not found or found[0].offset() > offset):
                self._check_not_lost(place, facts, offset, purpose)
            for message in found:
                at, body = message.offset(), _body(message)
                if at > last:
                    return messages
                self._largest[place] = max(self._largest.get(place, 1), len(body))
                messages.append(Message(topic, partition, at, body, broker=self.name, incarnation=facts.incarnation))
                size += len(body)
                if size >= max_bytes:
                    return messages
            if not found or (len(found) < count and found[-1].offset() + 1 >= facts.ends[partition]):
                return messages
            offset = found[-1].offset() + 1
        return messages

    def _count(self, place: _Place, max_bytes: int) -> int:
        """So many that they should not be more than the bytes, by the largest one that was seen there."""
        largest = self._largest.get(place)
        if largest is None:
            return max(1, min(_FIRST_COUNT, -(-max_bytes // self.max_message_bytes)))
        return max(1, min(_MOST_COUNT, min(max_bytes, SEND_BYTES) // largest))

    def _check_not_lost(self, place: _Place, facts: Facts, first: int, purpose: Purpose) -> None:
        """Raises OffsetLost where retention took `first`; a gap behind it is none."""
        end = facts.ends[place[1]]
        if first >= end:
            return
        oldest = self._polled(place, -1, 1, purpose)
        kept = oldest[0].offset() if oldest else end
        if kept > first:
            raise OffsetLost(
                where=f"{self._where(place[0])}[{place[1]}]",
                expected=f"offset {first}",
                got=f"{kept} as the oldest that is still stored",
                first_available=kept,
            )

    def _looked(self, positions: Positions, lives: dict[Topic, int], max_bytes: int) -> list[Message]:
        """One look at every position. lives: created_at of each topic when this wait began."""
        looked: dict[Topic, Facts] = {}
        messages: list[Message] = []
        left = max_bytes
        for (topic, partition), first in positions.items():
            if topic not in looked:
                looked[topic] = self._fresh(topic, "wait")
                self._check_same_life(topic, looked[topic], lives)
            facts = looked[topic]
            self._check_partition(facts, topic, partition)
            self._check_not_regressed(topic, partition, facts, "wait")
            if left <= 0 or facts.ends[partition] <= first:
                continue
            found = self._stored((topic, partition), facts, (max(first, 0), _FOR_EVER), left, "wait")
            messages += found
            left -= sum(len(message.body) for message in found)
        return messages

    def _check_same_life(self, topic: Topic, facts: Facts, lives: dict[Topic, int]) -> None:
        life = lives.setdefault(topic, facts.created_at)
        if life != facts.created_at:
            raise TopicRecreated(
                where=self._where(topic),
                expected=f"incarnation {life}",
                got=facts.incarnation,
                repair="The topic was deleted and made again: read it from its start.",
            )


def _batches(bodies: Sequence[bytes], limit: int) -> Iterator[list[bytes]]:
    """Cut so that no request is large; most appends are one."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and (size + len(body) > limit or len(batch) >= SEND_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch


def _body(message: Any) -> bytes:
    body: bytes = message.payload()
    if len(body) == 1:
        headers = message.user_headers()
        if headers and _EMPTY in headers.to_scalar_dict():
            return b""
    return body


__all__ = ["IggyBroker", "IggyOptions"]
