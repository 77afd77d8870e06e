"""What the stub of an Iggy server holds, and how it answers what is asked of that: streams, topics, messages.

Not here: frames (iggy_wire.py); connections, logins and faults (iggy_stub.py).
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from vcf_pipeline.testing import iggy_wire as wire

_DEFAULTS: dict[str, wire.Value] = {
    "compression_algorithm": "none",
    "enforce_fsync": False,
    "max_topic_size": 2**64 - 1,
    "message_expiry": 2**64 - 1,
    "messages_required_to_save": 1024,
    "preallocate_segments": False,
    "segment_size": 1 << 30,
    "size_of_messages_required_to_save": 1 << 20,
}
_DURABILITY: dict[str, wire.Value] = {"durability": "replicated", "consumer_offset_durability": "replicated"}


@dataclass
class _Partition:
    """messages: (header of their batch, its first offset, the message's bytes), by offset; None was removed."""

    created_at: int
    messages: list[tuple[bytes, int, bytes] | None] = field(default_factory=list)

    @property
    def stored(self) -> int:
        return sum(message is not None for message in self.messages)


@dataclass
class _Topic:
    name: str
    created_at: int
    partitions: list[_Partition]
    given: dict[str, wire.Value]
    """Options that its maker named."""
    others: dict[str, wire.Value]

    @property
    def is_durable(self) -> bool:
        every = self.others | self.given
        is_synced = every.get("durability") == "persisted" or every.get("enforce_fsync") is True
        return is_synced and every["messages_required_to_save"] == 1


class State:
    """Every act takes the rest of a request's body and gives its answer's, or raises Refused as a server does.

    knows_durability: takes the client's keys for durable topics. lock: of whoever acts.
    """

    def __init__(self, *, knows_durability: bool) -> None:
        self.known = _DEFAULTS | (_DURABILITY if knows_durability else {})
        self.lock = threading.RLock()
        self.streams: dict[str, dict[str, _Topic]] = {}
        self.polled: list[tuple[int, int]] = []
        """Messages that a poll asked for, and bytes that it got."""
        self._clock = 0

    def topics(self) -> Iterator[_Topic]:
        for topics in self.streams.values():
            yield from topics.values()

    def lose_what_is_not_durable(self) -> None:
        """What a topic without durability had acknowledged is gone, and its offsets come anew."""
        with self.lock:
            for topic in self.topics():
                if not topic.is_durable:
                    for partition in topic.partitions:
                        partition.messages.clear()

    def forget_before(self, stream: str, topic: str, partition: int, offset: int) -> None:
        """As retention does it."""
        with self.lock:
            messages = self.streams[stream][topic].partitions[partition].messages
            messages[:offset] = [None] * len(messages[:offset])

    def _now(self) -> int:
        """Microseconds; never the same twice."""
        self._clock = max(self._clock + 1, time.time_ns() // 1000)
        return self._clock

    def _found(self, body: wire.Reader, *, is_rejected: bool = True) -> tuple[dict[str, _Topic], _Topic]:
        stream, name = body.identifier(), body.identifier()
        topics = self.streams.get(stream)
        if topics is None:
            raise wire.Refused(wire.NO_STREAM, is_rejected=is_rejected)
        if name not in topics:
            raise wire.Refused(wire.NO_TOPIC, is_rejected=is_rejected)
        return topics, topics[name]

    def create_stream(self, body: wire.Reader) -> bytes:
        name = body.name()
        if name in self.streams:
            raise wire.Refused(wire.STREAM_EXISTS, is_rejected=True)
        self.streams[name] = {}
        empty = struct.pack("<IQIQQ", 0, self._now(), 0, 0, 0)
        return wire.ACCEPTED + empty + wire.text(name) + struct.pack("<I", 0)

    def delete_stream(self, body: wire.Reader) -> bytes:
        if self.streams.pop(body.identifier(), None) is None:
            raise wire.Refused(wire.NO_STREAM, is_rejected=True)
        return wire.ACCEPTED

    def create_topic(self, body: wire.Reader) -> bytes:
        stream, count, name = body.identifier(), body.number("I"), body.name()
        return wire.ACCEPTED + _described(self.make_topic(stream, name, count, body.options()))

    def make_topic(self, stream: str, name: str, count: int, given: dict[str, wire.Value]) -> _Topic:
        """Raises Refused as the server does."""
        if not given.keys() <= self.known.keys():
            raise wire.Refused(wire.NO_SUCH_OPTION)
        with self.lock:
            topics = self.streams.get(stream)
            if topics is None:
                raise wire.Refused(wire.NO_STREAM, is_rejected=True)
            if name in topics:
                raise wire.Refused(wire.TOPIC_EXISTS, is_rejected=True)
            now = self._now()
            partitions = [_Partition(now) for _ in range(count)]
            others = {key: value for key, value in self.known.items() if key not in given}
            topics[name] = _Topic(name, now, partitions, given, others)
            return topics[name]

    def update_topic(self, body: wire.Reader) -> bytes:
        _, topic = self._found(body)
        body.name()
        topic.given |= body.options()
        topic.others = {key: value for key, value in topic.others.items() if key not in topic.given}
        return wire.ACCEPTED

    def delete_topic(self, body: wire.Reader) -> bytes:
        topics, topic = self._found(body)
        del topics[topic.name]
        return wire.ACCEPTED

    def purge_topic(self, body: wire.Reader) -> bytes:
        _, topic = self._found(body)
        for partition in topic.partitions:
            partition.messages.clear()
        return wire.ACCEPTED

    def create_partitions(self, body: wire.Reader) -> bytes:
        _, topic = self._found(body)
        topic.partitions += [_Partition(self._now()) for _ in range(body.number("I"))]
        return wire.ACCEPTED

    def get_topic(self, body: wire.Reader) -> bytes:
        try:
            _, topic = self._found(body)
        except wire.Refused:
            return b""
        return _described(topic)

    def send(self, body: wire.Reader) -> bytes:
        body.number("I")
        try:
            _, topic = self._found(body)
            body.take(2)
            number = body.number("I")
            partition = topic.partitions[number]
        except (wire.Refused, IndexError):
            raise wire.Refused(wire.NO_RESOURCE) from None
        body.number("I")
        batch = body.body[body.at :]
        base = len(partition.messages)
        partition.messages += [(batch[: wire.HEADER], base, frame) for frame in wire.frames(batch)]
        return struct.pack("<IIIIQ", 1, 0, 0, number, base)

    def poll(self, body: wire.Reader) -> bytes:
        body.take(1)
        body.identifier()  # the consumer
        _, topic = self._found(body, is_rejected=False)
        body.take(1)
        number, kind, value, count = body.number("I"), body.number("B"), body.number("Q"), body.number("I")
        if number >= len(topic.partitions):
            raise wire.Refused(wire.NO_PARTITION)
        messages = topic.partitions[number].messages
        first = 0 if kind == wire.FROM_FIRST else value
        found = [message for message in messages[first:] if message is not None][:count]
        batches: dict[int, tuple[bytes, list[bytes]]] = {}
        for header, base, frame in found:
            batches.setdefault(base, (header, []))[1].append(frame)
        head = struct.pack("<IQI", number, max(len(messages) - 1, 0), len(found))
        answer = head + b"".join(wire.record(header, base, frames) for base, (header, frames) in batches.items())
        self.polled.append((count, len(answer)))
        return answer


def _described(topic: _Topic) -> bytes:
    every = topic.others | topic.given
    size = sum(len(message[2]) for each in topic.partitions for message in each.messages if message is not None)
    stored = sum(partition.stored for partition in topic.partitions)
    head = struct.pack(
        "<IQIQBQQQ",
        0,
        topic.created_at,
        len(topic.partitions),
        every["message_expiry"],
        1,
        every["max_topic_size"],
        size,
        stored,
    )
    places = b"".join(
        struct.pack("<IQIQQQ", number, each.created_at, 1, max(len(each.messages) - 1, 0), 0, each.stored)
        for number, each in enumerate(topic.partitions)
    )
    return head + wire.text(topic.name) + wire.options(topic.given) + wire.options(topic.others) + places


def typed(key: str, value: str) -> wire.Value:
    """What the text of an option means that came over HTTP."""
    default = _DEFAULTS.get(key, "")
    if isinstance(default, bool):
        return value == "true"
    return int(value) if isinstance(default, int) else value
