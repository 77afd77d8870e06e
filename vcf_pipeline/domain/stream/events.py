"""Bodies of control messages, one dataclass per kind, and what was heard on a control topic.

Not here: the frame (envelope.py); what an announcement says (announcement.py); which runs follow
(run_plan.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import msgpack

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Place
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.topics import Topic

CALLSET_ANNOUNCED = "callset/announced"
ANALYSIS_REQUESTED = "analysis/requested"
ANALYSIS_DONE = "analysis/done"
WRITE_REQUESTED = "write/requested"
CACHE_INVALIDATED = "cache/invalidated"
NOTIFICATION = "notification"
KINDS: dict[str, str] = {
    CALLSET_ANNOUNCED: "vcf-callsets",
    ANALYSIS_REQUESTED: "ai-analysis-requests",
    ANALYSIS_DONE: "ai-analysis-results",
    WRITE_REQUESTED: "database-writes",
    CACHE_INVALIDATED: "cache-events",
    NOTIFICATION: "user-notifications",
}
"""Every kind of control message, and the topic it stands in."""


@dataclass(frozen=True)
class CallsetAnnounced:
    """A callset is complete in the stream. No generation: control assigns it, a sender cannot know of a
    forget.
    """

    announcement: Announcement

    def to_envelope(self, *, ts: int, producer: str) -> Envelope:
        announced = self.announcement
        return Envelope(
            id=announced.id,
            kind=CALLSET_ANNOUNCED,
            tenant=announced.tenant,
            publish_id=announced.publish_id,
            correlation_id=announced.correlation_id,
            ts=ts,
            producer=producer,
            callset_id=announced.callset_id,
            body=msgpack.packb(announced.to_dict(), use_bin_type=True),
        )

    @classmethod
    def from_envelope(cls, envelope: Envelope) -> CallsetAnnounced:
        """Raises UnreadableMessage, also where frame and body disagree on the tenant."""
        if envelope.kind != CALLSET_ANNOUNCED:
            raise UnreadableMessage(where="event", expected=CALLSET_ANNOUNCED, got=repr(envelope.kind[:80]))
        announced = Announcement.from_dict(frame.unpack_map(envelope.body, frame.MAX_MESSAGE_BYTES))
        if (announced.tenant, announced.id) != (envelope.tenant, envelope.id):
            raise UnreadableMessage(
                where="event",
                expected="the tenant and id of its envelope",
                got=f"{announced.key} {announced.id}",
            )
        return cls(announced)


class Placed(Protocol):
    """What a broker's message has."""

    @property
    def broker(self) -> str: ...
    @property
    def topic(self) -> Topic: ...
    @property
    def incarnation(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True)
class Heard:
    """One message of `vcf-callsets`, decoded: an announcement, or the reason why it is none."""

    place: Place
    announcement: Announcement | None
    reason: str = ""
    body: bytes = b""


def place_of(message: Placed) -> Place:
    return Place(message.broker, message.topic.full_name, message.incarnation, message.partition, message.offset)


def heard(messages: Iterable[Placed]) -> list[Heard]:
    """Every message decoded, in order; one that cannot be read keeps its place, its body and the reason."""
    answer = []
    for message in messages:
        place = place_of(message)
        try:
            event = CallsetAnnounced.from_envelope(frame.decode(message.body))
        except UnreadableMessage as problem:
            answer.append(Heard(place, None, problem.message, message.body))
        else:
            answer.append(Heard(place, event.announcement))
    return answer
