"""parsed_variants → triaged_variants: every allele with tier, reasons and evidence, written as it is read.

Here: what is read, written and remembered, and when nothing needs doing. Not here: the rules (domain/triage).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.manifest import Manifest, stale_reasons
from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.evidence import wanted_columns
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.triage.tiers import CODE_VERSION, TIER_NAMES, tier_counts, triaged

SOURCE, ASSET, TABLE = "parsed_variants", "triaged_variants", "triaged"
TOP_GENES = 10


@dataclass(frozen=True)
class TriageReport:
    """tiers: rows by tier, always "1" to "4" and "unknown". top_genes: (gene, rows of tiers
    1 to 3), those with rows of tiers 1 and 2 first.

    reused: the stored table was current, and nothing was written. seconds: of this call.
    """

    tiers: dict[str, int]
    top_genes: list[tuple[str, int]]
    digest: str
    seconds: float
    reused: bool
    manifest: Manifest


def triage_callset(
    *,
    key: PartitionKey,
    tables: Tables,
    lease: Lease,
    thresholds: TriageThresholds | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> TriageReport:
    """Triage what is parsed; if the stored triage was made from the same rows by the same rules, leave it.

    lease: of `triaged_variants/KEY`, held by the caller. progress: told (rows done, rows in all) as it goes.
    force: write again whatever is stored. Raises UnknownPartition where nothing is parsed, Superseded where
    the lease was lost; both leave the stored table as it was. Memory: one frame of parsed_variants at a time.
    """
    started = time.monotonic()
    thresholds = thresholds or TriageThresholds()
    where = (key.tenant, key.callset_id)
    parsed = tables.manifest(*where, SOURCE)
    if parsed is None:
        raise UnknownPartition(
            where=str(key),
            expected="the table parsed_variants",
            got="none",
            repair=f"Run it again with the file, or materialise parsed_variants of {key} first.",
        )
    inputs = _wanted_inputs(parsed, thresholds)
    stored = tables.manifest(*where, ASSET)
    if stored is not None and not force and not stale_reasons(stored, code_version=CODE_VERSION, inputs=inputs):
        return _report(stored, started, reused=True)
    manifest = _write(key, parsed, inputs, tables=tables, lease=lease, thresholds=thresholds, progress=progress)
    return _report(manifest, started, reused=False)


def is_current(key: PartitionKey, tables: Tables, thresholds: TriageThresholds) -> bool:
    """Whether the stored triage is what triaging now would give."""
    parsed = tables.manifest(key.tenant, key.callset_id, SOURCE)
    if parsed is None:
        return False
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    return not stale_reasons(stored, code_version=CODE_VERSION, inputs=_wanted_inputs(parsed, thresholds))


def _wanted_inputs(parsed: Manifest, thresholds: TriageThresholds) -> dict[str, str]:
    return {
        SOURCE: parsed.digest,
        "thresholds": thresholds.fingerprint(),
        # not part of the digest, and BA1's exceptions go by it
        "assembly": parsed.assembly or "unknown",
    }


def _write(
    key: PartitionKey,
    parsed: Manifest,
    inputs: dict[str, str],
    *,
    tables: Tables,
    lease: Lease,
    thresholds: TriageThresholds,
    progress: Callable[[int, int], None] | None,
) -> Manifest:
    started = time.monotonic()
    columns = wanted_columns(tables.schema(key.tenant, key.callset_id, SOURCE, "variants"))
    tiers = dict.fromkeys(TIER_NAMES, 0)
    genes = _no_genes()
    with tables.writer(key, ASSET, fence=lease.fence) as writer:
        for variants in tables.frames(key.tenant, key.callset_id, SOURCE, "variants", columns=columns):
            lease.check()
            rows = triaged(variants, has_samples=bool(parsed.samples), assembly=parsed.assembly, thresholds=thresholds)
            for name, count in tier_counts(rows).items():
                tiers[name] += count
            genes = _with_genes(genes, rows)
            writer.write(TABLE, rows)
            if progress is not None:
                progress(sum(tiers.values()), parsed.alleles)
        if not parsed.alleles:
            writer.write(TABLE, pl.DataFrame(schema=TRIAGED))
        seconds = time.monotonic() - started
        return writer.commit(
            {
                **{name: getattr(parsed, name) for name in _CARRIED_ON},
                "alleles": sum(tiers.values()),
                "inputs": inputs,
                "settings": {"thresholds": thresholds.as_record()},
                "code_version": CODE_VERSION,
                "timings": {"seconds": seconds},
                "extra": {"tiers": tiers, "top_genes": _top_genes(genes)},
            },
            lease.guard,
        )


_CARRIED_ON = (
    *("label", "correlation_id", "source", "vcf_version", "assembly", "assembly_reason", "normalisation"),
    *("samples", "records", "rejected", "versions"),
)
"""What a manifest says of the callset, the same for all its tables."""


def _no_genes() -> pl.DataFrame:
    return pl.DataFrame(schema={"gene": pl.String, "urgent": pl.Int64, "rows": pl.Int64})


def _with_genes(genes: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of tiers 1 and 2, and of 1 to 3, by gene, added up; as many rows as there are genes."""
    seen = rows.filter(pl.col("tier") <= 3, pl.col("gene").is_not_null()).select(
        "gene", urgent=(pl.col("tier") <= 2).cast(pl.Int64), rows=pl.lit(1, pl.Int64)
    )
    return pl.concat([genes, seen]).group_by("gene").sum()


def _top_genes(genes: pl.DataFrame) -> list[list[object]]:
    ranked = genes.sort(["urgent", "rows", "gene"], descending=[True, True, False]).head(TOP_GENES)
    return [list(row) for row in ranked.select("gene", "rows").iter_rows()]


def _report(manifest: Manifest, started: float, *, reused: bool) -> TriageReport:
    return TriageReport(
        tiers={name: int(manifest.extra["tiers"][name]) for name in TIER_NAMES},
        top_genes=[(str(gene), int(rows)) for gene, rows in manifest.extra["top_genes"]],
        digest=manifest.digest,
        seconds=time.monotonic() - started,
        reused=reused,
        manifest=manifest,
    )
