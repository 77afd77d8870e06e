"""Progress where stderr is no terminal, and what is said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcf_pipeline.cli import meter as meter_file
from vcf_pipeline.cli.meter import Meter, kernels_cached


def test_a_short_run_says_nothing_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("trio") as meter:
        meter.show("parse", 5, 10, "bytes", 3)
    assert capsys.readouterr().err == ""


def test_a_long_run_says_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_file, "PLAIN_EVERY_SECONDS", 0.0)
    with Meter("tr\x1bio") as meter:
        meter.show("parse", 500_000, 1_000_000, "bytes", 1234)
        meter.show("triage", 0, 0, "alleles")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "tr\\x1bio: parse  50%, 1,234 records, 0 s"
    assert second == "tr\\x1bio: triage 0 alleles, 0 s"


def test_a_holder_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter("trio")
    for holder in ("run 1", "run 1", "run 2"):
        meter.waiting(holder)
    assert capsys.readouterr().err.splitlines() == ["trio: waiting for run 1", "trio: waiting for run 2"]


def test_kernels_are_cached_when_the_tokeniser_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cache = tmp_path / "domain" / "vcf" / "__pycache__"
    cache.mkdir(parents=True)
    assert not kernels_cached(tmp_path)
    (cache / "tokens.find_lines-24.py311.nbi").write_bytes(b"")
    assert kernels_cached(tmp_path)
