"""A segment → its messages, after a look whether they can still be the ones that were sent.

Not here: which of them belong to the publication, what is missing (stages/receive.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vcf_pipeline.adapters.broker.guard import Guard
from vcf_pipeline.adapters.broker.port import Broker, Message
from vcf_pipeline.domain.errors import OffsetRegressed, TopicRecreated
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.stream.topics import Topic


def messages_of(segment: Segment, guard: Guard, max_bytes: int) -> Iterator[Message]:
    """In order, those of other publications between them too; never more than max_bytes at once.

    Raises BrokerUnavailable, BrokerTimeout (a frozen broker costs what its guard waits), TopicMissing, TopicRecreated,
    OffsetRegressed, OffsetLost.
    """
    broker = guard.broker
    topic = Topic.parse(segment.topic)
    where = f"{segment.broker}:{segment.topic}[{segment.partition}]"
    incarnation = guard.call(lambda: broker.incarnation(topic))
    if incarnation != segment.incarnation:
        raise TopicRecreated(
            where=where,
            expected=f"incarnation {segment.incarnation}",
            got=incarnation,
            repair="What was sent is gone with the old topic: publish the file again.",
        )
    end = guard.call(lambda: broker.end_offsets(topic)).get(segment.partition, 0)
    if end <= segment.last_offset:
        raise OffsetRegressed(
            where=where,
            expected=f"messages up to {segment.last_offset}",
            got=f"an end at {end}",
            repair="The broker lost messages that it had acknowledged: publish the file again.",
        )
    first = segment.first_offset
    while first <= segment.last_offset:
        messages = guard.call(_reading(broker, topic, segment, first, max_bytes))
        if not messages:
            return
        yield from messages
        first = messages[-1].offset + 1


def _reading(broker: Broker, topic: Topic, segment: Segment, first: int, max_bytes: int) -> Callable[[], list[Message]]:
    return lambda: broker.read(topic, segment.partition, first, segment.last_offset, max_bytes)
