"""`make dev` ends with everything that it started, wherever it was started from."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from vcf_pipeline_tests.programs import BIN, ROOT, environment, wait_until


@pytest.mark.acceptance
@pytest.mark.parametrize("started", ["in a terminal", "in the background"])
def test_make_dev_leaves_no_process_when_make_alone_is_terminated(tmp_path: Path, started: str) -> None:
    log = tmp_path / "dev.log"
    # what a shell without job control does for a command with `&`; the child inherits it
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if started == "in the background" else None
    with log.open("wb") as sink:
        make = subprocess.Popen(
            ["make", "-o", ".venv/installed", "-o", "setup", f"BIN={BIN}", "dev"],
            cwd=ROOT,
            env=environment(tmp_path / "home"),
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    if handler is not None:
        signal.signal(signal.SIGINT, handler)

    def alive() -> list[int]:
        return [process.pid for process in psutil.process_iter() if _session(process.pid) == make.pid]

    try:
        wait_until(lambda: "callset_sensor" in log.read_text() or make.poll() is not None, "the daemon's first tick")
        assert len(alive()) >= 4, log.read_text()
        make.terminate()
        wait_until(lambda: make.poll() is not None and not alive(), "the end of all of them")
    finally:
        for pid in alive():
            os.kill(pid, signal.SIGKILL)
        make.wait()
    assert "Dagster services shut down." in log.read_text()


def _session(pid: int) -> int | None:
    """The session that a process belongs to; None for one that is gone."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
