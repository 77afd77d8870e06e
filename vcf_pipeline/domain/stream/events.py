"""The kinds of control message, each in its topic, and what was heard there.

Not here: the frame (envelope.py); what an announcement says (announcement.py), or another event (stage_events.py);
which runs follow (run_plan.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgpack

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Place
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.records_ended import RECORDS_ENDED, RecordsEnded
from vcf_pipeline.domain.stream.stage_events import (
    AnalysisDone,
    AnalysisRequested,
    CacheInvalidated,
    Notification,
    StageEvent,
    WriteRequested,
)
from vcf_pipeline.domain.stream.topics import (
    ANALYSIS_REQUESTS,
    ANALYSIS_RESULTS,
    CACHE_EVENTS,
    CALLSETS,
    DATABASE_WRITES,
    USER_NOTIFICATIONS,
    Topic,
)

CALLSET_ANNOUNCED = "callset/announced"


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


Event = TypeVar("Event", bound=Announcement | StageEvent)
StageEventKind = TypeVar("StageEventKind", bound=StageEvent)

STAGE_EVENTS: dict[str, type[StageEvent]] = {
    ANALYSIS_REQUESTS.name: AnalysisRequested,
    ANALYSIS_RESULTS.name: AnalysisDone,
    DATABASE_WRITES.name: WriteRequested,
    CACHE_EVENTS.name: CacheInvalidated,
    USER_NOTIFICATIONS.name: Notification,
}
"""The event that each control topic carries, beside the announcements of `vcf-callsets` and the dead letters."""

KINDS: dict[str, str] = {
    CALLSET_ANNOUNCED: CALLSETS.name,
    RECORDS_ENDED: CALLSETS.name,
    **{event.KIND: topic for topic, event in STAGE_EVENTS.items()},
}
"""Every kind of control message, and the topic it stands in."""


def topic_of(event: StageEvent) -> Topic:
    return Topic(KINDS[event.KIND])


@dataclass(frozen=True)
class Heard(Generic[Event]):
    """One message of a control topic, decoded: its event, or the reason why it is none.

    ended: of `vcf-callsets`, where another program says that its variants are all sent, which is no event yet.
    """

    place: Place
    event: Event | None
    reason: str = ""
    body: bytes = b""
    ended: RecordsEnded | None = None


def place_of(message: Placed) -> Place:
    return Place(message.broker, message.topic.full_name, message.incarnation, message.partition, message.offset)


def heard(messages: Iterable[Placed]) -> list[Heard[Announcement]]:
    """Every message of `vcf-callsets`, in order; one that cannot be read keeps its place, its body and the reason."""
    return _heard(messages)


def before(messages: Sequence[Heard[Event]], left: Iterable[Place]) -> list[Heard[Event]]:
    """Those in front of what is left for later, one place of a partition; all of every other partition."""
    first = {(place.broker, place.topic, place.partition): place.offset for place in left}
    placed = [((one.place.broker, one.place.topic, one.place.partition), one) for one in messages]
    return [one for where, one in placed if where not in first or one.place.offset < first[where]]


def heard_events(kind: type[StageEventKind], messages: Iterable[Placed]) -> list[Heard[StageEventKind]]:
    """The same of a topic of stage events. What stands in a topic but is not of its kind cannot be read there."""
    answer: list[Heard[StageEventKind]] = _heard(messages)
    for one in answer:
        assert one.event is None or isinstance(one.event, kind)  # noqa: S101 - asked for on its own topic
    return answer


def _heard(messages: Iterable[Placed]) -> list[Any]:
    answer: list[Heard[Any]] = []
    for message in messages:
        place = place_of(message)
        try:
            event = read_event(message.topic, message.body)
            if isinstance(event, RecordsEnded):
                answer.append(Heard(place, None, body=message.body, ended=event))
            else:
                answer.append(Heard(place, event))
        except UnreadableMessage as problem:
            answer.append(Heard(place, None, problem.message, message.body))
    return answer


def read_event(topic: Topic, body: bytes) -> Any:
    """The event that a message of a control topic carries. Raises UnreadableMessage."""
    envelope = frame.decode(body)
    if topic == CALLSETS and envelope.kind == RECORDS_ENDED:
        return RecordsEnded.from_envelope(envelope)
    if topic == CALLSETS:
        return CallsetAnnounced.from_envelope(envelope).announcement
    kind = STAGE_EVENTS.get(topic.name)
    if kind is None:
        raise UnreadableMessage(where=topic.full_name, expected="a topic of events", got=repr(envelope.kind[:80]))
    return kind.from_envelope(envelope)


def why_unreadable(topic: Topic, body: bytes) -> str:
    """Why this message says nothing in this topic, "" where it can be read. Of data, the frame alone is asked."""
    try:
        if topic.rule.is_per_tenant:
            frame.decode(body)
        else:
            read_event(topic, body)
    except UnreadableMessage as problem:
        return problem.message
    return ""
