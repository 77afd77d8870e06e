"""Fixtures of several folders, and a header that says what is reachable."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


def _corpus() -> Path | None:
    """The folder of real VCFs, when the environment names one that exists."""
    named = os.environ.get("VCF_PIPELINE_TEST_CORPUS")
    return Path(named).resolve() if named and Path(named).is_dir() else None


def pytest_report_header() -> list[str]:
    found = _corpus()
    return [
        f"corpus: {found or 'none (set VCF_PIPELINE_TEST_CORPUS to a folder of VCFs)'}",
        f"bcftools: {shutil.which('bcftools') or 'none (Debian: apt-get install bcftools)'}",
        f"chromium: {shutil.which('chromium') or 'none (Debian: apt-get install chromium)'}",
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers: what shares the daemon or a Kafka runs on one of them, a journey's file stays together."""
    for item in items:
        if "daemon" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("daemon"))
        elif "kafka_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("kafka"))
        elif item.path.parent.name == "journeys":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def corpus() -> Path:
    found = _corpus()
    if found is None:
        pytest.skip("VCF_PIPELINE_TEST_CORPUS names no folder of VCFs")
    return found


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA
