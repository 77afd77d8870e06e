"""The asset `kuzu_variants`: the graph of samples, variants, genes and conditions. And its check."""

import dagster as dg

from vcf_pipeline.defs.callset_step import materialize
from vcf_pipeline.defs.metadata import graph_schema
from vcf_pipeline.defs.store_load import load_into, store_asset
from vcf_pipeline.wiring import Control


@store_asset("kuzu", graph_schema())
def kuzu_variants(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The callset in the tenant's graph, as a new version of it; readers keep the version they opened.

    Above a number of alleles only linked ones go in (a gene, a claim or tier 1 to 3); the load says which scope it was.
    """
    from vcf_pipeline.stages.load import load_kuzu

    return materialize(
        context,
        control,
        lambda callset: load_into("kuzu", control.kuzu, load_kuzu, control=control, callset=callset),
    )
