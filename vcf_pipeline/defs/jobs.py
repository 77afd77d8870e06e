"""The jobs: selections of assets for one partition, or for a range of them."""

from __future__ import annotations

import dagster as dg

from vcf_pipeline.domain.stream.run_plan import PATH_TAG

CALLSET_ASSETS = ("parsed_variants", "triaged_variants", "lancedb_variants", "kuzu_variants")
"""Of the groups `variants` and `stores`: what makes a callset done and searchable."""
ANNOTATION_ASSETS = ("ai_annotations", "lancedb_annotations", "kuzu_annotations")
"""Of the groups `annotations` and `annotation_stores`: what a run does only where it is asked to explain."""

_AFTER_CALLSETS = {"dagster/priority": "-1"}
"""Of runs that wait in the queue, those that make a callset searchable go first: people wait for these."""

vcf_batch = dg.define_asset_job(
    "vcf_batch",
    selection=dg.AssetSelection.groups("variants", "stores", "annotations", "annotation_stores"),
    tags={PATH_TAG: "batch"},
    description="Everything for a callset, from its file, annotations too: the batch path, with no stream.",
)

variants_job = dg.define_asset_job(
    "variants_job",
    selection=dg.AssetSelection.groups("variants", "stores"),
    tags={PATH_TAG: "stream"},
    description="What callset_sensor starts: tables and stores of an announced callset, from the stream.",
)

annotations_job = dg.define_asset_job(
    "annotations_job",
    selection=dg.AssetSelection.groups("annotations"),
    tags={PATH_TAG: "stream", **_AFTER_CALLSETS},
    description="What analysis_request_sensor starts: the alleles that matter are explained.",
)

annotation_loads_job = dg.define_asset_job(
    "annotation_loads_job",
    selection=dg.AssetSelection.groups("annotation_stores"),
    tags={PATH_TAG: "stream", **_AFTER_CALLSETS},
    description="What database_write_sensor starts: explained alleles go into both stores.",
)

FOR_ANNOTATIONS = (annotations_job.name, annotation_loads_job.name)
"""Jobs that leave the callset itself as it is: a run of one is no reason to wait before the callset is run."""
