"""The jobs: selections of assets for one partition, or for a range of them."""

from __future__ import annotations

import dagster as dg

from vcf_pipeline.domain.stream.run_plan import PATH_TAG

vcf_batch = dg.define_asset_job(
    "vcf_batch",
    selection=dg.AssetSelection.groups("variants", "stores"),
    tags={PATH_TAG: "batch"},
    description="Everything for a callset, from its file: the batch path, with no stream.",
)

variants_job = dg.define_asset_job(
    "variants_job",
    selection=dg.AssetSelection.groups("variants", "stores"),
    tags={PATH_TAG: "stream"},
    description="What callset_sensor starts: tables and stores of an announced callset, from the stream.",
)
