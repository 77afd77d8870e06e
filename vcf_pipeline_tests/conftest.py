"""Fixtures of several folders, and a header that says what is reachable."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from vcf_pipeline_tests.adapters.broker.real_brokers import Between, real_broker

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
    """With several workers: what shares the daemon or a broker runs on one of them, a journey's file stays together."""
    for item in items:
        if "daemon" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("daemon"))
        elif {"real", "kafka_server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("real-brokers"))
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


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Between]]:
    """A broker by name, `iggy` and `kafka` real ones, started when first asked for and shared by all tests of a
    worker, each with a prefix of its own: who kills one leaves it running. Skips with what is missing.
    """
    started: dict[str, Between] = {"embedded": Between("embedded", {}, None)}
    numbers = itertools.count()
    with ExitStack() as stack:

        def broker(name: str) -> Between:
            if name not in started:
                started[name] = stack.enter_context(real_broker(name, tmp_path_factory.mktemp(name)))
            prefix = {"VCF_PIPELINE_STREAM__PREFIX": f"apart-{os.getpid()}-{next(numbers)}"}
            return replace(started[name], settings=started[name].settings | prefix)

        yield broker
