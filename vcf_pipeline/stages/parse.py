"""ParsedBatches, read or received → parsed_variants: the tables of a callset, whole or not at all.

Here: what is written in which order, what is counted, and when nothing needs doing. Not here: where batches come from
(adapters/vcf_files/reader.py, receive.py), how parts and manifests lie on the disk (adapters/tables.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.tables import Tables, TableWriter
from vcf_pipeline.domain.errors import PermanentError, StreamBroken
from vcf_pipeline.domain.row_ids import row_ids
from vcf_pipeline.domain.tables.manifest import Manifest, stale_reasons
from vcf_pipeline.domain.vcf.batch import BatchSource, BlockParser, ParsedBatch

ASSET = "parsed_variants"
CODE_VERSION = "1"
"""Raised when the same bytes and settings give other tables: it makes the stored ones stale."""
NORMALISATION = "trimmed: right then left, not left-aligned (no reference FASTA)"
_LIBRARIES = ("vcf-pipeline", "polars", "pyarrow", "numba", "cyvcf2")

Progress = Callable[[int, int, int], None]
"""Called with (bytes or chunks done, of how many, records so far)."""


@dataclass(frozen=True)
class ParseReport:
    """records = rows' records + rejected. alleles: rows of `variants`. defects: occurrences by code.

    reused: the stored tables were current, and nothing was read. seconds: of this call.
    """

    records: int
    alleles: int
    rejected: int
    defects: dict[str, int]
    per_contig: dict[str, int]
    digest: str
    seconds: float
    engine: str
    reused: bool
    manifest: Manifest

    @property
    def variants_per_s(self) -> float:
        return self.alleles / self.seconds if self.seconds else 0.0


def wanted_inputs(callset: Callset) -> dict[str, str]:
    """What the tables are made from, stream or file: the bytes and the settings that change what is read."""
    return {"sha256": callset.sha256, "settings": callset.settings_fingerprint}


def is_current(callset: Callset, tables: Tables) -> bool:
    """Whether the stored tables are what parsing now would give."""
    stored = tables.manifest(callset.tenant, callset.callset_id, ASSET)
    return not stale_reasons(stored, code_version=CODE_VERSION, inputs=wanted_inputs(callset))


def stored_report(callset: Callset, tables: Tables) -> ParseReport | None:
    """What a call of `parse_callset` would report that finds the stored tables current, without a source; else None."""
    started = time.monotonic()
    stored = tables.manifest(callset.tenant, callset.callset_id, ASSET)
    if stored is None or not is_current(callset, tables):
        return None
    return _report(stored, started, "", reused=True)


def parse_callset(
    source: BatchSource,
    *,
    callset: Callset,
    tables: Tables,
    ledger_lease: Lease,
    progress: Progress | None = None,
    force: bool = False,
    announced_digest: str | None = None,
    instead_of: Sequence[str] = (),
) -> ParseReport:
    """Write the tables batch by batch, then the manifest; current ones are left as they are.

    ledger_lease: of `parsed_variants/KEY`, held by the caller. announced_digest: what the tables of a stream must sum
    up to, else StreamBroken. instead_of: why other sources could not be read, for the manifest. Raises what the source
    raises, and Superseded where the lease was lost; the stored tables are then as they were. Memory: two batches and
    the row group that is being filled.
    """
    started = time.monotonic()
    stored = tables.manifest(callset.tenant, callset.callset_id, ASSET)
    if stored is not None and not force and is_current(callset, tables):
        return _report(stored, started, source.engine, reused=True)
    tally = _Tally()
    with tables.writer(callset.key, ASSET, fence=ledger_lease.fence) as writer, ThreadPoolExecutor(1) as second:
        # Writing compresses outside the interpreter's lock, so the next batch is parsed meanwhile.
        behind: Future[None] | None = None
        for batch in _batches(source):
            ledger_lease.check()
            if behind is not None:
                behind.result()
            behind = second.submit(_write, writer, batch, callset)
            tally.add(batch)
            if progress is not None:
                progress(*source.progress(), tally.records)
        if behind is not None:
            behind.result()
        digest = writer.digest.value()
        _verify(tally, writer, digest, announced_digest, where=str(callset.key))
        writer.put_text("header.vcf", source.header.text)
        seconds = time.monotonic() - started
        manifest = writer.commit(_fields(source, callset, tally, seconds, instead_of), ledger_lease.guard)
    return _report(manifest, started, source.engine, reused=False)


def _batches(source: BatchSource) -> Iterator[ParsedBatch]:
    """The source's, or one without rows where it has none: a table without rows has its columns all the same."""
    none_came = True
    for batch in source.batches():
        none_came = False
        yield batch
    if none_came:
        header = source.header
        yield BlockParser(header, source.settings).parse(b"", 0, header.n_lines + 1, len(header.text.encode()))


@dataclass
class _Tally:
    """What went by."""

    records: int = 0
    alleles: int = 0
    rejected: int = 0
    kept: int = 0
    defects: Counter[str] = field(default_factory=Counter)
    per_contig: dict[str, int] = field(default_factory=dict)

    def add(self, batch: ParsedBatch) -> None:
        self.records += batch.n_records
        self.alleles += batch.variants.height
        self.kept += batch.variants["record_no"].n_unique()
        self.rejected += batch.rejects["record_no"].n_unique()
        self.defects.update(batch.defect_counts)
        for contig, count in batch.variants.group_by("contig", maintain_order=True).len().iter_rows():
            self.per_contig[contig] = self.per_contig.get(contig, 0) + count


def _write(writer: TableWriter, batch: ParsedBatch, callset: Callset) -> None:
    variants = batch.variants
    ids = row_ids(
        callset.tenant, callset.callset_id, variants["record_no"].to_numpy(), variants["alt_index"].to_numpy()
    )
    # Frames of their own: the batch is being counted by the other thread (ParsedBatch.own_frames).
    writer.write("variants", variants.select(ids.alias("row_id"), pl.all()))
    for name, rows in batch.own_frames().items():
        if name != "variants":
            writer.write(name, rows)


def _verify(tally: _Tally, writer: TableWriter, digest: str, announced: str | None, *, where: str) -> None:
    """Nothing is lost between what was read and what is written, nor between sender and receiver."""
    if writer.rows("variants") != tally.alleles:
        raise PermanentError(
            where=where,
            expected=f"{tally.alleles:,} rows of variants",
            got=f"{writer.rows('variants'):,}",
            repair="This is a fault of the program: please report it.",
            code="ROWS_LOST",
        )
    if tally.kept + tally.rejected != tally.records:
        raise PermanentError(
            where=where,
            expected=f"{tally.records:,} records, kept or rejected",
            got=f"{tally.kept:,} kept and {tally.rejected:,} rejected",
            repair="This is a fault of the program: please report it.",
            code="RECORDS_LOST",
        )
    if announced is not None and digest != announced:
        raise StreamBroken(
            where=where,
            expected=f"the announced digest {announced}",
            got=digest,
            repair="Publish the file again with the version of this program that reads it.",
        )


def _fields(
    source: BatchSource, callset: Callset, tally: _Tally, seconds: float, instead_of: Sequence[str]
) -> dict[str, Any]:
    header, assembly = source.header, source.assembly
    return {
        "label": callset.label,
        "correlation_id": callset.correlation_id,
        "source": source.source,
        "vcf_version": header.version,
        "assembly": assembly.name,
        "assembly_reason": assembly.reason,
        "normalisation": NORMALISATION,
        "samples": list(header.samples),
        "records": tally.records,
        "alleles": tally.alleles,
        "rejected": tally.rejected,
        "per_contig": tally.per_contig,
        "defects": dict(tally.defects),
        "inputs": wanted_inputs(callset),
        "settings": source.settings.as_record(),
        "code_version": CODE_VERSION,
        "versions": {name: version(name) for name in _LIBRARIES},
        "timings": {"seconds": round(seconds, 3)},
        "extra": {
            "engine": source.engine,
            "header_warnings": list(header.warnings),
            **({"instead_of": list(instead_of)} if instead_of else {}),
        },
    }


def _report(manifest: Manifest, started: float, engine: str, *, reused: bool) -> ParseReport:
    return ParseReport(
        records=manifest.records,
        alleles=manifest.alleles,
        rejected=manifest.rejected,
        defects=manifest.defects,
        per_contig=manifest.per_contig,
        digest=manifest.digest,
        seconds=time.monotonic() - started,
        engine=manifest.extra.get("engine", engine),
        reused=reused,
        manifest=manifest,
    )
