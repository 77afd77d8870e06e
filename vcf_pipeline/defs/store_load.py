"""What the assets of both stores share: their place among the assets, their check, what a load tells.

Not here: their names, what is in them and which stage loads it (lancedb_variants.py, kuzu_variants.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from vcf_pipeline.defs.callset_step import CheckOutcome, StepOutcome
from vcf_pipeline.defs.failures import TRANSIENT_RETRIES
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
    from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
    from vcf_pipeline.stages.load import LoadReport


def store_asset(kind: str, columns: dg.TableSchema) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The asset `KIND_variants` of the function below it; columns: what the catalogue says of it."""
    name = f"{kind}_variants"
    return dg.asset(
        name=name,
        partitions_def=CALLSETS,
        deps=["parsed_variants", "triaged_variants"],
        group_name="stores",
        kinds={kind},
        owners=["team:vcf-pipeline"],
        tags={"domain": "genomics"},
        code_version="1",
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=TRANSIENT_RETRIES,
        check_specs=[
            dg.AssetCheckSpec(
                "store_rows_match",
                asset=name,
                description="The store holds as many rows of this callset as its tables say.",
            )
        ],
        metadata={"dagster/column_schema": columns},
    )


def load_into(
    kind: str,
    store: LanceVariants | KuzuGraph,
    stage: Callable[..., LoadReport],
    *,
    control: Control,
    callset: Callset,
) -> StepOutcome:
    """Run the stage that loads a callset into the store, and tell what it found there afterwards."""
    from vcf_pipeline.stages.notify import cache_invalidated

    report = stage(
        key=callset.key,
        tables=control.tables,
        ledger=control.ledger,
        store=store,
        progress=lambda done, total: control.report_progress(kind, done, total, "alleles", done),
    )
    facts = {"expected": report.expected_rows, "in_store": report.rows}
    metadata = {
        "dagster/row_count": report.rows,
        "seconds": round(report.seconds, 3),
        "reused": report.reused,
        "label": callset.label,
        "digest": report.digest,
        "scope": report.scope,
        "store": dg.MetadataValue.path(str(store.root / callset.tenant)),
    }
    return StepOutcome(
        report.digest,
        metadata,
        [CheckOutcome("store_rows_match", report.expected_rows == report.rows, facts)],
        [cache_invalidated(callset, kind, report.digest, control.ledger)],
    )
