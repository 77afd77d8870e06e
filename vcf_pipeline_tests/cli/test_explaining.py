"""`run --annotate`: what a script reads, what a person sees, and that nobody pays without having been asked."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.testing.fake_providers import FakeProviders
from vcf_pipeline_tests.cli.conftest import Cli
from vcf_pipeline_tests.stages.annotating import PATHOGENIC, vcf
from vcf_pipeline_tests.vcf_text import record

SIX = {"annotated", "skipped", "failed", "cache_hits", "calls", "cost_usd"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return vcf(tmp_path, *(record("C", PATHOGENIC, pos=100 + number) for number in range(3)), name="trio.vcf")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as started:
        for name, value in started.settings("openai").items():
            monkeypatch.setenv(name, value)
        yield started


def test_a_run_without_it_explains_nothing_and_with_it_all_in_the_same_run(cli: Cli, path: Path) -> None:
    (plain,) = cli("run", path, "--json").records
    assert "annotations" not in plain
    (first,) = cli("run", path, "--annotate", "--json").records
    told = {"annotated": 3, "skipped": 0, "failed": 0, "cache_hits": 0, "calls": 0, "cost_usd": 0.0}
    assert first["annotations"] == told
    assert first["stores"] == plain["stores"]
    (again,) = cli("run", path, "--annotate", "--json").records
    assert again["reused"]
    assert again["annotations"] == told
    shown = cli("run", path, "--annotate").out
    assert "explained  3 annotated, 0 skipped, 0 failed" in shown
    assert "explanations of evidence, not a diagnosis" in shown
    assert shown.count("ClinVar lists this variant as pathogenic, with 2 review stars.") == 3


def test_doubts_about_a_call_are_shown_behind_its_explanation(cli: Cli, tmp_path: Path) -> None:
    one = vcf(tmp_path, record("C", PATHOGENIC, pos=7, filter="LowQual"), name="one.vcf")
    shown = " ".join(cli("run", one, "--annotate").out.split())
    assert "ClinVar lists this variant as pathogenic" in shown
    assert "Doubts about the call hold it in tier 2" in shown


def test_without_a_terminal_nobody_is_asked_and_the_second_run_costs_nothing(
    cli: Cli, path: Path, fake: FakeProviders
) -> None:
    (first,) = cli("run", path, "--annotate", "--json").records
    assert set(first["annotations"]) == SIX
    assert (first["annotations"]["annotated"], first["annotations"]["calls"]) == (3, 3)
    assert first["annotations"]["cost_usd"] > 0
    (again,) = cli("run", path, "--annotate", "--json").records
    assert (again["annotations"]["calls"], again["annotations"]["cost_usd"]) == (0, 0)
    assert len(fake.calls()) == 3


@pytest.mark.parametrize(("answer", "calls"), [("n", 0), ("y", 3)])
def test_at_a_terminal_the_estimate_is_shown_and_a_no_costs_nothing(
    home: Path, path: Path, fake: FakeProviders, answer: str, calls: int
) -> None:
    shown = at_a_terminal(["run", str(path), "--annotate"], answer)
    assert "3 alleles to explain" in shown
    assert "expected 3 calls, at most 18; expected cost up to 0.00" in shown
    assert "never above the budget of 5 USD a day; left today: 5.0000 USD" in shown
    assert ("nothing was asked, nothing spent" in shown) == (answer == "n")
    assert ("explained  3 annotated" in shown) == (answer == "y")
    assert len(fake.calls()) == calls


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OPENAI__MODEL", "gpt-99", "openai is not asked: UNKNOWN_PRICE, VCF_PIPELINE_OPENAI__USD_PER_MTOK_IN and"),
        ("AI__BUDGET_USD_PER_DAY", "0", "0 calls: the budget is 0, so that no model is asked"),
        ("AI__BUDGET_USD_PER_DAY", "0.000001", "0 calls: the budget of today has no room"),
    ],
)
def test_an_estimate_of_no_call_says_why(
    cli: Cli, path: Path, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    cli("run", path)
    monkeypatch.setenv(f"VCF_PIPELINE_{name}", value)
    ended = cli("annotate", "--callset", "trio", "--estimate")
    assert said in ended.out
    assert "expected" not in ended.out
    (told,) = cli("annotate", "--callset", "trio", "--estimate", "--json").records
    assert (told["calls"], told["calls_at_most"], told["reason"] is not None) == (0, 0, True)


def at_a_terminal(words: list[str], answer: str) -> str:
    """Everything that a person sees who types this answer when asked."""
    master, slave = pty.openpty()
    program = [sys.executable, "-m", "vcf_pipeline.cli.app", *words]
    child = subprocess.Popen(program, stdin=slave, stdout=slave, stderr=slave, env=dict(os.environ))
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # how a terminal says that nobody holds its other end any more
            break
        if not piece:
            break
        if b"[y/N]" not in seen and b"[y/N]" in seen + piece:
            os.write(master, f"{answer}\n".encode())
        seen += piece
    assert child.wait(timeout=60) == 0
    os.close(master)
    return seen.decode(errors="replace")


def test_a_budget_of_nothing_asks_nobody_and_promises_no_tomorrow(
    cli: Cli, path: Path, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCF_PIPELINE_AI__PROVIDERS", "openai,ollama")
    monkeypatch.setenv("VCF_PIPELINE_AI__BUDGET_USD_PER_DAY", "0")
    ended = cli("run", path, "--annotate")
    assert ended.code == 0
    assert "3 × BUDGET_SPENT: the budget is 0, so that no model is asked" in ended.out
    assert "tomorrow" not in ended.out
    assert fake.received == []
