"""The asset `kuzu_annotations`: explanations on edges of the graph, from callset to variant. And its check."""

import dagster as dg

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.defs.callset_step import StepOutcome, materialize
from vcf_pipeline.defs.kept_state import ANNOTATION
from vcf_pipeline.defs.metadata import graph_schema
from vcf_pipeline.defs.store_load import annotation_store_asset, loaded
from vcf_pipeline.wiring import Control


@annotation_store_asset("kuzu", ["ai_annotations", "kuzu_variants"], graph_schema())
def kuzu_annotations(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What was explained, on EXPLAINED edges of a new version of the tenant's graph. A triage, not a diagnosis."""
    return materialize(context, control, lambda callset: _load(control, callset), ANNOTATION)


def _load(control: Control, callset: Callset) -> StepOutcome:
    from vcf_pipeline.stages.load_annotations import load_kuzu_annotations

    report = load_kuzu_annotations(key=callset.key, tables=control.tables, ledger=control.ledger, store=control.kuzu)
    return loaded("kuzu_annotations", report, callset, control, control.kuzu.root, {"scope": report.scope})
