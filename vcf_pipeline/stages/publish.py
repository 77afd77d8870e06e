"""A file → chunks on a broker, then the announcement. A sender needs no ledger and no tables.

Not here: cutting and encoding (domain/stream/chunks.py); the window (adapters/broker/publisher.py); what a
stopped publication leaves for its resume (publish_state.py); who of several may announce (publish_claim.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.publisher import Publisher
from vcf_pipeline.adapters.broker.spool import SPOOL
from vcf_pipeline.adapters.objects import content_sha256
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import InputRefused, StreamBroken, TopicMissing, TopicRecreated, UsageError
from vcf_pipeline.domain.identity import PartitionKey, announcement_id, callset_id, check_tenant
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement, Segment, add_segment
from vcf_pipeline.domain.stream.chunks import ChunkEncoder, Sent
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.batch import BatchSource
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.publish_claim import Receipts, claimed, release
from vcf_pipeline.stages.publish_state import PublishState
from vcf_pipeline.stages.read_ahead import read_ahead

PRODUCER = "vcf-pipeline"
MOST_BEGINNINGS = 3
"""How often a publication begins anew because a topic with chunks of it was deleted meanwhile."""
Progress = Callable[[int, int, int], None]
"""(bytes read, of how many, records)."""


@dataclass(frozen=True)
class PublishReport:
    """segments: JSON-ready. bytes_sent: on the wire in this call. resumed_chunks: acknowledged by an earlier
    one.

    already_published: nothing was announced, since the callset was published before, as `published_as`. broker: where
    the last of it went. is_spooled: no broker was left, the sender's spool keeps chunks and announcement.
    """

    partition: str
    label: str
    records: int
    alleles: int
    rejected: int
    chunks: int
    segments: list[dict[str, Any]]
    digest: str
    seconds: float
    variants_per_s: float
    bytes_sent: int = 0
    resumed_chunks: int = 0
    publish_id: str = ""
    correlation_id: str = ""
    already_published: bool = False
    published_as: str = ""
    broker: str = ""
    is_spooled: bool = False


def publish_callset(
    path: str,
    *,
    tenant: str,
    label: str | None,
    settings: ReaderSettings,
    coordinator: Coordinator,
    state_dir: Path,
    receipts: Receipts | None = None,
    replace: bool = False,
    uri: str | None = None,
    progress: Progress | None = None,
    on_wait: Callable[[str], None] | None = None,
    now: Callable[[], str],
    new_id: Callable[[], str],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> PublishReport:
    """Publish one file and announce it when its last byte is read and acknowledged.

    label: the file's stem where None. state_dir: the sender's own folder, for the resume of a stopped
    publication. replace: publish again what was published with other settings. uri: by which control could read it
    without the stream, the path where None, "" where it does not stay. on_wait: told who is about to announce the
    same, while that is waited for. now: ISO 8601, UTC. new_id: UUIDv7s. clock: monotonic seconds. Raises InputRefused
    (nothing is announced), UsageError (published with other settings), BadTenantName, BrokerUnavailable,
    BrokerTimeout, TopicFull, StreamBroken, LeaseHeld (the other one does not announce). After anything but
    InputRefused a repeat goes on where this one stopped.
    """
    started = time.perf_counter()
    check_tenant(tenant)
    sha256, size_bytes = content_sha256(path)
    key = PartitionKey(tenant, callset_id(sha256, settings.assembly))
    shown = label or _stem(path)
    if receipts is not None:
        known = receipts.published(key)
        if known is not None and not _may_publish(known, settings, replace, path):
            return _published_before(known, shown, time.perf_counter() - started)
    if (spooled := _in_spool(coordinator, key, settings)) is not None:
        return _spooled_before(spooled, shown, time.perf_counter() - started)
    if uri is None:
        uri = path if "://" in path else str(Path(path).absolute())
    publication = _Publication(path, uri, key, sha256, settings, coordinator, now, progress)
    with PublishState.opened(state_dir, tenant, sha256, settings, PRODUCER + " " + _version()) as state:
        _send_whole(publication, state, new_id)
        announcement = publication.announcement(shown, size_bytes, state, now())
        if receipts is not None:
            claim = claimed(receipts, announcement, on_wait=on_wait, clock=clock, pause=pause)
            if claim.won and (spooled := _in_spool(coordinator, key, settings)) is not None:
                release(receipts, announcement)  # another of this home had it, and no broker to announce it on
                state.forget()
                coordinator.discard(announcement.publish_id)
                return _spooled_before(spooled, shown, time.perf_counter() - started)
            if not claim.won and not (replace and claim.has_other_settings):
                state.forget()
                coordinator.discard(announcement.publish_id)
                known = receipts.published(key) or announcement
                return _published_before(known, shown, time.perf_counter() - started, claim.published_as or "")
        made: Announcement | None = None
        try:
            made = coordinator.announce(announcement, ts=_milliseconds(announcement.created_at), producer=PRODUCER)
        finally:
            if receipts is not None and made is None:
                release(receipts, announcement)
        if receipts is not None and made is not None:
            receipts.record_announcement(made)
        state.forget()
    return publication.report(made or announcement, shown, time.perf_counter() - started, is_spooled=made is None)


def _send_whole(publication: _Publication, state: PublishState, new_id: Callable[[], str]) -> None:
    """Everything but the announcement; begun anew where what was acknowledged is of no use any more."""
    for beginning in range(MOST_BEGINNINGS):
        try:
            publication.send(state, new_id)
            return
        except InputRefused:
            publication.give_up(state)
            raise
        except (TopicRecreated, TopicMissing):
            publication.give_up(state)  # its first chunks are gone with their topic
            if beginning == MOST_BEGINNINGS - 1:
                raise
        except _ChangedError:
            publication.give_up(state)  # another version reads or encodes otherwise: brokers' copies are left to age


class _ChangedError(Exception):
    """A chunk that was acknowledged earlier comes out otherwise now."""


class _Publication:
    """One file on its way: counts, digest and what is acknowledged."""

    def __init__(
        self,
        path: str,
        uri: str,
        key: PartitionKey,
        sha256: str,
        settings: ReaderSettings,
        coordinator: Coordinator,
        now: Callable[[], str],
        progress: Progress | None,
    ) -> None:
        self.path, self.uri, self.key, self.sha256, self.settings = path, uri, key, sha256, settings
        self.coordinator, self.now, self.progress = coordinator, now, progress
        self._reset()

    def _reset(self) -> None:
        self.digest = TableDigest()
        self.records = self.alleles = self.rejected = self.chunks = self.resumed = self.bytes_sent = 0
        self.assembly: str | None = None
        self.vcf_version = ""
        self.segments: list[Segment] = []

    def give_up(self, state: PublishState) -> None:
        """The next attempt is another publication."""
        self.coordinator.discard(state.publish_id)
        state.forget()

    def send(self, state: PublishState, new_id: Callable[[], str]) -> None:
        """Everything but the announcement. Raises _ChangedError before anything new is sent."""
        self._reset()
        state.begin(new_id)
        encoder = ChunkEncoder(self.key.tenant, state.publish_id, state.correlation_id, PRODUCER)
        with (
            open_reader(self.path, self.settings, sha256=self.sha256) as reader,
            self.coordinator.publisher(
                self.key.tenant, state.publish_id, state.acknowledge, earlier=list(state.segments)
            ) as publisher,
        ):
            self.assembly, self.vcf_version = reader.assembly.name, reader.header.version
            sent = Sent(reader.header, self.settings, reader.engine, reader.assembly)
            for envelope in encoder.header(sent, _milliseconds(self.now())):
                self._send(envelope, state, publisher)
            self._send_batches(reader, encoder, state, publisher)
            publisher.flush()
            self.bytes_sent = publisher.bytes_sent
        self.chunks = encoder.seq
        if state.n_acknowledged > self.chunks:
            raise _ChangedError
        for segment in state.segments:
            add_segment(self.segments, segment)

    def _send_batches(
        self, reader: BatchSource, encoder: ChunkEncoder, state: PublishState, publisher: Publisher
    ) -> None:
        # A batch is added to the digest while it is encoded and the next is read: reading, encoding and hashing take
        # about as long as one another, and most of it outside the interpreter's lock.
        with ThreadPoolExecutor(1, thread_name_prefix="digest") as adding:
            for batch in read_ahead(reader.batches(), "read"):
                added = adding.submit(self._add, batch.own_frames())
                self.records += batch.n_records
                self.alleles += batch.variants.height
                self.rejected += batch.rejects.height
                stamp = _milliseconds(self.now())
                for envelope in encoder.batch(batch, stamp):
                    self._send(envelope, state, publisher)
                added.result()
                if self.progress is not None:
                    self.progress(*reader.progress(), self.records)

    def _add(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """To the digest."""
        for table, rows in tables.items():
            self.digest.add(table, rows)

    def _send(self, envelope: Envelope, state: PublishState, publisher: Publisher) -> None:
        known = state.acknowledged_hash(envelope.seq)
        if known is None:
            publisher.send(envelope.seq, frame.encode(envelope))
            return
        if known != envelope.body_hash:
            raise _ChangedError
        self.resumed += 1

    def announcement(self, label: str, size_bytes: int, state: PublishState, created_at: str) -> Announcement:
        if not self.segments:
            raise StreamBroken(where=self.path, expected="acknowledged chunks", got="none")
        return Announcement(
            id=announcement_id(self.key.tenant, self.key.callset_id, state.publish_id),
            tenant=self.key.tenant,
            callset_id=self.key.callset_id,
            publish_id=state.publish_id,
            correlation_id=state.correlation_id,
            label=label,
            uri=self.uri,
            sha256=self.sha256,
            size_bytes=size_bytes,
            assembly=self.assembly,
            reader_settings=self.settings.as_record(),
            settings_fingerprint=self.settings.fingerprint(),
            segments=tuple(self.segments),
            n_chunks=self.chunks,
            records=self.records,
            alleles=self.alleles,
            rejected=self.rejected,
            digest=self.digest.value(),
            vcf_version=self.vcf_version,
            created_at=created_at,
        )

    def report(self, announcement: Announcement, label: str, seconds: float, *, is_spooled: bool) -> PublishReport:
        return PublishReport(
            partition=str(self.key),
            label=label,
            records=self.records,
            alleles=self.alleles,
            rejected=self.rejected,
            chunks=self.chunks,
            segments=[segment.to_dict() for segment in announcement.segments],
            digest=announcement.digest,
            seconds=seconds,
            variants_per_s=self.alleles / seconds if seconds else 0.0,
            bytes_sent=self.bytes_sent,
            resumed_chunks=self.resumed,
            publish_id=announcement.publish_id,
            correlation_id=announcement.correlation_id,
            broker=self.coordinator.in_use,
            is_spooled=is_spooled,
        )


def _may_publish(known: Announcement, settings: ReaderSettings, replace: bool, path: str) -> bool:
    """Whether to publish a callset that is published: only with other settings, and only when asked to."""
    if known.settings_fingerprint == settings.fingerprint():
        return False
    if replace:
        return True
    raise UsageError(
        where=path,
        expected="a callset that is not published yet",
        got=f"one that was published with other settings as {known.key}, {known.label}",
        repair="Take --replace to publish it again with these.",
        code="PUBLISHED_OTHERWISE",
    )


def _in_spool(coordinator: Coordinator, key: PartitionKey, settings: ReaderSettings) -> Announcement | None:
    """The same, announced while no broker was left."""
    waiting = coordinator.waiting(key)
    return waiting if waiting is not None and waiting.settings_fingerprint == settings.fingerprint() else None


def _spooled_before(spooled: Announcement, label: str, seconds: float) -> PublishReport:
    return replace_fields(_published_before(spooled, label, seconds), broker=SPOOL, is_spooled=True)


def _published_before(known: Announcement, label: str, seconds: float, published_as: str = "") -> PublishReport:
    return PublishReport(
        partition=str(known.key),
        label=label,
        records=known.records,
        alleles=known.alleles,
        rejected=known.rejected,
        chunks=known.n_chunks,
        segments=[segment.to_dict() for segment in known.segments],
        digest=known.digest,
        seconds=seconds,
        variants_per_s=0.0,
        publish_id=known.publish_id,
        correlation_id=known.correlation_id,
        already_published=True,
        published_as=published_as or f"{known.key} ({known.label})",
        broker=known.segments[-1].broker,
    )


def _stem(path: str) -> str:
    name = path.rstrip("/").rsplit("/", 1)[-1]
    for ending in (".gz", ".bgz", ".vcf", ".bcf"):
        name = name.removesuffix(ending)
    return name or "callset"


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def _version() -> str:
    from importlib.metadata import version

    return version("vcf-pipeline")
