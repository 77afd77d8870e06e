"""The folders of Dagster's own databases in HOME, made whole or not at all.

Dagster fills its databases table by table when they are first opened; a process killed in between leaves a home that
Dagster refuses from then on. So they are filled aside and renamed into place. Not here: what is in them (Dagster).
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from uuid import uuid4

from vcf_pipeline.adapters.objects import make_private_dir, unavailable

FOLDERS = ("history", "schedules")
"""As Dagster's SQLite storage names them under its base_dir."""


def make_instance_storage(home: Path) -> None:
    """Make what is missing of FOLDERS, under a file lock; nothing is imported where nothing is missing.

    Raises StoreUnavailable.
    """
    if all((home / name).is_dir() for name in FOLDERS):
        return
    make_private_dir(home)
    try:
        with (home / ".instance.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in home.glob(".instance-*"):  # of one that was killed
                shutil.rmtree(left)
            missing = [name for name in FOLDERS if not (home / name).is_dir()]
            if not missing:
                return
            aside = home / f".instance-{uuid4().hex}"
            _fill(aside)
            for name in missing:
                (aside / name).rename(home / name)
            shutil.rmtree(aside)
    except OSError as error:
        raise unavailable(home, error) from error


def _fill(base: Path) -> None:
    """Every database that Dagster's SQLite storage makes when it is first opened, closed again."""
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

    storage = DagsterSqliteStorage(str(base))
    storage.event_log_storage.get_dynamic_partitions("callsets")
    storage.schedule_storage.all_instigator_state()
    storage.run_storage.get_runs_count()
    storage.dispose()
