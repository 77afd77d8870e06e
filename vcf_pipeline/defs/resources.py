"""Wiring offered to Dagster: one resource, `control`, which opens what is used and closes it with the run or tick."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control


class ControlResource(dg.ConfigurableResource[Control]):
    """Settings are read when a run or a tick starts, never at import."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Control]:  # noqa: ARG002
        with Control(load_settings()) as control:
            yield control
