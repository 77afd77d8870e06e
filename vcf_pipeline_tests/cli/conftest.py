"""The command line in this process: what it wrote, and how it ended. Nothing of the person's own settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vcf_pipeline.cli.app import main
from vcf_pipeline_tests.programs import Ended

Cli = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name == "DAGSTER_HOME" or (name.startswith("VCF_PIPELINE_") and "_TEST_" not in name):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("VCF_PIPELINE_HOME", str(folder))
    return folder


@pytest.fixture
def cli(home: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*words: str | Path) -> Ended:
        capfd.readouterr()
        code = main([str(word) for word in words])
        written = capfd.readouterr()
        return Ended(code, written.out, written.err)

    yield call
    for number, handler in kept.items():
        signal.signal(number, handler)
