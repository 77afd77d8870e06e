"""An announcement → the callset's ParsedBatches, read back from its segments.

Drops other publications' messages and repeated numbers; fails with the missing ones. Memory stays at one
batch and a few messages. Not here: the tables' digest, which parse compares; reading the callset's own file
(adapters/vcf_files).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.port import Message
from vcf_pipeline.domain.errors import MissingChunks, PipelineError, StreamBroken, UnreadableMessage
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement, is_repeat, missing_seqs
from vcf_pipeline.domain.stream.chunks import HEADER, BatchAssembler, Sent
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import place_of
from vcf_pipeline.domain.stream.variant_messages import RECORDS
from vcf_pipeline.domain.vcf.assembly import Assembly
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.read_ahead import read_ahead

log = logging.getLogger(__name__)
MAX_AHEAD_BYTES = 32 << 20
"""Messages that came before their turn and are kept until it comes."""
REPAIR = "Publish the file again; it gets a new publication."


class ReceivedSource:
    """Implements BatchSource. `announcement.digest` is what the tables must add up to."""

    engine = "stream"

    def __init__(self, announcement: Announcement, coordinator: Coordinator) -> None:
        self.announcement = announcement
        self._coordinator = coordinator
        self._hashes: dict[int, bytes] = {}
        self._envelopes = self._in_order()
        self._assembler = BatchAssembler(_settings(announcement))
        self._early: ParsedBatch | None = None
        self._sent = self._read_header()

    @property
    def header(self) -> Header:
        return self._sent.header

    @property
    def assembly(self) -> Assembly:
        return self._sent.assembly

    @property
    def settings(self) -> ReaderSettings:
        return self._sent.settings

    @property
    def source(self) -> dict[str, Any]:
        announced = self.announcement
        return {
            "uri": announced.uri,
            "sha256": announced.sha256,
            "size_bytes": announced.size_bytes,
            "publish_id": announced.publish_id,
            "read_by": self._sent.engine,
            "segments": [segment.to_dict() for segment in announced.segments],
        }

    def progress(self) -> tuple[int, int]:
        """(chunks read, of how many)."""
        return len(self._hashes), self.announcement.n_chunks

    def batches(self) -> Iterator[ParsedBatch]:
        """In record order, once. Raises MissingChunks, StreamBroken, UnreadableMessage, a TransientError."""
        announced = self.announcement
        records = alleles = rejected = 0
        for batch in self._read():
            records += batch.n_records
            alleles += batch.variants.height
            rejected += batch.rejects.height
            yield batch
        missing = missing_seqs(self._hashes, announced.n_chunks)
        if missing:
            raise _missing(announced, missing)
        if not self._assembler.is_between_batches:
            raise StreamBroken(where=self._where, expected="the end of the last batch", got="none", repair=REPAIR)
        counted = {"records": records, "alleles": alleles, "rejected": rejected}
        promised = {name: getattr(announced, name) for name in counted}
        if counted != promised:
            raise StreamBroken(
                where=self._where, expected=str(promised), got=str(counted), repair=REPAIR, code="COUNTS_DIFFER"
            )

    def _read(self) -> Iterator[ParsedBatch]:
        """The batch that the header came with, which is one of single variants, then the others."""
        early, self._early = self._early, None
        if early is not None:
            yield early
        for envelope in read_ahead(self._envelopes, "receive"):
            batch = self._assembler.add(envelope)
            if batch is not None:
                yield batch

    @property
    def _where(self) -> str:
        return f"publication {self.announcement.publish_id}"

    def _read_header(self) -> Sent:
        for envelope in self._envelopes:
            if envelope.kind not in (HEADER, RECORDS):
                break
            self._early = self._assembler.add(envelope)
            if self._assembler.sent is not None:
                return self._assembler.sent
        missing = missing_seqs(self._hashes, self.announcement.n_chunks)
        if missing:
            raise _missing(self.announcement, missing)
        raise UnreadableMessage(where=self._where, expected="the header first", got="another chunk", repair=REPAIR)

    def _in_order(self) -> Iterator[Envelope]:
        """Each number once, ascending. Those that came early wait, within bounds."""
        ahead: dict[int, Envelope] = {}
        ahead_bytes = 0
        turn = 0
        for envelope in self._of_publication():
            if is_repeat(self._hashes, envelope.seq, envelope.body_hash):
                continue
            self._hashes[envelope.seq] = envelope.body_hash
            ahead[envelope.seq] = envelope
            ahead_bytes += len(envelope.body)
            while turn in ahead:
                due = ahead.pop(turn)
                ahead_bytes -= len(due.body)
                turn += 1
                yield due
            if ahead_bytes > MAX_AHEAD_BYTES:
                raise _missing(self.announcement, missing_seqs(self._hashes, min(ahead)))

    def _of_publication(self) -> Iterator[Envelope]:
        announced = self.announcement
        for segment in announced.segments:
            for message in self._coordinator.read_segment(segment):
                try:
                    envelope = frame.decode(message.body)
                except UnreadableMessage as problem:
                    self._bury(message, problem)  # somebody else's, or ours and then its number is missing
                    continue
                if envelope.publish_id != announced.publish_id or envelope.tenant != announced.tenant:
                    continue
                if envelope.seq >= announced.n_chunks:
                    raise StreamBroken(
                        where=self._where,
                        expected=f"chunks 0 to {announced.n_chunks - 1}",
                        got=f"chunk {envelope.seq}",
                        repair=REPAIR,
                    )
                yield envelope

    def _bury(self, message: Message, problem: UnreadableMessage) -> None:
        """A dead letter of what lies in the tenant's topic and cannot be read; without one the reading goes on."""
        try:
            self._coordinator.dead_letter(
                message.body,
                origin=str(place_of(message)),
                reason=problem.message,
                code=problem.code,
                tenant=self.announcement.tenant,
            )
        except PipelineError as unable:
            log.warning("no dead letter of %s: %s", place_of(message), unable)


def _settings(announced: Announcement) -> ReaderSettings:
    try:
        return ReaderSettings.from_record(announced.reader_settings)
    except (TypeError, ValueError) as problem:
        raise UnreadableMessage(
            where=f"publication {announced.publish_id}", expected="reader settings", got=str(problem)[:120]
        ) from None


def _missing(announced: Announcement, seqs: list[int]) -> MissingChunks:
    shown = ", ".join(map(str, seqs[:10])) + (", …" if len(seqs) > 10 else "")
    return MissingChunks(
        where=f"publication {announced.publish_id}",
        expected=f"{announced.n_chunks} chunks",
        got=f"{len(seqs)} missing: {shown}",
        repair=REPAIR,
        seqs=seqs,
    )


@contextmanager
def open_received(announcement: Announcement, coordinator: Coordinator) -> Iterator[ReceivedSource]:
    """Reads up to the header. Raises MissingChunks, OffsetLost, TopicRecreated, BrokerUnavailable, …"""
    yield ReceivedSource(announcement, coordinator)
