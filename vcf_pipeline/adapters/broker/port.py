"""What a broker promises. The adapters beside this file keep it; `contract.py` of the tests holds them to it.

Delivery is at least once: ids and idempotent sinks make the results effectively once.
Not here: which broker is chosen, windows and retries (coordinator.py); what a body means (domain/stream).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vcf_pipeline.domain.stream.topics import Topic
from vcf_pipeline.domain.stream.topology_diff import FoundTopic


@dataclass(frozen=True)
class Message:
    """Bytes at an offset of a partition. headers: small texts beside the body.

    broker, incarnation: whose message it is, and of which life of the topic, so that a cursor can name its
    place.
    """

    topic: Topic
    partition: int
    offset: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    broker: str = ""
    incarnation: str = ""


@dataclass(frozen=True)
class Health:
    """latency_ms: of one round trip; reason: why it is not healthy, empty where it is.

    details: what `doctor` shows beside it, as far as it is known: `version` of the server, `durability` of topics.
    """

    is_healthy: bool
    latency_ms: float
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


Positions = Mapping[tuple[Topic, int], int]
"""The next offset to read, by topic and partition."""


@runtime_checkable
class Broker(Protocol):
    """One vendor. Every call may raise BrokerUnavailable or BrokerTimeout (the outcome is unknown)."""

    name: str
    max_message_bytes: int

    def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Create what is missing, with the topology's partitions; idempotent."""
        ...

    def describe_topics(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        """Each of them as it is here, None for one that is not. Changes nothing."""
        ...

    def alter_topics(self, topics: Sequence[Topic]) -> None:
        """Raise the partitions and the retention of existing topics to the topology's; never lowers either.

        What is stored stays, at its offsets and with the topic's incarnation; one that has enough is left alone.
        Raises TopicMissing.
        """
        ...

    def append(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Sequence[int]:
        """The offset of every body, ascending, in their order. Durable when it returns.

        Another writer's messages may lie between them, so only the first and the last bound a segment.
        Raises TopicMissing, TopicFull, MessageTooLarge (nothing was stored). After any other error, some or
        all of them may have landed.
        """
        ...

    def read(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        """Messages first..last, both inclusive, by offset; never by what a group has committed.

        Fewer may come: retention leaves gaps, and reading stops after the message that reaches max_bytes.
        None means that nothing is stored in that range.
        Raises TopicMissing, OffsetLost(first_available) when `first` is older than what is kept.
        """
        ...

    def end_offsets(self, topic: Topic) -> dict[int, int]:
        """The offset that the next message will get, by partition. Raises TopicMissing."""
        ...

    def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
        """A long poll: returns as soon as there is something at or after a position, [] after timeout_s.

        [] means "looked, nothing there"; a failed look raises. In offset order within a partition; reading
        stops after the message that reaches max_bytes. A position beyond the end waits. Raises TopicMissing,
        OffsetLost.
        """
        ...

    def incarnation(self, topic: Topic) -> str:
        """Which life of the topic this is: another value means deleted and created again. Raises
        TopicMissing.
        """
        ...

    def health(self) -> Health:
        """One round trip on a connection that no other call waits on, so that a slow call is told from a frozen
        broker. Never raises, and never takes longer than connecting may.
        """
        ...

    def close(self) -> None:
        """Idempotent."""
        ...
