"""The asset `triaged_variants`: a tier, reasons and evidence for every allele, by rules alone."""

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
from vcf_pipeline.defs.metadata import column_schema, counts_table, preview
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.domain.stream.run_plan import PATH_TAG
from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.stages.notify import STREAM_PATH
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset


_SAID = ("gene", "consequence", "impact")


@dg.asset(
    partitions_def=CALLSETS,
    deps=["parsed_variants"],
    group_name="variants",
    kinds={"parquet", "polars"},
    owners=["team:vcf-pipeline"],
    tags={"domain": "genomics"},
    code_version="1",
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=TRANSIENT_RETRIES,
    check_specs=[
        dg.AssetCheckSpec(
            "every_allele_is_triaged",
            asset="triaged_variants",
            blocking=True,
            description="One row for each allele of parsed_variants; the tiers and the unknown add up to them.",
        )
    ],
    metadata={"dagster/column_schema": column_schema(TRIAGED)},
)
def triaged_variants(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Tier 1 to 4 with reason codes, or unknown where nothing is known. A triage, never a diagnosis.

    Evidence is the callset's own (ClinVar fields, consequences, population frequencies, FILTER, QUAL and genotypes) and
    what registered sources of the same assembly know of its alleles. What a re-triage moves is kept in `tier_moves`.
    """
    force = context.run.tags.get(FORCE_TAG) == "true"
    is_stream = context.run.tags.get(PATH_TAG) == STREAM_PATH
    return materialize(context, control, lambda callset: _triage(control, callset, force=force, is_stream=is_stream))


def _triage(control: Control, callset: "Callset", *, force: bool, is_stream: bool) -> StepOutcome:
    from vcf_pipeline.stages.triage import triage_callset

    key = callset.key
    with control.ledger.lease(f"triaged_variants/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        report = triage_callset(
            key=key,
            tables=control.tables,
            lease=lease,
            thresholds=control.settings.triage.to_thresholds(),
            registered=control.registered,
            progress=lambda done, total: control.report_progress("triage", done, total, "alleles", done),
            force=force,
        )
    triaged = sum(report.tiers.values())
    parsed = control.tables.manifest(key.tenant, key.callset_id, "parsed_variants")
    alleles = parsed.alleles if parsed is not None else -1
    metadata: dict[str, Any] = {
        "dagster/row_count": triaged,
        **{f"tier_{tier}": count for tier, count in report.tiers.items()},
        "tiers": counts_table("tier", report.tiers),
        "seconds": round(report.seconds, 3),
        "variants_per_second": round(triaged / report.seconds) if report.seconds else 0,
        "reused": report.reused,
        "tier_moves": report.moves,
        "label": callset.label,
        "digest": report.digest,
        "manifest": dg.MetadataValue.path(
            str(control.tables.manifest_path(key.tenant, key.callset_id, "triaged_variants"))
        ),
        "note": "A triage by rules, not a diagnosis and not an ACMG classification.",
    }
    sources = report.manifest.extra.get("sources", [])
    if sources:
        metadata["sources"] = counts_table("source", {source["name"]: source["matched"] for source in sources})
    if report.top_genes:
        metadata["top_genes"] = counts_table("gene", dict(report.top_genes))
    if control.settings.profile == "development":
        metadata["preview"] = preview(_best_rows(control, callset))
    facts = {"alleles": alleles, "triaged": triaged}
    if is_stream and triaged == alleles:
        # before it is told (once both stores have it), so that reconciling finds what nobody heard
        control.ledger.request_analysis(key, callset.generation, report.digest)
    return StepOutcome(report.digest, metadata, [CheckOutcome("every_allele_is_triaged", triaged == alleles, facts)])


def _best_rows(control: Control, callset: "Callset") -> pl.DataFrame:
    """The first rows of the best tier, with the alleles they are about."""
    where = (callset.tenant, callset.callset_id)
    best = (
        control.tables.scan(*where, "triaged_variants", "triaged")
        .sort("tier", "record_no", nulls_last=True)
        .head(8)
        .select("row_id", "record_no", "alt_index", "tier", "reasons", *_SAID)
        .collect()
    )
    alleles = control.tables.scan(*where, "parsed_variants", "variants").filter(
        pl.col("record_no").is_in(best["record_no"].to_list())
    )
    alleles = alleles.drop(_SAID)
    return best.lazy().join(alleles, on=["record_no", "alt_index"], how="left", maintain_order="left").collect()
