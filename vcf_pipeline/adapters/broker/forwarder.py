"""The spool → brokers, in the order in which publications came; the announcement after its last chunk is acknowledged.

Not here: how the spool keeps them (spool.py); which broker is chosen (coordinator.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from vcf_pipeline.adapters.broker.sending import UNFIT
from vcf_pipeline.adapters.broker.spool import SPOOL, Spool, Spooled
from vcf_pipeline.domain.errors import PermanentError, StreamBroken, TransientError
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement, Segment, add_segment
from vcf_pipeline.domain.stream.events import CallsetAnnounced
from vcf_pipeline.domain.stream.topics import CALLSETS, Topic, partition_for

STRETCH_BYTES = 4 << 20


class Sending(Protocol):
    """What the coordinator does for it: on a broker now, or an error; never back into the spool."""

    def send_now(
        self, topic: Topic, partition: int, bodies: Sequence[bytes], publish_id: str, earlier: Sequence[Segment]
    ) -> Segment:
        """Raises TransientError where no broker takes it, StreamBroken where `earlier` lie in a topic that is gone."""
        ...


@dataclass
class Drained:
    """One pass. forwarded: announced now. done: dropped, since control has them already. reason: why some are left."""

    forwarded: list[Announcement] = field(default_factory=list)
    done: list[Announcement] = field(default_factory=list)
    left: int = 0
    reason: str = ""


class Forwarder:
    def __init__(self, spool: Spool, sending: Sending) -> None:
        self._spool, self._sending = spool, sending

    def drain(
        self,
        is_done: Callable[[Announcement], bool],
        on_forwarded: Callable[[Announcement], None],
        is_over: Callable[[], bool] = lambda: False,
    ) -> Drained:
        """Every announced publication, until a broker fails. One that is broken is named and passed over.

        is_done: whether control has the callset's tables already, by batch. is_over: whether to leave the rest, in the
        middle of a publication too; asked after each stretch, so that every call gets on.
        """
        drained = Drained()
        with self._spool.one_forwarder() as is_mine:
            waiting = [one for one in self._spool.publications() if one.announcement is not None]
            drained.left = len(waiting)
            if not is_mine:
                drained.reason = "another process is sending them"
                return drained
            for one in waiting:
                try:
                    announced = announcement_of(one)
                    if is_done(announced):
                        self._spool.drop(one.publish_id)
                        drained.done.append(announced)
                    elif (whole := self._forward(one, announced, is_over)) is not None:
                        drained.forwarded.append(whole)
                        on_forwarded(whole)
                    else:
                        drained.reason = "they go on with the next pass"
                        return drained
                except (TransientError, *UNFIT) as problem:
                    drained.reason = problem.message
                    return drained
                except PermanentError as problem:
                    drained.reason = problem.message
                    continue
                drained.left -= 1
        return drained

    def forward(self, publish_id: str) -> Announcement | None:
        """One publication; None where another process is at it. Raises TransientError where no broker takes it."""
        with self._spool.one_forwarder() as is_mine:
            found = [one for one in self._spool.publications() if one.publish_id == publish_id]
            if not is_mine or not found or found[0].announcement is None:
                return None
            return self._forward(found[0], announcement_of(found[0]), lambda: False)

    def _forward(self, one: Spooled, announced: Announcement, is_over: Callable[[], bool]) -> Announcement | None:
        """None where the time was over before its last chunk was out."""
        try:
            are_sent = self._send_chunks(one, is_over)
        except StreamBroken:
            self._spool.forget_sent(one.publish_id)  # the topic was lost meanwhile; the chunks are still here
            are_sent = self._send_chunks(one, is_over)
        if not are_sent:
            return None
        whole = replace(announced, segments=resolved(announced, self._spool.sent(one.publish_id)))
        envelope = frame.decode(one.announcement or b"")
        event = CallsetAnnounced(whole).to_envelope(ts=envelope.ts, producer=envelope.producer)
        self._sending.send_now(CALLSETS, partition_for(CALLSETS, str(whole.key)), [frame.encode(event)], "", ())
        self._spool.drop(one.publish_id)
        return whole

    def _send_chunks(self, one: Spooled, is_over: Callable[[], bool]) -> bool:
        partition = partition_for(one.topic, one.publish_id)
        while stretch := self._spool.unsent(one.publish_id, STRETCH_BYTES):
            earlier = [segment for _, _, segment in self._spool.sent(one.publish_id)]
            bodies = [body for _, body in stretch]
            segment = self._sending.send_now(one.topic, partition, bodies, one.publish_id, earlier)
            self._spool.note_sent(one.publish_id, stretch[0][0], stretch[-1][0], segment)
            if is_over():
                return not self._spool.unsent(one.publish_id, 1)
        return True


def announcement_of(one: Spooled) -> Announcement:
    """Raises UnreadableMessage."""
    return CallsetAnnounced.from_envelope(frame.decode(one.announcement or b"")).announcement


def resolved(announced: Announcement, sent: Sequence[tuple[int, int, Segment]]) -> tuple[Segment, ...]:
    """Its segments, each that names the spool replaced by where its chunks are now, in the order of their numbers.

    Raises StreamBroken where the spool lost some of them.
    """
    segments: list[Segment] = []
    for segment in announced.segments:
        if segment.broker != SPOOL:
            add_segment(segments, segment)
            continue
        turn = segment.first_offset
        for first, last, place in sent:
            if first <= turn <= last:
                add_segment(segments, place)
                turn = last + 1
        if turn <= segment.last_offset:
            raise StreamBroken(
                where=f"publication {announced.publish_id}",
                expected=f"chunks {segment.first_offset} to {segment.last_offset} in the spool",
                got=f"none from {turn} on",
                repair="Publish the file again; it gets a new publication.",
            )
    return tuple(segments)
