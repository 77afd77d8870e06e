"""One daemon for all journeys that need one, and scratch homes for the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vcf_pipeline_tests.programs import ROOT, dagster_daemon, vcf_pipeline, wait_until

TRIO = "scout__643594.clinical.vcf.gz"
CLINVAR = "slivar__clinvar_20191007.vcf.gz"


@dataclass(frozen=True)
class Running:
    """A home with a daemon at work in it."""

    home: Path
    log: Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real dagster-daemon with its sensors running. Tests share it, so each uses a file or tenant of its own."""
    folder = tmp_path_factory.mktemp("daemon")
    running = Running(folder / "home", folder / "daemon.log")
    with dagster_daemon(running.home, running.log) as process:

        def ready() -> bool:
            assert process.poll() is None, running.log.read_text()[-4000:]
            return vcf_pipeline(running.home, "doctor", "--json", check=False).out.find('"daemon"') >= 0

        wait_until(ready, "a daemon that doctor sees")
        yield running


@pytest.fixture(scope="session")
def trio() -> Path:
    return ROOT / "vcf_pipeline_tests" / "data" / TRIO


@pytest.fixture(scope="session")
def clinvar() -> Path:
    return ROOT / "vcf_pipeline_tests" / "data" / CLINVAR
