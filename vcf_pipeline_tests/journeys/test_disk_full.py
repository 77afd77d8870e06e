"""A disk that fills up in the middle: said clearly, nothing lost that was whole, and the same command goes on later.

The disk is a small tmpfs, which root can mount; elsewhere these are skipped.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.cli.conftest import Cli, cli
from vcf_pipeline_tests.programs import Ended

__all__ = ["cli"]

RECORDS = 20_000
# More than Dagster's books of a run and the ledger need, less than the tables or chunks of the file.
LEFT_BYTES = 2 << 20
HEADER = (
    '##fileformat=VCFv4.2\n##contig=<ID=1,length=999999>\n##INFO=<ID=NOISE,Number=1,Type=String,Description="">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)


class Disk:
    """A file system of a few megabytes, and the file that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, left_bytes: int) -> None:
        """Leave so many bytes to write."""
        with self._ballast.open("wb") as file:
            free = int(subprocess.check_output(["df", "--output=avail", "-B1", self.folder]).split()[-1])
            file.write(bytes(free - left_bytes))

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount`: a small disk can be made on Linux only")
    if mounted.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount a tmpfs, which root has: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def home(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCF_PIPELINE_HOME", str(disk.folder / "home"))
    monkeypatch.setenv("VCF_PIPELINE_STREAM__RECONNECT_S", "1")
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0)
    return disk.folder / "home"


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Its values do not compress to nothing."""
    noise = random.Random(4)
    path = tmp_path / "noisy.vcf"
    lines = [f"1\t{pos}\t.\tA\tC\t50\tPASS\tNOISE={noise.randbytes(150).hex()}\n" for pos in range(1, RECORDS + 1)]
    path.write_text(HEADER + "".join(lines))
    return path


def assert_says_it_is_full(ended: Ended) -> None:
    assert ended.code == StoreUnavailable.exit_code == 4
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in line or "disk is full" in line
    assert "Make room" in line or "Free space" in line


def test_a_run_on_a_full_disk_leaves_the_last_whole_version_to_readers_and_its_repeat_succeeds(
    cli: Cli, home: Path, disk: Disk, noisy: Path
) -> None:
    (first,) = cli("run", noisy, "--json").records
    disk.fill(LEFT_BYTES)
    assert_says_it_is_full(cli("run", noisy, "--json", "--force"))
    found = cli("query", "variants", "--region", "1:1-500", "--limit", "1000", "--json")
    assert len(found.records) == 500
    with Control(load_settings({}, home=home)) as control:
        (callset,) = control.ledger.callsets()
        assert control.tables.read(callset.tenant, callset.callset_id, "parsed_variants", "variants").height == RECORDS
        # whichever met the full disk last: the stage, or Dagster's books before the last try was told
        assert callset.state in ("failed", "done")
        assert not callset.is_permanent
    disk.make_room()
    (again,) = cli("run", noisy, "--json", "--force").records
    assert (again["records"], again["digest"], again["stores"]) == (RECORDS, first["digest"], first["stores"])


@pytest.mark.acceptance  # the sender tries for half a minute, since room may come
def test_a_publication_on_a_full_disk_announces_nothing_and_its_repeat_goes_on(
    cli: Cli, home: Path, disk: Disk, noisy: Path
) -> None:
    assert cli("callsets", "list").code == 0
    disk.fill(LEFT_BYTES)
    assert_says_it_is_full(cli("publish", noisy, "--json"))
    with Control(load_settings({}, home=home)) as control:
        assert control.ledger.callsets() == []
    disk.make_room()
    (published,) = cli("publish", noisy, "--json").records
    assert (published["records"], published["already_published"]) == (RECORDS, False)


def test_a_disk_without_room_for_dagsters_books_is_told_as_one(cli: Cli, home: Path, disk: Disk, noisy: Path) -> None:
    assert cli("register", noisy).code == 0
    disk.fill(80 << 10)
    ended = cli("run", noisy)
    assert ended.code == 4
    assert "bug" not in ended.err
    disk.make_room()
    assert cli("run", noisy).code == 0
