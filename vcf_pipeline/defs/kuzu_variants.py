"""The asset `kuzu_variants`: the graph of samples, variants, genes and conditions. And its check."""

from typing import TYPE_CHECKING

import dagster as dg

from vcf_pipeline.defs.callset_step import CheckOutcome, StepOutcome, materialize
from vcf_pipeline.defs.failures import TRANSIENT_RETRIES
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset


@dg.asset(
    partitions_def=CALLSETS,
    deps=["parsed_variants", "triaged_variants"],
    group_name="stores",
    kinds={"kuzu"},
    owners=["team:vcf-pipeline"],
    tags={"domain": "genomics"},
    code_version="1",
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=TRANSIENT_RETRIES,
    check_specs=[
        dg.AssetCheckSpec(
            "store_rows_match",
            asset="kuzu_variants",
            description="The store holds as many rows of this callset as its tables say.",
        )
    ],
)
def kuzu_variants(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The callset in the tenant's graph, as a new version of it; readers keep the version they opened.

    Above a number of alleles only linked ones go in (a gene, a claim or tier 1 to 3); the load says which scope it was.
    """
    return materialize(context, control, lambda callset: _load(control, callset))


def _load(control: Control, callset: "Callset") -> StepOutcome:
    from vcf_pipeline.stages.load import load_kuzu
    from vcf_pipeline.stages.notify import cache_invalidated

    report = load_kuzu(
        key=callset.key,
        tables=control.tables,
        ledger=control.ledger,
        store=control.kuzu,
        progress=lambda done, total: control.report_progress("kuzu", done, total, "alleles", done),
    )
    facts = {"expected": report.expected_rows, "in_store": report.rows}
    metadata = {
        "dagster/row_count": report.rows,
        "seconds": round(report.seconds, 3),
        "reused": report.reused,
        "label": callset.label,
        "digest": report.digest,
        "scope": report.scope,
        "store": dg.MetadataValue.path(str(control.kuzu.root / callset.tenant)),
    }
    return StepOutcome(
        report.digest,
        metadata,
        [CheckOutcome("store_rows_match", report.expected_rows == report.rows, facts)],
        [cache_invalidated(callset, "kuzu", report.digest, control.ledger)],
    )
