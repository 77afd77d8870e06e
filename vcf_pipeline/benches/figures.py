"""Percentiles, processor seconds, what else the machine was doing; and one publication, timed.

Not here: which figures a measurement gives (stream.py, load.py, memory.py).
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.publish import PublishReport, publish_callset

TENANT = "bench"


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max, by the nearest rank; of nothing, nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: ordered[math.ceil(len(ordered) * share) - 1] for name, share in ranks.items()}


class Watch:
    """Seconds by the clock and of the processor since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        return time.process_time() - self._cpu


def machine() -> dict[str, Any]:
    """cpus: how many there are. load: processes that wanted one, as a mean of the last minute."""
    return {"cpus": os.cpu_count() or 1, "load": round(os.getloadavg()[0], 2)}


def new_ids() -> Callable[[], str]:
    """Ids that no two processes share."""
    stamp, numbers = f"bench-{os.getpid()}-{time.time_ns():x}", itertools.count()
    return lambda: f"{stamp}-{next(numbers)}"


def publish(path: Path, coordinator: Coordinator, state_dir: Path, new_id: Callable[[], str]) -> PublishReport:
    """As `vcf-pipeline publish` does it, without receipts."""
    return publish_callset(
        str(path),
        tenant=TENANT,
        label=None,
        settings=ReaderSettings(),
        coordinator=coordinator,
        state_dir=state_dir,
        now=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"),
        new_id=new_id,
    )
