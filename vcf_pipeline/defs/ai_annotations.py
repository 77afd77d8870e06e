"""The asset `ai_annotations`: the alleles that matter, each explained from its evidence, or why it is not."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from vcf_pipeline.defs.callset_step import (
    FORCE_TAG,
    LEASE_WAIT_SECONDS,
    CheckOutcome,
    StepOutcome,
    materialize,
)
from vcf_pipeline.defs.failures import TRANSIENT_RETRIES
from vcf_pipeline.defs.kept_state import ANNOTATION
from vcf_pipeline.defs.metadata import column_schema, counts_table, preview
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.domain.stream.run_plan import PATH_TAG
from vcf_pipeline.domain.tables.schemas import AI_ANNOTATIONS
from vcf_pipeline.stages.notify import STREAM_PATH, analysis_done, write_requested
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.stages.annotate import AnnotateReport

_PREVIEWED = 5
_SHOWN = ("variant_key", "tier", "significance_label", "status", "provider", "summary")
_SUMMARY_WIDTH = 160


@dg.asset(
    partitions_def=CALLSETS,
    deps=["triaged_variants"],
    group_name="annotations",
    kinds={"parquet", "openai"},
    owners=["team:vcf-pipeline"],
    tags={"domain": "genomics"},
    code_version="1",
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=TRANSIENT_RETRIES,
    check_specs=[
        dg.AssetCheckSpec(
            "every_wanted_allele_has_a_status",
            asset="ai_annotations",
            blocking=True,
            description="One row for each allele of the tiers that are explained: annotated, skipped or failed.",
        )
    ],
    metadata={"dagster/column_schema": column_schema(AI_ANNOTATIONS)},
)
def ai_annotations(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One or two sentences for each allele of tiers 1 and 2, from its evidence alone, each fact cited.

    Written by rules, or by the configured providers; the significance is always the rules'. Not a diagnosis.
    """
    force = context.run.tags.get(FORCE_TAG) == "true"
    is_stream = context.run.tags.get(PATH_TAG) == STREAM_PATH
    watched = control.tell

    def tell(line: str) -> None:
        context.log.warning(line)
        watched(line)

    control.tell = tell
    return materialize(
        context, control, lambda callset: _annotate(control, callset, force=force, is_stream=is_stream), ANNOTATION
    )


def _annotate(control: Control, callset: "Callset", *, force: bool, is_stream: bool) -> StepOutcome:
    from vcf_pipeline.domain.errors import BadAnswer
    from vcf_pipeline.stages.annotate import annotate_callset

    key = callset.key

    def dead_letter(body: bytes, origin: str, reason: str) -> None:
        control.coordinator.dead_letter(
            body, origin=origin, reason=reason, code=BadAnswer.code, tenant=key.tenant, callset_id=key.callset_id
        )

    with control.ledger.lease(f"ai_annotations/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        report = annotate_callset(
            key=key,
            tables=control.tables,
            lease=lease,
            wanted=control.wanted(key.tenant),
            explainer=control.explainer,
            dead_letter=dead_letter,
            progress=lambda done, total: control.report_progress("annotate", done, total, "alleles", done),
            force=force,
        )
    _note(control, callset, report, loads_are_due=is_stream)
    explained = sum(report.rows.values())
    return StepOutcome(
        report.digest,
        _metadata(control, callset, report),
        [
            CheckOutcome(
                "every_wanted_allele_has_a_status",
                explained == report.wanted,
                {"wanted": report.wanted, "with_a_status": explained},
            )
        ],
        [analysis_done(callset, report.digest, report.rows), write_requested(callset, report.digest, "ai_annotations")],
    )


def _note(control: Control, callset: "Callset", report: "AnnotateReport", *, loads_are_due: bool) -> None:
    """In the ledger before anything is told. Of a triage that was replaced meanwhile: it waits for its own event."""
    triaged = control.tables.manifest(callset.tenant, callset.callset_id, "triaged_variants")
    explained = report.manifest.inputs["triaged_variants"]
    if triaged is not None and triaged.digest == explained:
        control.ledger.end_analysis(callset.key, callset.generation, explained, loads_are_due=loads_are_due)
    else:
        control.ledger.put_back_analysis(callset.key, callset.generation)


def _metadata(control: Control, callset: "Callset", report: "AnnotateReport") -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(report.rows.values()),
        **report.rows,
        "calls": report.calls,
        "cache_hits": report.cache_hits,
        "cost_usd": report.cost_microusd / 1e6,
        "seconds": round(report.seconds, 3),
        "reused": report.reused,
        "label": callset.label,
        "digest": report.digest,
        "manifest": dg.MetadataValue.path(
            str(control.tables.manifest_path(callset.tenant, callset.callset_id, "ai_annotations"))
        ),
        "note": "Explanations of evidence, not a diagnosis. The significance is from rules, never from a model.",
    }
    if report.providers:
        metadata["providers"] = counts_table("provider", report.providers)
    if report.reasons:
        metadata["reasons"] = counts_table("reason", report.reasons)
    if control.settings.profile == "development":
        metadata["preview"] = preview(_first_rows(control, callset), _SHOWN, _SUMMARY_WIDTH)
    return metadata


def _first_rows(control: Control, callset: "Callset") -> pl.DataFrame:
    return (
        control.tables.scan(callset.tenant, callset.callset_id, "ai_annotations", "annotations")
        .sort("tier", "record_no", "alt_index")
        .head(_PREVIEWED)
        .select(_SHOWN)
        .collect()
    )
