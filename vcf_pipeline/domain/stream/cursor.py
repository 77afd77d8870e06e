"""A sensor's next offsets by broker, topic, incarnation and partition ↔ JSON.

A topic that was deleted and created again (another incarnation) or whose end lies before the cursor (a broker
that lost messages and counts anew) is read from its start: event ids drop what was done already. Not here:
reading (coordinator.py), dropping (run_plan.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Anomaly = Literal["recreated", "regressed"]


@dataclass(frozen=True, order=True)
class Place:
    """Where a message lies. topic: its full name."""

    broker: str
    topic: str
    incarnation: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.broker}:{self.topic}[{self.partition}]@{self.offset}/{self.incarnation}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """What `str` gave; None for anything else."""
        found = _PLACE.fullmatch(text)
        if found is None:
            return None
        broker, topic, partition, offset, incarnation = found.groups()
        return cls(broker, topic, incarnation, int(partition), int(offset))


_PLACE = re.compile(r"([a-z][a-z0-9-]*):([a-z0-9.-]+)\[([0-9]{1,6})\]@([0-9]{1,18})/(\S*)")


@dataclass(frozen=True)
class TopicCursor:
    """next: the next offset to read, by partition; 0 for one that is not in it."""

    incarnation: str
    next: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cursor:
    """topics: by (broker, full name of the topic)."""

    topics: Mapping[tuple[str, str], TopicCursor] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | None) -> Cursor:
        """An empty cursor for None, and for a text that is no cursor: reading again from the start loses
        nothing.
        """
        try:
            brokers = json.loads(text or "{}")["brokers"]
            return cls(
                {
                    (broker, topic): TopicCursor(
                        str(entry["incarnation"]),
                        {int(number): int(next_) for number, next_ in entry["next"].items()},
                    )
                    for broker, topics in brokers.items()
                    for topic, entry in topics.items()
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def to_json(self) -> str:
        brokers: dict[str, dict[str, object]] = {}
        for (broker, topic), entry in sorted(self.topics.items()):
            brokers.setdefault(broker, {})[topic] = {
                "incarnation": entry.incarnation,
                "next": {str(number): next_ for number, next_ in sorted(entry.next.items())},
            }
        return json.dumps({"v": 1, "brokers": brokers}, separators=(",", ":"))

    def start(
        self, broker: str, topic: str, incarnation: str, ends: Mapping[int, int]
    ) -> tuple[dict[int, int], Anomaly | None]:
        """Where to read on, by partition, and what is wrong with this topic, if anything.

        ends: the offset that the next message will get, by partition.
        """
        known = self.topics.get((broker, topic))
        if known is None:
            return dict.fromkeys(ends, 0), None
        if known.incarnation != incarnation:
            return dict.fromkeys(ends, 0), "recreated"
        anomaly: Anomaly | None = None
        positions = {}
        for partition, end in ends.items():
            next_offset = known.next.get(partition, 0)
            if next_offset > end:
                next_offset, anomaly = 0, "regressed"
            positions[partition] = next_offset
        return positions, anomaly

    def moved(self, broker: str, topic: str, incarnation: str, starts: Mapping[int, int]) -> Cursor:
        """The cursor that reads this topic from there, whatever it knew of it: what `start` said after an anomaly.

        To be kept even where nothing is heard yet: once as many messages have come as there were before, nobody
        could tell any more that they are others.
        """
        return Cursor({**self.topics, (broker, topic): TopicCursor(incarnation, dict(starts))})

    def has_passed(self, place: Place) -> bool:
        """Whether this message was dealt with."""
        known = self.topics.get((place.broker, place.topic))
        return (
            known is not None
            and known.incarnation == place.incarnation
            and place.offset < known.next.get(place.partition, 0)
        )

    def after(self, places: Iterable[Place]) -> Cursor:
        """The cursor once these are dealt with. A recreated topic's old places go; a regressed one's move
        back.
        """
        ends: dict[tuple[str, str], tuple[str, dict[int, int]]] = {}
        for place in places:
            key = (place.broker, place.topic)
            incarnation, next_offsets = ends.get(key, (place.incarnation, {}))
            if incarnation != place.incarnation:
                next_offsets = {}
            next_offsets[place.partition] = max(next_offsets.get(place.partition, 0), place.offset + 1)
            ends[key] = (place.incarnation, next_offsets)
        topics = dict(self.topics)
        for key, (incarnation, next_offsets) in ends.items():
            known = topics.get(key)
            kept = dict(known.next) if known is not None and known.incarnation == incarnation else {}
            topics[key] = TopicCursor(incarnation, {**kept, **next_offsets})
        return Cursor(topics)
