"""Runs our programs as a person would: as processes of their own, with a scratch home, and ends them by force.

Not here: what is asserted of them (journeys/).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from io import StringIO
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from pytest import MonkeyPatch

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# A step that takes longer than this on two busy cores is stuck.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Ended:
    """A program that ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """stdout of --json: one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(home: Path, **more: str) -> dict[str, str]:
    """The caller's, without any setting of ours but this home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DAGSTER_HOME" and not (name.startswith("VCF_PIPELINE_") and "_TEST_" not in name)
    }
    return {**kept, "VCF_PIPELINE_HOME": str(home), **more}


def vcf_pipeline(
    home: Path,
    *words: str | Path,
    check: bool = True,
    patience: float = PATIENCE_SECONDS,
    cwd: Path | None = None,
    **more: str,
) -> Ended:
    """One command to its end; an unexpected exit code shows all it said.

    patience: seconds. cwd: where it is typed, else beside the home. more: its environment.
    """
    done = subprocess.run(
        [BIN / "vcf-pipeline", *map(str, words)],
        env=environment(home, **more),
        cwd=cwd or home.parent,
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert not check or ended.code == 0, f"{words} ended with {ended.code}\n{ended.out}\n{ended.err}"
    return ended


def answered(home: Path, *words: str | Path) -> list[dict[str, Any]]:
    """What a verb that reads prints with --json, asked in this process.

    A new interpreter for each question takes seconds from the cores on which a daemon is watched.
    """
    from vcf_pipeline.cli.app import main

    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, err = StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err), MonkeyPatch.context() as patch:
            for name in os.environ.keys() - environment(home).keys():
                patch.delenv(name)
            patch.setenv("VCF_PIPELINE_HOME", str(home))
            code = main([*map(str, words), "--json"])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert code == 0, f"{words} ended with {code}\n{out.getvalue()}\n{err.getvalue()}"
    return Ended(code, out.getvalue(), err.getvalue()).records


@cache
def children() -> ForkServerContext:
    """Processes of a test's own that begin with our modules loaded: each would take a second and a half to import them.

    They are forked off a server that has imported them and done nothing, so that no thread of a library is missing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vcf_pipeline_tests.stages.made_control", "vcf_pipeline.stages.load_annotations"])
    return context


def start(home: Path, *words: str | Path, **more: str) -> subprocess.Popen[str]:
    """One command, left running, in a process group of its own."""
    return subprocess.Popen(
        [BIN / "vcf-pipeline", *map(str, words)],
        env=environment(home, **more),
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[Any]) -> None:
    """kill -9 of the process and all it started; waits until it is gone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        process.wait(timeout=PATIENCE_SECONDS)


def wait_until(is_so: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true answer; fails with `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = is_so()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}")


def dagster_exports(home: Path) -> dict[str, str]:
    """What `eval "$(vcf-pipeline env)"` exports for Dagster's own commands."""
    lines = vcf_pipeline(home, "env").out.splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    return {name: value.strip("'\"") for name, value in exported.items()}


def dagster_daemon(home: Path, log: Path, **more: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The real daemon on the real workspace, with more settings; ended with everything it started."""
    return dagster_program(home, log, "dagster-daemon", "run", "-w", ROOT / "workspace.yaml", **more)


@contextmanager
def dagster_program(
    home: Path, log: Path, program: str, *words: str | Path, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """One of Dagster's own programs under what `env` exports; ended with everything it started."""
    exported = dagster_exports(home)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [BIN / program, *words],
            env=environment(home, **more) | exported,
            cwd=home.parent,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
        kill_group(process)


def callsets(home: Path) -> dict[str, dict[str, Any]]:
    """By partition key, as `callsets list --json` has them."""
    return {record["partition"]: record for record in answered(home, "callsets", "list")}


def states(home: Path, tenant: str = "default") -> dict[str, str]:
    """State by partition key, from the ledger itself: to be asked often while a daemon works on the same cores."""
    from vcf_pipeline.settings import load_settings
    from vcf_pipeline.wiring import Control

    with Control(load_settings({}, home=home)) as control:
        return {str(one.key): one.state for one in control.ledger.callsets(tenant) if one.state != "forgotten"}


def is_explained(home: Path, partition: str) -> bool:
    """Whether what follows a callset of the stream has ended too: its alleles explained and loaded."""
    from vcf_pipeline.adapters.ledger.ledger import open_ledger
    from vcf_pipeline.domain.identity import PartitionKey

    ledger = open_ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    try:
        asked = ledger.analysis(PartitionKey.parse(partition))
    finally:
        ledger.close()
    return asked is not None and asked.state == "done"
