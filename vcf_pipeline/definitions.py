"""What Dagster loads: all of defs/, with its resources and its executor."""

from __future__ import annotations

import dagster as dg

from vcf_pipeline import defs
from vcf_pipeline.defs.jobs import annotation_loads_job, annotations_job, variants_job, vcf_batch
from vcf_pipeline.defs.reconcile import reconcile_sensor
from vcf_pipeline.defs.resources import ControlResource
from vcf_pipeline.defs.schedules import backfill_schedule, inbox_schedule
from vcf_pipeline.defs.sensors import analysis_request_sensor, callset_sensor, database_write_sensor

definitions = dg.Definitions(
    assets=dg.load_assets_from_package_module(defs),
    jobs=[vcf_batch, variants_job, annotations_job, annotation_loads_job],
    sensors=[callset_sensor, analysis_request_sensor, database_write_sensor, reconcile_sensor],
    schedules=[inbox_schedule, backfill_schedule],
    resources={"control": ControlResource()},
    # Every run is one process: starting one per step costs two seconds of imports each.
    executor=dg.in_process_executor,
)
