"""parsed_variants → triaged_variants: every allele with tier, reasons and evidence, written as it is read.

Here: what is read, written and remembered, and when nothing needs doing. Not here: the rules (domain/triage).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.ledger.sources import Source
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.manifest import Manifest, stale_reasons
from vcf_pipeline.domain.tables.schemas import TIER_MOVES, TRIAGED
from vcf_pipeline.domain.triage.evidence import wanted_columns
from vcf_pipeline.domain.triage.heard_claims import has_claimants
from vcf_pipeline.domain.triage.moves import (
    OLD_COLUMNS,
    SOURCE_INPUT,
    OlderRows,
    because,
    claims_changed,
    moved,
)
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.triage.tiers import CODE_VERSION, TIER_NAMES, tier_counts, triaged
from vcf_pipeline.stages.computed_consequences import COMPUTED, Computed, computed_consequences, wanted_input
from vcf_pipeline.stages.joined_sources import JoinedSources, Registered, joined_sources, usable, voice_of

SOURCE, ASSET, TABLE, MOVES = "parsed_variants", "triaged_variants", "triaged", "tier_moves"
CLAIMS = "claim_changes"
TOP_GENES = 10


@dataclass(frozen=True)
class TriageReport:
    """tiers: rows by tier, always "1" to "4" and "unknown". top_genes: (gene, rows of tiers
    1 to 3), those with rows of tiers 1 and 2 first. moves: alleles whose tier is another than in the table before.

    reused: the stored table was current, and nothing was written. seconds: of this call.
    """

    tiers: dict[str, int]
    top_genes: list[tuple[str, int]]
    digest: str
    seconds: float
    reused: bool
    manifest: Manifest
    moves: int = 0


def triage_callset(
    *,
    key: PartitionKey,
    tables: Tables,
    lease: Lease,
    thresholds: TriageThresholds | None = None,
    registered: Registered | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> TriageReport:
    """Triage what is parsed; if the stored triage was made from the same rows and sources by the same rules, leave it.

    lease: of `triaged_variants/KEY`, held by the caller. registered: where the tenant's sources are. progress: told
    (rows done, rows in all) as it goes. force: write again whatever is stored. Raises UnknownPartition where nothing
    is parsed, Superseded where the lease was lost; both leave the stored table as it was. Memory: one frame of
    parsed_variants and a row group of a source at a time. Where an older table is replaced, what moved between tiers
    is added to the table `tier_moves`, and what kept its tier under another claim to `claim_changes`.
    """
    started = time.monotonic()
    thresholds = thresholds or TriageThresholds()
    parsed = _parsed(key, tables)
    with joined_sources(registered, key.tenant, parsed.assembly) as (joined, not_used):
        stored = tables.manifest(key.tenant, key.callset_id, ASSET)
        inputs = wanted_inputs(parsed, thresholds, joined.used, stored)
        if stored is not None and not force and not stale_reasons(stored, code_version=CODE_VERSION, inputs=inputs):
            return _report(stored, started, reused=True)
        work = _work(key, parsed, tables, thresholds, joined, registered)
        manifest = _write(work, inputs, stored, not_used=not_used, lease=lease, progress=progress)
    return _report(manifest, started, reused=False)


def is_current(key: PartitionKey, tables: Tables, thresholds: TriageThresholds, sources: Sequence[Source]) -> bool:
    """Whether the stored triage is what triaging now would give. sources: of the tenant, all of them."""
    parsed = tables.manifest(key.tenant, key.callset_id, SOURCE)
    if parsed is None:
        return False
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    inputs = wanted_inputs(parsed, thresholds, usable(sources, parsed.assembly)[0], stored)
    return not stale_reasons(stored, code_version=CODE_VERSION, inputs=inputs)


def moves_to_come(
    key: PartitionKey,
    tables: Tables,
    *,
    thresholds: TriageThresholds,
    registered: Registered,
    with_claims: bool = False,
) -> Iterator[pl.DataFrame]:
    """What triaging now would move: frames of TIER_MOVES, some of them empty; nothing is written.

    with_claims: also frames of what will keep its tier under another claim, old_tier and new_tier being the same.
    Nothing comes of a callset without a stored triage. Memory: as `triage_callset`.
    """
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    if stored is None:
        return
    parsed = _parsed(key, tables)
    with joined_sources(registered, key.tenant, parsed.assembly) as (joined, _):
        inputs = wanted_inputs(parsed, thresholds, joined.used, stored)
        if not stale_reasons(stored, code_version=CODE_VERSION, inputs=inputs):
            return
        watch = _Watch(stored, inputs, tables)
        for variants, rows in _work(key, parsed, tables, thresholds, joined, registered).frames():
            moves, claims = watch.changes(variants, rows)
            yield moves
            if with_claims:
                yield claims


def hears_claims(key: PartitionKey, tables: Tables, used: Sequence[Source] | None = None) -> bool:
    """Whether anybody who could claim something is heard of the callset's alleles; else no claim says nothing at all.

    used: the sources that are; those of the stored triage where nobody says.
    """
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    told = stored.extra.get("sources", []) if stored is not None else []
    presets = [source["preset"] for source in told] if used is None else [source.preset for source in used]
    columns = tables.schema(key.tenant, key.callset_id, SOURCE, "variants")
    return has_claimants(columns, tables.header_text(key.tenant, key.callset_id), presets)


def tier_moves(key: PartitionKey, tables: Tables, table: str = MOVES) -> Iterator[pl.DataFrame]:
    """Every move of the callset's alleles that a re-triage found, the oldest first: frames of TIER_MOVES.

    table: MOVES, or CLAIMS for the alleles that kept their tier under another claim.
    """
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    if stored is not None and table in stored.schemas:
        yield from tables.frames(key.tenant, key.callset_id, ASSET, table)


def triage_alleles(
    variants: pl.DataFrame, *, assembly: str | None, thresholds: TriageThresholds, registered: Registered, tenant: str
) -> pl.DataFrame:
    """Rows of `variants` that are of no callset → rows of `triaged`, with what the tenant's sources know of them.

    variants: as in tables/schemas.py, few; row_id is null where it is absent.
    """
    if "row_id" not in variants.columns:
        variants = variants.with_columns(row_id=pl.lit(None, pl.Binary))
    with joined_sources(registered, tenant, assembly) as (joined, _):
        voices = [voice_of(source) for source in joined.used]
        return triaged(
            joined.joined(variants), has_samples=False, assembly=assembly, thresholds=thresholds, voices=voices
        )


def _parsed(key: PartitionKey, tables: Tables) -> Manifest:
    parsed = tables.manifest(key.tenant, key.callset_id, SOURCE)
    if parsed is None:
        raise UnknownPartition(
            where=str(key),
            expected="the table parsed_variants",
            got="none",
            repair=f"Run it again with the file, or materialise parsed_variants of {key} first.",
        )
    return parsed


def wanted_inputs(
    parsed: Manifest, thresholds: TriageThresholds, used: Sequence[Source], stored: Manifest | None
) -> dict[str, str]:
    """What triaging now would be made from. used: sources of the callset's assembly."""
    return {
        **wanted_input(parsed, used, stored),
        SOURCE: parsed.digest,
        "thresholds": thresholds.fingerprint(),
        # not part of the digest, and BA1's exceptions go by it
        "assembly": parsed.assembly or "unknown",
        **{f"{SOURCE_INPUT}{source.name}": source.version for source in used},
    }


@dataclass(frozen=True)
class _Work:
    """What is triaged, with what."""

    key: PartitionKey
    parsed: Manifest
    tables: Tables
    thresholds: TriageThresholds
    joined: JoinedSources
    computed: Computed

    def frames(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """(rows of variants, rows of triaged) for each frame of parsed_variants."""
        where = (self.key.tenant, self.key.callset_id, SOURCE, "variants")
        columns = wanted_columns(self.tables.schema(*where))
        model = self.computed.model
        voices = [voice_of(source, has_consequences=source == model) for source in self.joined.used]
        for variants in self.tables.frames(*where, columns=columns):
            rows = triaged(
                self._with_computed(self.joined.joined(variants)),
                has_samples=bool(self.parsed.samples),
                assembly=self.parsed.assembly,
                thresholds=self.thresholds,
                voices=voices,
            )
            yield variants, rows

    def _with_computed(self, variants: pl.DataFrame) -> pl.DataFrame:
        """Adds what was computed, as columns of the gene model."""
        if self.computed.model is None:
            return variants
        voice = voice_of(self.computed.model)
        rows = self.computed.rows.rename({name: voice.column(f"computed_{name}") for name in COMPUTED})
        joined = variants.join(rows, on=["record_no", "alt_index"], how="left", maintain_order="left")
        return joined.with_columns(pl.col(voice.column(f"computed_{name}")).cast(pl.String) for name in COMPUTED)


def _work(
    key: PartitionKey,
    parsed: Manifest,
    tables: Tables,
    thresholds: TriageThresholds,
    joined: JoinedSources,
    registered: Registered | None,
) -> _Work:
    source_tables = registered.tables if registered is not None else None
    computed = computed_consequences(parsed, joined.used, tables=tables, source_tables=source_tables)
    return _Work(key, parsed, tables, thresholds, joined, computed)


class _Watch:
    """The stored triage beside the new one, as both go on."""

    def __init__(self, stored: Manifest, inputs: dict[str, str], tables: Tables) -> None:
        where = (stored.tenant, stored.callset_id, ASSET)
        self._older = OlderRows(tables.frames(*where, TABLE, OLD_COLUMNS))
        self._because = because(stored.inputs, inputs, code=(stored.code_version, CODE_VERSION))
        self._moved_at = datetime.now(UTC).isoformat(timespec="seconds")

    def changes(self, variants: pl.DataFrame, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """TIER_MOVES of one frame: what moved, and what kept its tier under another claim."""
        older = self._older.through(int(rows["record_no"][-1])) if rows.height else rows
        keys = variants["variant_key"]
        return self._dated(moved(older, rows, keys)), self._dated(claims_changed(older, rows, keys))

    def _dated(self, found: pl.DataFrame) -> pl.DataFrame:
        return found.with_columns(because=pl.lit(self._because), moved_at=pl.lit(self._moved_at)).select(
            pl.col(name).cast(dtype) for name, dtype in TIER_MOVES.items()
        )


def _write(
    work: _Work,
    inputs: dict[str, str],
    stored: Manifest | None,
    *,
    not_used: dict[str, str],
    lease: Lease,
    progress: Callable[[int, int], None] | None,
) -> Manifest:
    started = time.monotonic()
    key, parsed, tables = work.key, work.parsed, work.tables
    tiers = dict.fromkeys(TIER_NAMES, 0)
    genes = _no_genes()
    watch = _Watch(stored, inputs, tables) if stored is not None else None
    n_moves = n_claims = 0
    with tables.writer(key, ASSET, fence=lease.fence) as writer:
        for table in (MOVES, CLAIMS):
            for before in tier_moves(key, tables, table):
                writer.write(table, before, in_digest=False)
        for variants, rows in work.frames():
            lease.check()
            for name, count in tier_counts(rows).items():
                tiers[name] += count
            genes = _with_genes(genes, rows)
            writer.write(TABLE, rows)
            if watch is not None:
                moves, claims = watch.changes(variants, rows)
                n_moves += moves.height
                n_claims += claims.height
                writer.write(MOVES, moves, in_digest=False)
                writer.write(CLAIMS, claims, in_digest=False)
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
                "settings": {"thresholds": work.thresholds.as_record()},
                "code_version": CODE_VERSION,
                "timings": {"seconds": seconds},
                "extra": {
                    "tiers": tiers,
                    "top_genes": _top_genes(genes),
                    "moves": n_moves,
                    "claim_changes": n_claims,
                    "sources": [
                        {
                            **{"name": source.name, "version": source.version, "preset": source.preset},
                            "matched": work.joined.matched[source.name],
                        }
                        for source in work.joined.used
                    ],
                    "sources_not_used": not_used,
                    "consequences": work.computed.note,
                },
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
        moves=0 if reused else int(manifest.extra.get("moves", 0)),
    )
