"""Single variants that were sent → their callset's announcement; a foreign producer's are read back for it first.

Not here: sending them (publish_variants.py); what a body says (domain/stream/variant_messages.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.port import Message
from vcf_pipeline.domain.errors import MissingChunks, OffsetLost, StreamBroken, TooManyRejects, UnreadableMessage
from vcf_pipeline.domain.identity import PartitionKey, announcement_id, callset_id
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement, Segment, add_segment, is_repeat, missing_seqs
from vcf_pipeline.domain.stream.chunks import records_header
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import place_of
from vcf_pipeline.domain.stream.records_ended import RecordsEnded
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline.domain.stream.variant_messages import MAX_CALLSET_ROWS, RECORDS, RecordParser, read_lines
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

PRODUCER = "vcf-pipeline"
_MAX_AHEAD_BYTES = 32 << 20
_PARSED_LINES, _PARSED_CHARS = 10_000, 4 << 20


class Counts:
    """What went by, and the digest of it."""

    def __init__(self) -> None:
        self.records = self.alleles = self.rejected = 0
        self.digest = TableDigest()

    def add(self, batch: ParsedBatch) -> None:
        self.records += batch.n_records
        self.alleles += batch.variants.height
        self.rejected += batch.rejects.height
        for table in ("variants", "consequences", "rejects"):
            self.digest.add(table, getattr(batch, table))

    def check_rejects(self, where: str, settings: ReaderSettings) -> None:
        if self.rejected > self.records * settings.max_reject_share:
            raise TooManyRejects(
                where=where,
                expected=f"at most {settings.max_reject_share:.1%} of the records set aside",
                got=f"{self.rejected:,} of {self.records:,}",
                repair="Mend the variants and send them again as a new session.",
                rejected=self.rejected,
                records=self.records,
                by_code={},
            )


def announce_ended(
    ended: RecordsEnded,
    coordinator: Coordinator,
    broker: str,
    created_at: str,
    *,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Announcement:
    """Read a foreign producer's messages back, and announce them as a callset. Repeated, it announces the same.

    broker: where the end was heard. seconds: how long this may take, by `clock`. Raises MissingChunks,
    UnreadableMessage, StreamBroken (also when the time is over), TooManyRejects, TopicMissing (nothing is announced,
    and no repeat cures it), BrokerUnavailable, BrokerTimeout.
    """
    deadline = clock() + seconds
    topic = variants_topic(ended.tenant)
    incarnation, ends = coordinator.extent(broker, topic)
    last = ends.get(ended.partition, 0) - 1
    if last < ended.first_offset:
        raise _missing(ended, list(range(ended.n_chunks)))
    whole = Segment(broker, topic.full_name, incarnation, ended.partition, ended.publish_id, ended.first_offset, last)
    segments: list[Segment] = []
    parser = RecordParser(ReaderSettings(assembly=ended.assembly))
    counts = Counts()
    messages = _in_time(_kept(coordinator, whole), ended, lambda: clock() >= deadline, seconds)
    for lines in _gathered(read_lines(_records(one)) for one in _in_order(ended, messages, segments)):
        counts.add(parser.parse(lines))
        if counts.alleles > MAX_CALLSET_ROWS:
            raise StreamBroken(
                where=f"publication {ended.publish_id}",
                expected=f"at most {MAX_CALLSET_ROWS:,} allele rows of single variants",
                got="more",
                repair="End a publication before that and begin another, or publish a file.",
            )
    counts.check_rejects(f"publication {ended.publish_id}", parser.settings)
    announced = records_announcement(
        tenant=ended.tenant,
        publish_id=ended.publish_id,
        correlation_id=ended.correlation_id,
        label=ended.label or "variants",
        parser=parser,
        segments=segments,
        n_chunks=ended.n_chunks,
        counts=counts,
        created_at=created_at,
    )
    coordinator.announce(announced, ts=milliseconds(created_at), producer=PRODUCER)
    return announced


def _records(envelope: Envelope) -> Envelope:
    if envelope.kind != RECORDS:
        raise UnreadableMessage(
            where=f"publication {envelope.publish_id}",
            expected=f"messages of kind {RECORDS}",
            got=repr(envelope.kind[:80]),
        )
    return envelope


def _gathered(chunks: Iterable[list[str]]) -> Iterator[list[str]]:
    """Lines in stretches that are worth parsing: a small message costs what a few hundred variants cost, and neither
    counts nor digest see the cuts.
    """
    lines: list[str] = []
    size = 0
    for chunk in chunks:
        lines += chunk
        size += sum(map(len, chunk))
        if len(lines) >= _PARSED_LINES or size >= _PARSED_CHARS:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _in_time(
    messages: Iterable[Message], ended: RecordsEnded, is_over: Callable[[], bool], seconds: float
) -> Iterator[Message]:
    for number, message in enumerate(messages):
        if is_over():
            raise StreamBroken(
                where=f"publication {ended.publish_id}",
                expected=f"messages that are read within {seconds:.0f} s",
                got=f"{number:,} read in that time, in partition {ended.partition} from offset {ended.first_offset}",
                repair="Name the first_offset; or end a publication earlier, and begin another.",
                code="PUBLICATION_TOO_LARGE",
            )
        yield message


def _in_order(ended: RecordsEnded, messages: Iterable[Message], segments: list[Segment]) -> Iterator[Envelope]:
    """The publication's messages, each number once, ascending; `segments` are filled with where they lie."""
    hashes: dict[int, bytes] = {}
    ahead: dict[int, Envelope] = {}
    turn = 0
    for message in messages:
        try:
            envelope = frame.decode(message.body)
        except UnreadableMessage:
            continue  # somebody else's, or one of these, and then its number is missing
        if (envelope.publish_id, envelope.tenant) != (ended.publish_id, ended.tenant):
            continue
        if envelope.seq >= ended.n_chunks:
            raise StreamBroken(
                where=f"publication {ended.publish_id}",
                expected=f"chunks 0 to {ended.n_chunks - 1}",
                got=f"chunk {envelope.seq}",
            )
        place = place_of(message)
        here = Segment(
            place.broker,
            place.topic,
            place.incarnation,
            place.partition,
            ended.publish_id,
            place.offset,
            place.offset,
        )
        if is_repeat(hashes, envelope.seq, envelope.body_hash):
            continue
        add_segment(segments, here)
        hashes[envelope.seq] = envelope.body_hash
        ahead[envelope.seq] = envelope
        while turn in ahead:
            yield ahead.pop(turn)
            turn += 1
        if turn == ended.n_chunks:
            return
        if sum(len(one.body) for one in ahead.values()) > _MAX_AHEAD_BYTES:
            break
    raise _missing(ended, missing_seqs(hashes, ended.n_chunks))


def _kept(coordinator: Coordinator, whole: Segment) -> Iterator[Message]:
    """What is there of a stretch. Its front may have gone with the topic's retention, also while this reads: only the
    publication's own numbers say whether anything is missing.
    """
    first = whole.first_offset
    while first <= whole.last_offset:
        try:
            for message in coordinator.read_segment(replace(whole, first_offset=first)):
                yield message
                first = message.offset + 1
            return
        except OffsetLost as lost:
            first = max(lost.first_available, first + 1)


def _missing(ended: RecordsEnded, seqs: list[int]) -> MissingChunks:
    shown = ", ".join(map(str, seqs[:10])) + (", …" if len(seqs) > 10 else "")
    return MissingChunks(
        where=f"publication {ended.publish_id}",
        expected=f"{ended.n_chunks} messages in partition {ended.partition} from offset {ended.first_offset}",
        got=f"{len(seqs)} missing: {shown}",
        repair="Send what is missing with its number, then the end again.",
        seqs=seqs,
    )


def records_announcement(
    *,
    tenant: str,
    publish_id: str,
    correlation_id: str,
    label: str,
    parser: RecordParser,
    segments: list[Segment],
    n_chunks: int,
    counts: Counts,
    created_at: str,
) -> Announcement:
    """Of everything that `parser` and `counts` have seen."""
    settings = parser.settings
    key = PartitionKey(tenant, callset_id(parser.sha256, settings.assembly))
    return Announcement(
        id=announcement_id(tenant, key.callset_id, publish_id),
        tenant=tenant,
        callset_id=key.callset_id,
        publish_id=publish_id,
        correlation_id=correlation_id,
        label=label,
        uri="",
        sha256=parser.sha256,
        size_bytes=parser.size_bytes,
        reader_settings=settings.as_record(),
        settings_fingerprint=settings.fingerprint(),
        segments=tuple(segments),
        n_chunks=n_chunks,
        records=counts.records,
        alleles=counts.alleles,
        rejected=counts.rejected,
        digest=counts.digest.value(),
        assembly=records_header(parser).assembly.name,
        vcf_version=parser.header.version,
        created_at=created_at,
    )


def milliseconds(moment: str) -> int:
    """moment: ISO 8601. Since 1970, UTC."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000)
