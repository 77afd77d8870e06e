"""Dead letters: hear those of every broker into the ledger's index, read one, send one back, lay one aside.

Not here: what a letter says and whether it can go back (domain/stream/dead_letters.py); who writes letters
(the sensors, receive.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.port import Broker, Message
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.domain.errors import OffsetLost, PipelineError, StreamBroken, TopicMissing, UsageError
from vcf_pipeline.domain.stream.announcement import Announcement, Segment
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.dead_letters import (
    LetterRecord,
    Wanted,
    chosen,
    letter_id,
    read_letter,
    why_not_replayed,
)
from vcf_pipeline.domain.stream.events import why_unreadable
from vcf_pipeline.domain.stream.topics import DEAD_LETTERS, Topic

log = logging.getLogger(__name__)
READ_BYTES = 8 << 20


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be, with one letter. refused: why nothing was, "" where it was.

    still_unreadable: why the message would come straight back. segment: where it lies now.
    """

    record: LetterRecord
    refused: str = ""
    still_unreadable: str = ""
    segment: Segment | None = None
    problem: PipelineError | None = None


def hear_letters(coordinator: Coordinator, ledger: Ledger) -> list[PipelineError]:
    """Bring the index up to what lies in the topics now; what kept a broker from being asked, for each of those."""
    problems = []
    for broker in coordinator.brokers:
        try:
            for messages in _new_letters(broker, ledger):
                ledger.record_letters([read_letter(message) for message in messages[1]], messages[0])
        except TopicMissing:
            continue  # no letter was ever written there
        except PipelineError as problem:
            problems.append(problem)
    return problems


def _new_letters(broker: Broker, ledger: Ledger) -> Iterator[tuple[Cursor, list[Message]]]:
    """Stretches after the index's cursor, with the cursor that each was read from."""
    incarnation = broker.incarnation(DEAD_LETTERS)
    ends = broker.end_offsets(DEAD_LETTERS)
    before = ledger.dead_letter_cursor()
    starts, anomaly = before.start(broker.name, DEAD_LETTERS.full_name, incarnation, ends)
    if anomaly is not None:
        moved = before.moved(broker.name, DEAD_LETTERS.full_name, incarnation, starts)
        ledger.move_dead_letter_cursor(before, moved)
    for partition, end in ends.items():
        first = starts.get(partition, 0)
        while first < end:
            cursor = ledger.dead_letter_cursor()
            try:
                messages = broker.read(DEAD_LETTERS, partition, first, end - 1, READ_BYTES)
            except OffsetLost as lost:
                first = max(lost.first_available, first + 1)  # retention took what nobody had listed
                continue
            if not messages:
                break
            yield cursor, messages
            first = messages[-1].offset + 1


def find_letters(ledger: Ledger, wanted: Wanted) -> list[LetterRecord]:
    """Raises UsageError for an id that no letter has, or that several begin with."""
    records = ledger.dead_letters()
    for start in wanted.ids:
        same = [record.id for record in records if record.id.startswith(start)]
        if len(same) != 1 and start not in same:
            raise UsageError(
                where=f"dead letter {start[:40]!r}",
                expected="the id of one letter, or its beginning",
                got="none with it" if not same else f"{len(same)}: {', '.join(same[:5])}",
                repair="`vcf-pipeline dlq list --state all` shows the ones there are.",
                code="UNKNOWN_LETTER" if not same else "AMBIGUOUS_LETTER",
            )
    return chosen(records, wanted)


def message_of(coordinator: Coordinator, record: LetterRecord) -> bytes:
    """The original message, byte for byte: out of the letter, or from its origin where it was too large to copy.

    Raises StreamBroken where it is gone, BrokerUnavailable where that broker does not answer or is not configured.
    """
    origin = Place.parse(record.origin)
    place = origin if record.is_cut and origin is not None else record.place
    for message in _messages_at(coordinator, place):
        body = message.body if place == origin else read_letter(message).body
        if letter_id(record.origin_topic, body) == record.id:
            return body
    raise StreamBroken(
        where=f"dead letter {record.id}",
        expected=f"its message at {place}",
        got="nothing, or another message",
        repair="The topic has dropped it; the sender has to send it again.",
        code="LETTER_IS_GONE",
    )


def _messages_at(coordinator: Coordinator, place: Place) -> Iterator[Message]:
    segment = Segment(place.broker, place.topic, place.incarnation, place.partition, "", place.offset, place.offset)
    return coordinator.read_segment(segment)


def bury_announcement(
    coordinator: Coordinator, announced: Announcement, heard_at: str | None, problem: PipelineError
) -> bool:
    """A dead letter of an announcement whose callset can be read from nowhere; whether one was written.

    heard_at: str(Place) of its message. Sent back after a fix, it asks for a run again. Never raises: the problem
    itself is what has to be told.
    """
    place = Place.parse(heard_at or "")
    if place is None:
        return False
    try:
        for message in _messages_at(coordinator, place):
            coordinator.dead_letter(
                message.body,
                origin=str(place),
                reason=str(problem),
                code=problem.code,
                tenant=announced.tenant,
                callset_id=announced.callset_id,
            )
            return True
    except PipelineError as unable:
        log.warning("no dead letter of announcement %s: %s", announced.id, unable)
    return False


def replay(
    coordinator: Coordinator, ledger: Ledger, records: Sequence[LetterRecord], *, dry_run: bool
) -> Iterator[Outcome]:
    """Send each one's message back to the broker, topic and partition it came from, as it was: same bytes, same id.

    Whoever hears it a second time drops it by that id, so that replaying twice is harmless. One failure, as where that
    broker is down or not configured, does not stop the rest.
    """
    for record in records:
        refused = why_not_replayed(record)
        if refused:
            yield Outcome(record, refused)
            continue
        try:
            yield _replayed(coordinator, ledger, record, dry_run=dry_run)
        except PipelineError as problem:
            yield Outcome(record, str(problem), problem=problem)


def _replayed(coordinator: Coordinator, ledger: Ledger, record: LetterRecord, *, dry_run: bool) -> Outcome:
    origin = Place.parse(record.origin)
    assert origin is not None  # noqa: S101 - why_not_replayed asked
    topic = Topic.parse(origin.topic)
    coordinator.check_known(origin.broker)
    body = message_of(coordinator, record)
    doubt = why_unreadable(topic, body)
    if dry_run:
        return Outcome(record, still_unreadable=doubt)
    segment = coordinator.send_again(origin.broker, topic, origin.partition, body)
    ledger.mark_letter(record.id, "replayed")
    return Outcome(record, still_unreadable=doubt, segment=segment)


def discard(ledger: Ledger, records: Sequence[LetterRecord], *, dry_run: bool) -> Iterator[Outcome]:
    """Lay each aside for good: it is listed no more, and does not open again when its message fails again."""
    for record in records:
        if not dry_run:
            ledger.mark_letter(record.id, "discarded")
        yield Outcome(record)
