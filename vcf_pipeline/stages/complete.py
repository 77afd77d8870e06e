"""A callset is *done* when every table of it is written and both stores have it as its tables say.

Not here: the writing (parse.py, triage.py) and the loading (load.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections import graph_rows, search_rows
from vcf_pipeline.stages import parse, triage
from vcf_pipeline.stages.load import is_load_of

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.domain.triage.thresholds import TriageThresholds

STORES = ("lancedb", "kuzu")
_PROJECTIONS = {"lancedb": search_rows.PROJECTION_VERSION, "kuzu": graph_rows.GRAPH_VERSION}


def complete_callset(key: PartitionKey, *, ledger: Ledger, tables: Tables) -> bool:
    """Mark the callset done if it is; True when it is. Manifests and loads decide, in any order of the stages."""
    callset = ledger.callset(key)
    parsed = tables.manifest(key.tenant, key.callset_id, "parsed_variants")
    triaged = tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    if callset is None or parsed is None or triaged is None:
        return False
    if triaged.inputs.get("parsed_variants") != parsed.digest:
        return False
    loads = [ledger.current_load(store, key) for store in STORES]
    if not all(load is not None and is_load_of(load.digest, parsed.digest, triaged.digest) for load in loads):
        return False
    ledger.mark_done(
        key,
        records=parsed.records,
        alleles=parsed.alleles,
        rejected=parsed.rejected,
        digest=parsed.digest,
        generation=callset.generation,
    )
    return True


def stale_assets(callset: Callset, *, ledger: Ledger, tables: Tables, thresholds: TriageThresholds) -> list[str]:
    """The assets that the callset misses, or that other code, settings, thresholds or inputs made than now would."""
    key = callset.key
    if not parse.is_current(callset, tables):
        return [parse.ASSET, triage.ASSET, *(f"{store}_variants" for store in STORES)]
    if not triage.is_current(key, tables, thresholds):
        return [triage.ASSET, *(f"{store}_variants" for store in STORES)]
    parsed = tables.manifest(key.tenant, key.callset_id, parse.ASSET)
    triaged = tables.manifest(key.tenant, key.callset_id, triage.ASSET)
    assert parsed is not None  # noqa: S101 - current a moment ago
    assert triaged is not None  # noqa: S101 - likewise
    stale = []
    for store in STORES:
        load = ledger.current_load(store, key)
        is_of_these = load is not None and is_load_of(load.digest, parsed.digest, triaged.digest)
        if load is None or not is_of_these or not load.digest.endswith(f"/{_PROJECTIONS[store]}"):
            stale.append(f"{store}_variants")
    return stale
