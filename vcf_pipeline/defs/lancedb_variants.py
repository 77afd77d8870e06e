"""The asset `lancedb_variants`: search by field: one row per allele in the tenant's `variants` table. And its check."""

import dagster as dg

from vcf_pipeline.defs.callset_step import materialize
from vcf_pipeline.defs.metadata import column_schema
from vcf_pipeline.defs.store_load import load_into, store_asset
from vcf_pipeline.domain.projections.search_rows import SEARCH_ROWS
from vcf_pipeline.wiring import Control


@store_asset("lancedb", column_schema(SEARCH_ROWS))
def lancedb_variants(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The callset's alleles with their tiers, searchable by field; readers see the last whole one until then."""
    from vcf_pipeline.stages.load import load_lancedb

    return materialize(
        context,
        control,
        lambda callset: load_into("lancedb", control.lancedb, load_lancedb, control=control, callset=callset),
    )
