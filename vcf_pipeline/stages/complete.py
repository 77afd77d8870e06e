"""A callset is *done* when every table of it is written and both stores have it as its tables say, and stays so.

Not here: the writing (parse.py, triage.py) and the loading (load.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections import graph_rows, search_rows
from vcf_pipeline.stages import annotate, parse, triage
from vcf_pipeline.stages.load import is_load_of
from vcf_pipeline.stages.load_annotations import stale_annotation_loads
from vcf_pipeline.stages.register import stands

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.domain.tables.manifest import Manifest
    from vcf_pipeline.domain.triage.thresholds import TriageThresholds
    from vcf_pipeline.stages.annotate import Wanted

STORES = ("lancedb", "kuzu")
ANNOTATIONS = "ai_annotations"
ANNOTATION_STORES = ("lancedb_annotations", "kuzu_annotations")
_PROJECTIONS = {"lancedb": search_rows.PROJECTION_VERSION, "kuzu": graph_rows.GRAPH_VERSION}


def complete_callset(key: PartitionKey, *, ledger: Ledger, tables: Tables) -> bool:
    """Mark the callset done if it is; True when it is. Manifests and loads decide, in any order of the stages."""
    callset = ledger.callset(key)
    parsed = _whole_result(key, ledger=ledger, tables=tables)
    if callset is None or parsed is None:
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


def are_annotations_loaded(key: PartitionKey, *, ledger: Ledger, tables: Tables) -> bool:
    """Whether both stores have the explanations as they are now. Not part of being done: they come when they come."""
    stored = tables.manifest(key.tenant, key.callset_id, ANNOTATIONS)
    if stored is None:
        return False
    loads = [ledger.current_load(store, key) for store in ANNOTATION_STORES]
    return all(load is not None and load.digest.startswith(f"{stored.digest}/") for load in loads)


def earlier_result(callset: Callset, *, ledger: Ledger, tables: Tables) -> str | None:
    """For a callset whose file was refused: where an earlier result of it is whole, that is not lost.

    The callset is done again then, with the settings that made the result; a sentence that says so. Else None.
    """
    parsed = _whole_result(callset.key, ledger=ledger, tables=tables)
    if parsed is None or parsed.inputs.get("sha256") != callset.sha256:
        return None
    ledger.mark_done(
        callset.key,
        records=parsed.records,
        alleles=parsed.alleles,
        rejected=parsed.rejected,
        digest=parsed.digest,
        generation=callset.generation,
        made_with=(parsed.settings, parsed.inputs["settings"]),
    )
    return stands(parsed.alleles, parsed.settings)


def _whole_result(key: PartitionKey, *, ledger: Ledger, tables: Tables) -> Manifest | None:
    """The manifest of parsed_variants where triage and both loads were made from it; else None."""
    parsed = tables.manifest(key.tenant, key.callset_id, "parsed_variants")
    triaged = tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    if parsed is None or triaged is None or triaged.inputs.get("parsed_variants") != parsed.digest:
        return None
    loads = [ledger.current_load(store, key) for store in STORES]
    is_whole = all(load is not None and is_load_of(load.digest, parsed.digest, triaged.digest) for load in loads)
    return parsed if is_whole else None


def stale_annotations(
    key: PartitionKey, *, ledger: Ledger, tables: Tables, wanted: Wanted, embedder_name: str, at: float
) -> list[str]:
    """The assets of annotation that the callset misses, or that other triage, models, words or code made than now
    would; of the stores', those that lack what is explained, or have another embedder's vectors. at: seconds since
    1970. Not part of being done.
    """
    if annotate.why_stale(key, tables, wanted, at):
        return [ANNOTATIONS, *ANNOTATION_STORES]
    return stale_annotation_loads(key, ledger=ledger, tables=tables, embedder_name=embedder_name)


def stale_assets(callset: Callset, *, ledger: Ledger, tables: Tables, thresholds: TriageThresholds) -> list[str]:
    """The assets that the callset misses, or that other code, settings, thresholds or inputs made than now would."""
    key = callset.key
    if not parse.is_current(callset, tables):
        return [parse.ASSET, triage.ASSET, *(f"{store}_variants" for store in STORES)]
    if not triage.is_current(key, tables, thresholds, ledger.sources(key.tenant)):
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
