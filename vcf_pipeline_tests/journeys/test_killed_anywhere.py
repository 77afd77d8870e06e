"""kill -9 at random moments: after a retry everything equals an undisturbed run's, and no reader saw a half state."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.query import VariantQuery
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.journeys.conftest import Running
from vcf_pipeline_tests.programs import answered, kill_group, start, states, vcf_pipeline, wait_until

SEED = 20261123
# A retry that had to wait for a dead holder's lease would take 15 s longer.
AT_ONCE_SECONDS = 12.0
# Between two looks of a reader where a single kill is tried; among twenty it looks without a pause and takes a core.
BLINK_SECONDS = 0.05
Undisturbed = tuple[dict[str, Any], float, int]


def everything(home: Path, tenant: str = "default") -> dict[str, Any]:
    """All that a person can get out of a tenant's only callset, without what names the tenant or one attempt."""
    of_tenant = ("--tenant", tenant)
    shown = answered(home, "query", "variants", "--limit", "100000", *of_tenant)
    (callset,) = answered(home, "callsets", "list", *of_tenant)
    return {
        "rows": sorted(str(sorted((name, str(value)) for name, value in row.items())) for row in shown),
        "callset": {name: callset[name] for name in ("label", "state", "digest", "records", "alleles")},
        "stores": answered(home, "callsets", "show", callset["partition"], *of_tenant)[0]["stores"],
    }


@contextmanager
def reader_that_keeps_looking(home: Path, alleles: int, pause_s: float, tenant: str = "default") -> Iterator[list[str]]:
    """Counts a callset's rows again and again; whatever is neither nothing nor everything is noted."""
    seen: list[str] = []
    looks = 0
    ended = threading.Event()

    def look() -> None:
        nonlocal looks
        from vcf_pipeline.stages.query import query_variants

        try:
            with Control(load_settings({}, home=home)) as control:
                while not ended.wait(pause_s):
                    result = query_variants(
                        VariantQuery(limit=1),
                        tenant=tenant,
                        tables=control.tables,
                        ledger=control.ledger,
                        store=control.lancedb,
                    )
                    looks += 1
                    if result.total not in (0, alleles):
                        seen.append(f"{result.total} of {alleles} rows")
        except Exception as error:
            seen.append(f"a reader failed: {error!r}")

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield seen
    finally:
        ended.set()
        looker.join(timeout=30)
    assert looks > 20, "a reader that hardly looked has seen nothing"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, trio: Path) -> Undisturbed:
    """What a run gives that nobody kills, how long it takes, and how many alleles."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    began = time.monotonic()
    record = vcf_pipeline(home, "run", trio, "--json").records[0]
    return everything(home), time.monotonic() - began, record["alleles"]


def holders_that_keep_others_waiting(home: Path) -> list[str]:
    """Leases and Dagster runs that look held by a process which may still live: what a retry would wait for."""
    kept = []
    for database, query in (
        (home / "ledger.sqlite", "SELECT holder FROM leases WHERE is_held"),
        (
            home / "history" / "runs.db",
            # null for a run that never named its holder itself: `run` would wait for it for ever
            "SELECT holder.value FROM runs "
            "LEFT JOIN run_tags own ON own.run_id = runs.run_id "
            "AND own.key = 'vcf_pipeline/held_run' AND own.value = runs.run_id "
            "LEFT JOIN run_tags holder ON holder.run_id = own.run_id AND holder.key = 'vcf_pipeline/holder' "
            "WHERE runs.status IN ('STARTING', 'STARTED', 'CANCELING')",
        ),
    ):
        if not database.is_file():
            continue
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            try:
                held = connection.execute(query).fetchall()
            except sqlite3.OperationalError as not_made_yet:
                assert "no such table" in str(not_made_yet)
                continue
        kept += [str(text) for (text,) in held if text is None or not Holder.from_text(text).is_surely_gone()]
    return kept


@contextmanager
def a_run_beside(home: Path, file: Path) -> Iterator[Future[float]]:
    """Seconds of an undisturbed run that meets the same load as what is measured meanwhile."""

    def run() -> float:
        began = time.monotonic()
        vcf_pipeline(home, "run", file, "--json")
        return time.monotonic() - began

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run)


def kill_a_run_and_repeat(
    home: Path, trio: Path, undisturbed: Undisturbed, moment: float, pause_s: float = 0.0
) -> None:
    expected, seconds, alleles = undisturbed
    with reader_that_keeps_looking(home, alleles, pause_s) as half_states:
        process = start(home, "run", trio, "--json")
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment * seconds)
        kill_group(process)
        assert holders_that_keep_others_waiting(home) == []
        with a_run_beside(home.with_name(f"{home.name}-beside"), trio) as beside:
            began = time.monotonic()
            (repeated,) = vcf_pipeline(home, "run", trio, "--json").records
            took = time.monotonic() - began
    assert repeated["attached"] is False
    limit = beside.result() + AT_ONCE_SECONDS
    assert took <= limit, f"the retry waited: {took:.1f} s, undisturbed beside it {beside.result():.1f} s"
    assert everything(home) == expected
    assert half_states == []


@pytest.mark.parametrize("moment", [0.5, 0.9])
def test_a_killed_run_is_repeated_at_once_and_gives_the_same(
    moment: float, home: Path, trio: Path, undisturbed: Undisturbed
) -> None:
    kill_a_run_and_repeat(home, trio, undisturbed, moment, BLINK_SECONDS)


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_twenty_runs_killed_at_random_moments_give_the_same(
    tmp_path: Path, trio: Path, undisturbed: Undisturbed
) -> None:
    moments = random.Random(SEED)
    for number in range(20):
        kill_a_run_and_repeat(tmp_path / f"home-{number}", trio, undisturbed, moments.uniform(0.1, 1.0))


def pid_of_the_run(home: Path, partition: str) -> int:
    """The process that executes the daemon's run of this partition, once the run has said which it is."""

    def look() -> int | None:
        with closing(sqlite3.connect(f"file:{home / 'history' / 'runs.db'}?mode=ro", uri=True)) as runs:
            row = runs.execute(
                "SELECT tag.value FROM runs JOIN run_tags tag ON tag.run_id = runs.run_id "
                "WHERE runs.partition = ? AND runs.status = 'STARTED' AND tag.key = 'vcf_pipeline/holder'",
                [partition],
            ).fetchone()
        return Holder.from_text(row[0]).pid if row else None

    return int(wait_until(look, "a run that the daemon started"))


def has_nothing_left_to_run(home: Path, partition: str) -> bool:
    """Whether every run of the partition has ended, and those that the daemon was to repeat have been repeated."""
    with closing(sqlite3.connect(f"file:{home / 'history' / 'runs.db'}?mode=ro", uri=True)) as runs:
        found = runs.execute(
            "SELECT runs.status, wanted.value, given.run_id FROM runs "
            "LEFT JOIN run_tags wanted ON wanted.run_id = runs.run_id AND wanted.key = 'dagster/will_retry' "
            "LEFT JOIN run_tags given ON given.run_id = runs.run_id AND given.key = 'dagster/auto_retry_run_id' "
            "WHERE runs.partition = ?",
            [partition],
        ).fetchall()
    return all(
        status in ("SUCCESS", "FAILURE", "CANCELED") and (wanted != "true" or given is not None)
        for status, wanted, given in found
    )


# A dead run is noticed within 5 s, its successor dequeued within 1 s and started within some seconds; one that waited
# for the dead one's lease would take 15 s more.
DAEMON_AT_ONCE_SECONDS = 25.0


def kill_the_daemons_run_and_wait(
    daemon: Running, file: Path, tenant: str, undisturbed: Undisturbed, after_s: float, pause_s: float = 0.0
) -> tuple[bool, float]:
    """Whether the run was still going on when the kill came, so many seconds into it; those of a whole run beside."""
    expected, _, alleles = undisturbed

    def done() -> bool:
        return list(states(daemon.home, tenant).values()) == ["done"]

    with reader_that_keeps_looking(daemon.home, alleles, pause_s, tenant) as half_states:
        published = vcf_pipeline(daemon.home, "publish", file, "--tenant", tenant, "--json").records[0]
        pid = pid_of_the_run(daemon.home, published["partition"])
        time.sleep(after_s)  # the moment is what is drawn at random, nothing is waited for
        was_alive = not done()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with a_run_beside(daemon.home.with_name(f"beside-{tenant}"), file) as beside:
            began = time.monotonic()
            wait_until(done, f"the callset of {tenant} done by another run; see {daemon.log}")
            took = time.monotonic() - began
    limit = beside.result() + DAEMON_AT_ONCE_SECONDS
    assert took <= limit, f"another run took {took:.1f} s, undisturbed beside it {beside.result():.1f} s"
    # a kill between the callset's end and its run's leaves a run that is repeated all the same
    wait_until(lambda: has_nothing_left_to_run(daemon.home, published["partition"]), f"runs ended; see {daemon.log}")
    assert everything(daemon.home, tenant) == expected
    assert half_states == []
    return was_alive, beside.result()


def test_a_killed_run_of_the_daemon_is_done_by_another(daemon: Running, trio: Path, undisturbed: Undisturbed) -> None:
    was_alive, _ = kill_the_daemons_run_and_wait(daemon, trio, "killed", undisturbed, 0.0, BLINK_SECONDS)
    assert was_alive


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_twenty_runs_of_the_daemon_killed_at_random_moments_give_the_same(
    daemon: Running, trio: Path, undisturbed: Undisturbed
) -> None:
    moments = random.Random(SEED)
    hits = tries = 0
    seconds = undisturbed[1]  # of the last run beside, since the machine may be busier or less so by now
    while hits < 20:  # a run that was done before its moment came is no kill
        tries += 1
        assert tries <= 60, f"only {hits} of {tries} kills came before the run's end"
        after_s = moments.uniform(0.0, 0.4) * seconds
        is_hit, seconds = kill_the_daemons_run_and_wait(daemon, trio, f"killed-{tries}", undisturbed, after_s)
        hits += is_hit
