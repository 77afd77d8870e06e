"""Memory does not grow with the file: parse, publish and the whole `run`, each in a process of its own.

Peak RSS is the child's own, asked of the kernel when it has ended. The file is a real one's records, repeated.
"""

from __future__ import annotations

import gzip
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from vcf_pipeline_tests.programs import BIN, environment, vcf_pipeline
from vcf_pipeline_tests.vcf_text import bgzf

MEGABYTE = 1 << 20
RUN_LIMIT = 1536 * MEGABYTE
ALLOWED_SHARE, ALLOWED_BYTES = 0.10, 60 * MEGABYTE

PARSE = """
import sys, vcf_pipeline
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.stages.parse import parse_callset
settings = vcf_pipeline.ReaderSettings()
with vcf_pipeline.open() as control:
    callset, _ = vcf_pipeline.register_callset(
        sys.argv[1], tenant="default", label=None, settings=settings, ledger=control.ledger, new_id=vcf_pipeline.new_id
    )
    with control.ledger.lease(f"parsed_variants/{callset.key}", wait_seconds=1) as lease:
        with open_reader(sys.argv[1], settings) as source:
            parse_callset(source, callset=callset, tables=control.tables, ledger_lease=lease)
"""
# Linux counts in a process's peak what its parent held when it was forked: so a small one starts it.
WATCH = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as report:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, file=report)
"""
PROGRAMS: dict[str, list[str | Path]] = {
    "parse": [BIN / "python", "-c", PARSE],
    "publish": [BIN / "vcf-pipeline", "publish", "--json"],
    "run": [BIN / "vcf-pipeline", "run", "--json"],
}


def repeated(source: Path, target: Path, n_records: int) -> Path:
    """The source's header, and its records until there are so many."""
    lines = gzip.decompress(source.read_bytes()).splitlines(keepends=True)
    header = [line for line in lines if line.startswith(b"#")]
    body = lines[len(header) :]
    times, rest = divmod(n_records, len(body))
    target.write_bytes(bgzf(b"".join(header) + b"".join(body) * times + b"".join(body[:rest])))
    return target


def peak_rss(command: Sequence[str | Path], home: Path) -> int:
    """Bytes, of one fresh process with a fresh home that ends well."""
    log, report = home.with_suffix(".log"), home.with_suffix(".report")
    with log.open("wb") as sink:
        subprocess.run(
            [sys.executable, "-S", "-c", WATCH, report, *command],
            env=environment(home),
            cwd=home.parent,
            stdout=sink,
            stderr=sink,
            check=True,
        )
    code, peak = map(int, report.read_text().split())
    assert code == 0, log.read_text()
    # kilobytes on Linux, bytes on macOS
    return peak * (1 if os.uname().sysname == "Darwin" else 1024)


def peak_of(program: str, file: Path, home: Path) -> int:
    return peak_rss([*PROGRAMS[program], file], home)


def median_peak(program: str, file: Path, scratch: Path, times: int) -> int:
    return int(
        statistics.median(peak_of(program, file, scratch / f"{program}-{file.stem}-{turn}") for turn in range(times))
    )


def is_flat(small: int, large: int) -> bool:
    return large <= max(small * (1 + ALLOWED_SHARE), small + ALLOWED_BYTES)


def test_a_peak_is_the_programs_own_however_much_the_one_that_measures_holds(tmp_path: Path) -> None:
    held = bytearray(b"x") * (400 * MEGABYTE)
    small = peak_rss([BIN / "python", "-c", "pass"], tmp_path / "small")
    large = peak_rss([BIN / "python", "-c", f"bytearray(b'x') * {200 * MEGABYTE}"], tmp_path / "large")
    assert small < 100 * MEGABYTE < 200 * MEGABYTE <= large < len(held)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> tuple[Path, Path]:
    """100,000 and 1,000,000 records; the kernels that they need are compiled."""
    folder = tmp_path_factory.mktemp("files")
    source = corpus / "large" / "hap.py__hc.vcf.gz"
    small = repeated(source, folder / "small.vcf.gz", 100_000)
    vcf_pipeline(folder / "warm", "run", small)
    return small, repeated(source, folder / "large.vcf.gz", 1_000_000)


@pytest.mark.acceptance
@pytest.mark.parametrize("program", ["parse", "publish"])
def test_a_million_records_need_no_more_memory_than_a_tenth_of_them(
    program: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    small, large = (median_peak(program, file, tmp_path, 3) for file in files)
    assert is_flat(small, large), f"{small / MEGABYTE:.0f} MB, then {large / MEGABYTE:.0f} MB"


@pytest.mark.acceptance
def test_a_run_of_a_million_records_stays_within_its_limit(files: tuple[Path, Path], tmp_path: Path) -> None:
    peak = median_peak("run", files[1], tmp_path, 3)
    assert peak <= RUN_LIMIT, f"{peak / MEGABYTE:.0f} MB"


def test_publishing_ten_times_as_much_needs_no_more_memory(data: Path, tmp_path: Path) -> None:
    source = data / "scout__643594.clinical.vcf.gz"
    few = repeated(source, tmp_path / "few.vcf.gz", 6_800)
    many = repeated(source, tmp_path / "many.vcf.gz", 68_000)
    small, large = (peak_of("publish", file, tmp_path / f"home-{file.stem}") for file in (few, many))
    assert is_flat(small, large), f"{small / MEGABYTE:.0f} MB, then {large / MEGABYTE:.0f} MB"
