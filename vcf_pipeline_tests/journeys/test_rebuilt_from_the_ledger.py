"""Dagster's database deleted: the ledger and the manifests bring the partitions back, and nothing is computed twice.

And that there is one Dagster home, whatever the current folder is.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline_tests.programs import answered, callsets, dagster_daemon, is_explained, vcf_pipeline, wait_until

OURS = {"data", "log", "publish", "inbox"}


def forget_all_of_dagster(home: Path) -> None:
    """Whatever in the home is not the ledger, the tables, the log or what a sender remembers."""
    for path in home.iterdir():
        if path.name in OURS or path.name.startswith("ledger.sqlite"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def rows(home: Path, database: str, question: str) -> list[Any]:
    path = home / database
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
        try:
            return [row[0] for row in books.execute(question).fetchall()]
        except sqlite3.OperationalError:
            return []  # not made yet


def partitions(home: Path) -> set[str]:
    return set(rows(home, "history/runs/index.db", "SELECT partition FROM dynamic_partitions"))


def runs(home: Path) -> list[str]:
    return rows(home, "history/runs.db", "SELECT run_id FROM runs")


def ticks(home: Path) -> list[str]:
    return rows(home, "schedules/schedules.db", "SELECT id FROM job_ticks WHERE status IN ('SKIPPED', 'SUCCESS')")


def created(home: Path, partition: str) -> dict[str, str]:
    shown = answered(home, "callsets", "show", partition)[0]
    return {asset: shown[asset]["created_at"] for asset in ("parsed_variants", "triaged_variants")} | shown["loads"]


def rebuild_and_compare(home: Path, log: Path) -> None:
    before = callsets(home)
    made = {partition: created(home, partition) for partition in before}
    assert {record["state"] for record in before.values()} == {"done"}
    forget_all_of_dagster(home)
    assert partitions(home) == set()
    with dagster_daemon(home, log):
        wait_until(lambda: partitions(home) == set(before), f"the partitions rebuilt; see {log}")
        # callset_sensor has begun at the start of the topic by then, and reconcile_sensor has come by again
        seen = len(ticks(home))
        wait_until(lambda: len(ticks(home)) >= seen + 4, f"four more ticks; see {log}")
    assert runs(home) == []
    assert callsets(home) == before
    assert {partition: created(home, partition) for partition in before} == made


def test_the_partitions_come_back_and_nothing_is_computed_again(home: Path, clinvar: Path, tmp_path: Path):
    """Its announcement is in the log still, and the sensor hears it again from the start of the topic."""
    vcf_pipeline(home, "publish", clinvar, "--json")
    vcf_pipeline(home, "run", clinvar, "--json")
    rebuild_and_compare(home, tmp_path / "daemon.log")


@pytest.mark.acceptance
@pytest.mark.timeout(900)
def test_it_comes_back_as_often_as_it_is_lost(home: Path, trio: Path, clinvar: Path, tmp_path: Path):
    log = tmp_path / "daemon.log"
    with dagster_daemon(home, log):
        vcf_pipeline(home, "publish", trio, clinvar, "--json")
        wait_until(
            lambda: [record["state"] for record in callsets(home).values()] == ["done", "done"],
            f"both done by the daemon; see {log}",
        )
        wait_until(
            lambda: all(is_explained(home, partition) for partition in callsets(home)),
            f"both explained by the daemon; see {log}",
        )
    for _ in range(3):
        rebuild_and_compare(home, log)


def test_another_current_folder_is_no_second_instance(home: Path, clinvar: Path, tmp_path: Path):
    """DAGSTER_HOME is the checkout and every path in it the home, so nothing follows where a person stands."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (record,) = vcf_pipeline(home, "register", clinvar, "--json", cwd=elsewhere).records
    partition = record["partition"]
    assert partitions(home) == {partition}
    assert list(elsewhere.iterdir()) == []
    assert sorted(home.parent.iterdir()) == [elsewhere, home]


def test_a_relative_dagster_home_or_home_is_refused_before_anything_is_made(home: Path, clinvar: Path):
    for given in ({"DAGSTER_HOME": "dagster"}, {"VCF_PIPELINE_HOME": "home"}):
        refused = vcf_pipeline(home, "run", clinvar, check=False, **given)
        assert refused.code == 2
        assert next(iter(given)) in refused.err
        assert "absolute" in refused.err
        assert "Traceback" not in refused.err
        assert list(home.parent.iterdir()) == []
