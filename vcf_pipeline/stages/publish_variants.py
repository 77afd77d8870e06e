"""Single variants → callsets on a broker: buffered, sent in chunks, announced when a session is over.

Not here: what a variant says as a line (domain/stream/variant_messages.py); the announcement (announce_records.py);
whole files (publish.py); the asynchronous face of it (streaming.py of the package). A session that dies is never
announced: its chunks are left to retention.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.domain.identity import check_tenant
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.chunks import ChunkEncoder, records_header
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.variant_messages import (
    MAX_CALLSET_ROWS,
    RecordParser,
    VCFVariantMessage,
    to_line,
)
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.announce_records import (
    PRODUCER,
    Counts,
    milliseconds,
    records_announcement,
)


@dataclass(frozen=True)
class SessionLimits:
    """When a chunk is sent and when a callset is announced, whichever comes first."""

    chunk_variants: int = 1000
    chunk_seconds: float = 5.0
    callset_rows: int = MAX_CALLSET_ROWS
    callset_seconds: float = 900.0


@dataclass(frozen=True)
class VariantsReport:
    """One callset of single variants, announced. seconds: since its first variant."""

    partition: str
    label: str
    records: int
    alleles: int
    rejected: int
    chunks: int
    digest: str
    seconds: float
    publish_id: str
    correlation_id: str


class BatchProcessor:
    """One session's variants on their way. Every call by one caller at a time; `add` only is quick.

    label: what people are shown, else the first variant's source_file. assembly: of the positions, where known.
    now: ISO 8601, UTC. new_id: UUIDv7s. clock: monotonic seconds. Raises BadTenantName.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        tenant: str,
        now: Callable[[], str],
        new_id: Callable[[], str],
        label: str | None = None,
        assembly: str | None = None,
        limits: SessionLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tenant = check_tenant(tenant)
        self.limits = limits or SessionLimits()
        self.reports: list[VariantsReport] = []
        self.accepted = 0
        self._coordinator, self._now, self._new_id, self._clock = coordinator, now, new_id, clock
        self._label, self._settings = label, ReaderSettings(assembly=assembly)
        self._lines: list[str] = []
        self._buffered_since = 0.0
        self._open: _OpenCallset | None = None

    @property
    def waiting(self) -> int:
        """Variants that no chunk holds yet."""
        return len(self._lines)

    def add(self, variant: VCFVariantMessage) -> bool:
        """Whether a flush is due now. Raises BadVariant, and then nothing of it is kept."""
        line = to_line(variant)
        if not self._lines:
            self._buffered_since = self._clock()
        self._lines.append(line)
        self.accepted += 1
        if self._label is None and variant.source_file:
            self._label = str(variant.source_file).rsplit("/", 1)[-1][: frame.MAX_ID]
        return len(self._lines) >= self.limits.chunk_variants

    def seconds_until_due(self) -> float | None:
        """Until `flush` has something to do by the clock; None while nothing is open."""
        now, due = self._clock(), []
        if self._lines:
            due.append(self._buffered_since + self.limits.chunk_seconds - now)
        if self._open is not None:
            due.append(self._open.since + self.limits.callset_seconds - now)
        return max(0.0, min(due)) if due else None

    def flush(self) -> None:
        """Send what is buffered; announce the callset if it is full or old. Returns when the window has room.

        Raises what publishing raises (BrokerUnavailable, TopicFull, …); TooManyRejects.
        """
        lines, self._lines = self._lines, []
        if lines:
            if self._open is None:
                self._open = _OpenCallset(self)
            self._open.send(lines)
        one = self._open
        if one is not None and (
            one.alleles >= self.limits.callset_rows or self._clock() - one.since >= self.limits.callset_seconds
        ):
            self._announce(one)

    def close(self) -> list[VariantsReport]:
        """Send what is left and announce it; every callset of the session. Without a variant there is none."""
        self.flush()
        if self._open is not None:
            self._announce(self._open)
        return self.reports

    def abandon(self) -> None:
        """Give up what is not announced."""
        self._lines = []
        one, self._open = self._open, None
        if one is not None:
            one.give_up()

    def _announce(self, one: _OpenCallset) -> None:
        self._open = None
        self.reports.append(one.announce(self._label or "session"))


class _OpenCallset:
    """A callset between its first variant and its announcement."""

    def __init__(self, session: BatchProcessor) -> None:
        self.since = session._clock()
        self._session = session
        self._publish_id, self._correlation_id = session._new_id(), session._new_id()
        self._records = RecordParser(session._settings)
        self._counts = Counts()
        self._encoder = ChunkEncoder(session.tenant, self._publish_id, self._correlation_id, PRODUCER)
        self._stack = ExitStack()
        self._publisher = self._stack.enter_context(session._coordinator.publisher(session.tenant, self._publish_id))
        self._send(self._encoder.header(records_header(self._records), self._stamp()))

    @property
    def alleles(self) -> int:
        return self._counts.alleles

    def _stamp(self) -> int:
        return milliseconds(self._session._now())

    def send(self, lines: list[str]) -> None:
        batch = self._records.parse(lines)
        self._counts.add(batch)
        self._send(self._encoder.batch(batch, self._stamp()))

    def _send(self, envelopes: Iterator[Envelope]) -> None:
        for envelope in envelopes:
            self._publisher.send(envelope.seq, frame.encode(envelope))

    def announce(self, label: str) -> VariantsReport:
        try:
            self._counts.check_rejects(f"session {self._publish_id}", self._records.settings)
            self._publisher.flush()
        except BaseException:
            self.give_up()
            raise
        self._leave()
        session, parser = self._session, self._records
        announced = records_announcement(
            tenant=session.tenant,
            publish_id=self._publish_id,
            correlation_id=self._correlation_id,
            label=label,
            parser=parser,
            segments=list(self._publisher.segments),
            n_chunks=self._encoder.seq,
            counts=self._counts,
            created_at=session._now(),
        )
        session._coordinator.announce(announced, ts=milliseconds(announced.created_at), producer=PRODUCER)
        return VariantsReport(
            partition=str(announced.key),
            label=label,
            records=announced.records,
            alleles=announced.alleles,
            rejected=announced.rejected,
            chunks=announced.n_chunks,
            digest=announced.digest,
            seconds=session._clock() - self.since,
            publish_id=announced.publish_id,
            correlation_id=announced.correlation_id,
        )

    def give_up(self) -> None:
        """Ends the sending; what brokers hold of it is left to retention."""
        self._leave()
        self._session._coordinator.discard(self._publish_id)

    def _leave(self) -> None:
        """Ends the sending thread, flushed or not."""
        self._stack.__exit__(GeneratorExit, None, None)
