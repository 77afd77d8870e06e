"""Dagster's own databases: whole from the first moment that anybody can see them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from vcf_pipeline.defs import instance_storage
from vcf_pipeline.defs.instance_storage import FOLDERS, make_instance_storage

DATABASES = {
    "history/runs.db": {"runs", "run_tags", "kvs"},
    "history/runs/index.db": {"event_logs", "dynamic_partitions", "asset_keys"},
    "schedules/schedules.db": {"instigators", "job_ticks"},
}


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def assert_whole(home: Path) -> None:
    for name, expected in DATABASES.items():
        assert expected | {"alembic_version"} <= tables(home / name)
    assert not list(home.glob(".instance-*"))


def test_every_database_of_dagster_is_made_with_its_tables(tmp_path: Path) -> None:
    make_instance_storage(tmp_path / "home")
    assert_whole(tmp_path / "home")


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    make_instance_storage(tmp_path)
    (tmp_path / "history" / "mine").touch()
    make_instance_storage(tmp_path)
    assert (tmp_path / "history" / "mine").is_file()


def die_before(name: str, home: Path) -> None:
    """Make the storage in this process, and kill -9 it when this folder is about to be shown."""
    rename = Path.rename

    def dying(self: Path, target: Path) -> Path:
        if target.name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.rename = dying  # type: ignore[method-assign]
    make_instance_storage(home)


def die_while_filling(home: Path) -> None:
    def dying(base: Path) -> None:
        (base / "history").mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGKILL)

    instance_storage._fill = dying
    make_instance_storage(home)


@pytest.mark.parametrize("moment", ["filling", *FOLDERS])
def test_a_maker_that_is_killed_leaves_nothing_half_made(moment: str, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    if moment == "filling":
        maker = spawn.Process(target=die_while_filling, args=(tmp_path,))
    else:
        maker = spawn.Process(target=die_before, args=(moment, tmp_path))
    maker.start()
    maker.join(60)
    assert maker.exitcode == -signal.SIGKILL
    make_instance_storage(tmp_path)
    assert_whole(tmp_path)
