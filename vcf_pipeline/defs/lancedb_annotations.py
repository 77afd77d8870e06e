"""The asset `lancedb_annotations`: explanations found by their words and by what they are about. And its check."""

import dagster as dg

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.defs.callset_step import StepOutcome, materialize
from vcf_pipeline.defs.kept_state import ANNOTATION
from vcf_pipeline.defs.metadata import column_schema
from vcf_pipeline.defs.store_load import annotation_store_asset, loaded
from vcf_pipeline.domain.projections.annotation_rows import ANNOTATION_ROWS
from vcf_pipeline.wiring import Control


@annotation_store_asset("lancedb", ["ai_annotations"], column_schema(ANNOTATION_ROWS))
def lancedb_annotations(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What was explained, searchable by words, ids, genes and conditions, and by likeness; replaced in one step.

    Vectors are made by words alone unless a model is configured. A triage, not a diagnosis.
    """
    return materialize(context, control, lambda callset: _load(control, callset), ANNOTATION)


def _load(control: Control, callset: Callset) -> StepOutcome:
    from vcf_pipeline.stages.load_annotations import load_lancedb_annotations

    embedder = control.embedder(callset.tenant)
    report = load_lancedb_annotations(
        key=callset.key,
        tables=control.tables,
        ledger=control.ledger,
        store=control.lancedb_annotations,
        embedder=embedder,
        stand_in=control.embedder_standing_in,
    )
    told = {"embedder": report.digest.split("/", 4)[4], "wanted_embedder": embedder.name}
    return loaded("lancedb_annotations", report, callset, control, control.lancedb_annotations.root, told)
