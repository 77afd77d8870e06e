"""Fixtures of several folders, and a header that says what is reachable."""

from __future__ import annotations

import gc
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
DAEMON, REAL_BROKERS = "daemon", "real-brokers"
_ENDS = pytest.StashKey[dict[str, ExitStack]]()


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
    """With several workers: what shares the daemon or a broker runs on one of them, a journey's file stays together.
    With any number: those that share stand together.
    """
    first: dict[str, int] = {}
    places: dict[pytest.Item, int] = {}
    for place, item in enumerate(items):
        if "daemon" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(DAEMON))
        elif {"real", "kafka_server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(REAL_BROKERS))
        elif item.path.parent.name == "journeys":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        group = _group(item)
        places[item] = first.setdefault(group, place) if group in (DAEMON, REAL_BROKERS) else place
    items.sort(key=lambda item: places[item])


def pytest_collection_finish() -> None:
    """What is imported and collected stays to the end: looking through all of it for garbage again and again is a
    twentieth of the time.
    """
    gc.collect()
    gc.freeze()


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return "" if marker is None else str(marker.args[0])


def until_its_group_ends(config: pytest.Config, group: str) -> ExitStack:
    """What is entered here ends behind the last test of the group, which stand together: a daemon or a broker that
    waits for the end of all tests takes its share of the cores from them.
    """
    return config.stash.setdefault(_ENDS, {}).setdefault(group, ExitStack())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    try:
        return (yield)
    finally:
        group = _group(item)
        if nextitem is None or _group(nextitem) != group:
            item.config.stash.get(_ENDS, {}).pop(group, ExitStack()).close()


def pytest_unconfigure(config: pytest.Config) -> None:
    for ends in config.stash.get(_ENDS, {}).values():
        ends.close()


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
def real(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Callable[[str], Between]:
    """A broker by name, `iggy` and `kafka` real ones, started when first asked for and shared by all tests of a
    worker, each with a prefix of its own: who kills one leaves it running. Skips with what is missing.
    """
    embedded = Between("embedded", {}, None)
    started: dict[str, Between] = {}
    numbers = itertools.count()

    def broker(name: str) -> Between:
        if name != "embedded" and name not in started:
            ends = until_its_group_ends(pytestconfig, REAL_BROKERS)
            started[name] = ends.enter_context(real_broker(name, tmp_path_factory.mktemp(name)))
            ends.callback(started.pop, name)
        prefix = {"VCF_PIPELINE_STREAM__PREFIX": f"apart-{os.getpid()}-{next(numbers)}"}
        one = started.get(name, embedded)
        return replace(one, settings=one.settings | prefix)

    return broker
