"""One daemon for all journeys that need one, and scratch homes for the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from vcf_pipeline_tests.conftest import DAEMON, until_its_group_ends
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
def daemon(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Running:
    """The real dagster-daemon with its sensors running. Tests share it, so each uses a file or tenant of its own."""
    folder = tmp_path_factory.mktemp("daemon")
    running = Running(folder / "home", folder / "daemon.log")
    ends = until_its_group_ends(pytestconfig, DAEMON)
    process = ends.enter_context(dagster_daemon(running.home, running.log))

    def ready() -> bool:
        assert process.poll() is None, running.log.read_text()[-4000:]
        return vcf_pipeline(running.home, "doctor", "--json", check=False).out.find('"daemon"') >= 0

    wait_until(ready, "a daemon that doctor sees")
    return running


@pytest.fixture(scope="session")
def trio() -> Path:
    return ROOT / "vcf_pipeline_tests" / "data" / TRIO


@pytest.fixture(scope="session")
def clinvar() -> Path:
    return ROOT / "vcf_pipeline_tests" / "data" / CLINVAR
