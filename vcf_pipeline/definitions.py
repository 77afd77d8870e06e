"""What Dagster loads: all of defs/, with its resources and its executor."""

from __future__ import annotations

import dagster as dg

from vcf_pipeline import defs
from vcf_pipeline.defs.resources import ControlResource

definitions = dg.Definitions.merge(
    dg.load_definitions_from_package_module(defs),
    dg.Definitions(
        resources={"control": ControlResource()},
        # Every run is one process: starting one per step costs two seconds of imports each.
        executor=dg.in_process_executor,
    ),
)
