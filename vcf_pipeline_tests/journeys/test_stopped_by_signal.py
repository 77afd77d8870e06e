"""Ctrl-C and SIGTERM in the middle of `run` and of `publish`: exit 130, what was kept, the command that goes on."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.programs import kill_group, start, vcf_pipeline, wait_until

HEADER = "##fileformat=VCFv4.2\n##contig=<ID=1,length=99999999>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
RECORDS = 400_000


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough that a signal meets it in the middle."""
    path = tmp_path_factory.mktemp("long") / "long.vcf"
    with path.open("w") as file:
        file.write(HEADER)
        file.writelines(f"1\t{pos}\t.\tA\tC\t50\tPASS\t.\n" for pos in range(1, RECORDS + 1))
    return path


def _has_parts(home: Path) -> bool:
    return any((home / "data").rglob("*.parquet"))


def _has_chunks(home: Path) -> bool:
    """Whether a chunk lies in the embedded log."""
    return any(path.stat().st_size > 100_000 for path in (home / "log").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("verb", "is_underway", "number", "left"),
    [("run", _has_parts, signal.SIGINT, ["registered"]), ("publish", _has_chunks, signal.SIGTERM, [])],
)
def test_a_stopped_command_says_what_was_kept_and_its_repeat_goes_on(
    tmp_path: Path,
    long_file: Path,
    verb: str,
    is_underway: Callable[[Path], bool],
    number: signal.Signals,
    left: list[str],
) -> None:
    home = tmp_path / "home"
    process = start(home, verb, long_file, "--json")
    try:
        wait_until(lambda: is_underway(home) or process.poll() is not None, f"{verb} under way")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        kill_group(process)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    (said,) = [line for line in err.splitlines() if line.startswith("stopped: kept")]
    with Control(load_settings({}, home=home)) as control:
        assert [callset.state for callset in control.ledger.callsets()] == left
    command = shlex.split(said.split("Goes on with: ")[1])
    assert command[0] == "vcf-pipeline"
    (record,) = vcf_pipeline(home, *command[1:]).records
    assert record["records"] == RECORDS
    assert record["digest"].startswith("d1:")
