"""A stored triage that triaging now would not give: what has changed since, and what one allele would be now.

Here: what is said of it wherever such tiers are shown. Not here: triaging again (triage.py), when the nightly backfill
does (complete.py), what a changed source does to all callsets (sources.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.ledger.sources import Source
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.manifest import Manifest, stale_reasons
from vcf_pipeline.domain.triage.evidence import wanted_columns
from vcf_pipeline.domain.triage.moves import SOURCE_INPUT, because, changes
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.triage.tiers import CODE_VERSION, triaged
from vcf_pipeline.stages.computed_consequences import COMPUTED, INPUT, computing_model
from vcf_pipeline.stages.joined_sources import Registered, joined_sources, usable, voice_of
from vcf_pipeline.stages.triage import ASSET, SOURCE, TABLE, wanted_inputs


@dataclass(frozen=True)
class Stale:
    """names: of what has changed since: sources, "rules", "thresholds", … because: with versions, as moves say it.

    since: when the first of the sources that are there became what they are now, in seconds since 1970; None where
    that is not known, as of a source that was removed.
    """

    names: tuple[str, ...]
    because: str
    since: float | None = None

    @property
    def since_text(self) -> str | None:
        return None if self.since is None else f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M} UTC"

    def __str__(self) -> str:
        """As in "judged before clinvar changed (since 2026-11-27 08:00 UTC: clinvar 3f2a91bc → 9c01aa00)"."""
        since = f"since {self.since_text}: " if self.since is not None else ""
        return f"judged before {' and '.join(self.names)} changed ({since}{self.because})"

    def as_record(self) -> dict[str, Any]:
        return {"changed": list(self.names), "because": self.because, "since": self.since_text}


def stale_triage(
    key: PartitionKey, *, tables: Tables, thresholds: TriageThresholds, sources: Sequence[Source]
) -> Stale | None:
    """Why the callset's stored triage is not what triaging now would give; None where it is, or where there is none.

    sources: of the tenant, all of them.
    """
    parsed = tables.manifest(key.tenant, key.callset_id, SOURCE)
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    if parsed is None or stored is None:
        return None
    used, _ = usable(sources, parsed.assembly)
    inputs = wanted_inputs(parsed, thresholds, used, stored)
    if not stale_reasons(stored, code_version=CODE_VERSION, inputs=inputs):
        return None
    code = (stored.code_version, CODE_VERSION)
    names = [name for name, _, _ in changes(stored.inputs, inputs, code=code)]
    if not names:
        return Stale(("the form of tables",), "the form of tables has changed")
    updated = [source.updated_at for source in used if source.name in names]
    return Stale(tuple(names), because(stored.inputs, inputs, code=code), min(updated, default=None))


def stale_callsets(
    tenant: str,
    callset_ids: Iterable[str],
    *,
    ledger: Ledger,
    tables: Tables,
    thresholds: TriageThresholds,
) -> dict[str, Stale]:
    """Those of the callsets whose stored triage is stale. Reads two manifests of each."""
    sources = ledger.sources(tenant)
    found = {
        callset_id: stale_triage(
            PartitionKey(tenant, callset_id), tables=tables, thresholds=thresholds, sources=sources
        )
        for callset_id in callset_ids
    }
    return {callset_id: stale for callset_id, stale in found.items() if stale is not None}


def judged_now(
    allele: Mapping[str, Any],
    key: PartitionKey,
    *,
    tables: Tables,
    thresholds: TriageThresholds,
    registered: Registered,
) -> pl.DataFrame:
    """The row of `triaged` that triaging now would write of one allele; no row where the tables have it no more.

    allele: its record_no, alt_index and variant_key. Consequences that were computed are not computed again: those of
    the stored triage are heard, under their version.
    """
    parsed = tables.manifest(key.tenant, key.callset_id, SOURCE)
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    if parsed is None or stored is None:
        return pl.DataFrame()
    where = (key.tenant, key.callset_id, SOURCE, "variants")
    is_it = (pl.col("record_no") == allele["record_no"]) & (pl.col("alt_index") == allele["alt_index"])
    named = is_it & (pl.col("variant_key") == allele["variant_key"])
    variants = tables.scan(*where).filter(named).select(wanted_columns(tables.schema(*where))).collect()
    if variants.is_empty():
        return variants
    with joined_sources(registered, key.tenant, parsed.assembly) as (joined, _):
        rows = joined.joined(variants)
        model = _computed_before(parsed, stored, joined.used)
        voices = [voice_of(source) for source in joined.used if model is None or source.name != model.name]
        if model is not None:
            computing = voice_of(model, has_consequences=True)
            voices = sorted([*voices, computing], key=lambda voice: voice.name)
            computed = tables.scan(key.tenant, key.callset_id, ASSET, TABLE).filter(is_it).select(COMPUTED).collect()
            # without a consequence its gene was that of a place, which is looked up again
            computed = computed.with_columns(gene=pl.when(pl.col("consequence").is_not_null()).then("gene"))
            names = {name: computing.column(f"computed_{name}") for name in COMPUTED}
            rows = pl.concat([rows, computed.rename(names).cast(pl.String)], how="horizontal")
        return triaged(
            rows,
            has_samples=bool(parsed.samples),
            assembly=parsed.assembly,
            thresholds=thresholds,
            voices=voices,
        )


def _computed_before(parsed: Manifest, stored: Manifest, used: Sequence[Source]) -> Source | None:
    """The gene model in the version by which the stored triage's consequences were computed; None where none were."""
    model = computing_model(parsed, used)
    version = stored.inputs.get(f"{SOURCE_INPUT}{model.name}") if model is not None else None
    if model is None or version is None or INPUT not in stored.inputs:
        return None
    return replace(model, version=version)
