"""What the assets of both stores share: their place among the assets, their check, what a load tells.

Not here: their names, what is in them and which stage loads it (lancedb_variants.py, kuzu_variants.py,
lancedb_annotations.py, kuzu_annotations.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
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
    return _asset(
        kind,
        f"{kind}_variants",
        ["parsed_variants", "triaged_variants"],
        "stores",
        columns,
        "The store holds as many rows of this callset as its tables say.",
    )


def annotation_store_asset(
    kind: str, deps: Sequence[str], columns: dg.TableSchema
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The asset `KIND_annotations` of the function below it."""
    return _asset(
        kind,
        f"{kind}_annotations",
        deps,
        "annotation_stores",
        columns,
        "The store holds as many explanations of this callset as its tables say.",
    )


def _asset(
    kind: str, name: str, deps: Sequence[str], group: str, columns: dg.TableSchema, checked: str
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    return dg.asset(
        name=name,
        partitions_def=CALLSETS,
        deps=list(deps),
        group_name=group,
        kinds={kind},
        owners=["team:vcf-pipeline"],
        tags={"domain": "genomics"},
        code_version="1",
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=TRANSIENT_RETRIES,
        check_specs=[dg.AssetCheckSpec("store_rows_match", asset=name, description=checked)],
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
    report = stage(
        key=callset.key,
        tables=control.tables,
        ledger=control.ledger,
        store=store,
        progress=lambda done, total: control.report_progress(kind, done, total, "alleles", done),
    )
    return loaded(kind, report, callset, control, store.root, {"scope": report.scope})


def loaded(
    store: str, report: LoadReport, callset: Callset, control: Control, root: Path, told: Mapping[str, Any]
) -> StepOutcome:
    """What a load tells. store: its name in the ledger. told: what is true of this store alone."""
    from vcf_pipeline.stages.notify import cache_invalidated

    facts = {"expected": report.expected_rows, "in_store": report.rows}
    metadata = {
        "dagster/row_count": report.rows,
        "seconds": round(report.seconds, 3),
        "reused": report.reused,
        "label": callset.label,
        "digest": report.digest,
        **told,
        "store": dg.MetadataValue.path(str(root / callset.tenant)),
    }
    return StepOutcome(
        report.digest,
        metadata,
        [CheckOutcome("store_rows_match", report.expected_rows == report.rows, facts)],
        [cache_invalidated(callset, store, report.digest, control.ledger)],
    )
