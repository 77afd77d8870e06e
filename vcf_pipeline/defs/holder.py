"""Who holds a run: the process that executes it, so that a run whose process is gone never keeps a place.

Dagster's default launcher does not notice a killed run; the tags written here let `run`, the reconcile sensor and
`doctor` see it. Not here: leases (adapters/ledger/leases.py), which guard tables and stores by themselves.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import dagster as dg
import psutil

HOST, BOOT, PID, STARTED = (f"vcf_pipeline/{name}" for name in ("host", "boot", "pid", "pid_started"))
IN_PROGRESS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
UNFINISHED = [*IN_PROGRESS, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


@cache
def _boot_id() -> str:
    kernel = Path("/proc/sys/kernel/random/boot_id")
    return kernel.read_text().strip() if kernel.is_file() else str(int(psutil.boot_time()))


def holder_tags() -> dict[str, str]:
    """Tags that name this process so exactly that a later one with the same pid is not taken for it."""
    return {
        HOST: socket.gethostname(),
        BOOT: _boot_id(),
        PID: str(os.getpid()),
        STARTED: f"{psutil.Process().create_time():.2f}",
    }


def is_gone(tags: Mapping[str, str]) -> bool:
    """True when the process that these tags name has surely ended; False for another host or no tags."""
    if PID not in tags or tags.get(HOST) != socket.gethostname():
        return False
    if tags.get(BOOT) != _boot_id():
        return True
    try:
        process = psutil.Process(int(tags[PID]))
        return f"{process.create_time():.2f}" != tags[STARTED] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every run in progress whose process is gone as failed; the run ids.

    Run retries then start it again where the daemon runs, since no step of it failed.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_PROGRESS)):
        if is_gone(run.tags):
            instance.report_run_failed(run, "The process of this run is gone; its tables are as they were before it.")
            ended.append(run.run_id)
    return ended
