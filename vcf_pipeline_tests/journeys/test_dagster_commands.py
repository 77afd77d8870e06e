"""Dagster's own commands, as an operator types them, against a running daemon: launch, and a backfill over two."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from vcf_pipeline_tests.journeys.conftest import Running
from vcf_pipeline_tests.programs import BIN, ROOT, dagster_exports, environment, states, vcf_pipeline, wait_until

ASSETS = [
    "ai_annotations",
    "kuzu_annotations",
    "kuzu_variants",
    "lancedb_annotations",
    "lancedb_variants",
    "parsed_variants",
    "triaged_variants",
]
"""`vcf_batch` is everything for a partition."""


def dagster(home: Path, *words: str | Path) -> None:
    """One of Dagster's commands on our workspace, to its end."""
    done = subprocess.run(
        [BIN / "dagster", *words],
        env=environment(home) | dagster_exports(home),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def materialised(home: Path, partition: str) -> list[str]:
    """Assets that Dagster has seen materialised for the partition."""
    with closing(sqlite3.connect(f"file:{home / 'history' / 'runs' / 'index.db'}?mode=ro", uri=True)) as events:
        rows = events.execute(
            "SELECT DISTINCT asset_key FROM event_logs WHERE partition = ? "
            "AND dagster_event_type = 'ASSET_MATERIALIZATION'",
            [partition],
        ).fetchall()
    return sorted(json.loads(row[0])[0] for row in rows)


def materialised_in_dagster(daemon: Running, *partitions: str) -> None:
    """Waits for Dagster's own events: the ledger says done a moment before Dagster has written the last asset's."""
    wait_until(
        lambda: [materialised(daemon.home, one) for one in partitions] == [ASSETS] * len(partitions),
        f"every asset of {', '.join(partitions)}; see {daemon.log}",
    )


def test_a_launched_job_materialises_every_asset(daemon: Running, clinvar: Path):
    registered = vcf_pipeline(daemon.home, "register", clinvar, "--tenant", "launched", "--json").records[0]
    partition = registered["partition"]
    tags = json.dumps({"dagster/partition": partition})
    dagster(daemon.home, "job", "launch", "-w", "workspace.yaml", "-j", "vcf_batch", "--tags", tags)
    wait_until(
        lambda: states(daemon.home, "launched") == {partition: "done"},
        f"the launched callset done; see {daemon.log}",
    )
    materialised_in_dagster(daemon, partition)


def test_a_backfill_over_two_partitions_materialises_both(daemon: Running, clinvar: Path, trio: Path):
    records = vcf_pipeline(daemon.home, "register", clinvar, trio, "--tenant", "backfilled", "--json").records
    both = [record["partition"] for record in records]
    dagster(
        daemon.home,
        *("job", "backfill", "-w", "workspace.yaml", "-j", "vcf_batch"),
        *("--partitions", ",".join(both), "--noprompt"),
    )
    wait_until(
        lambda: states(daemon.home, "backfilled") == dict.fromkeys(both, "done"),
        f"both callsets of the backfill done; see {daemon.log}",
    )
    materialised_in_dagster(daemon, *both)
