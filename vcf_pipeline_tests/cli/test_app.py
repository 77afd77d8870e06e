"""Verbs, their options and how each failure leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vcf_pipeline.cli.app import VERBS, describe
from vcf_pipeline.domain.errors import LeaseHeld
from vcf_pipeline_tests.cli.conftest import Cli

HEAVY = {"dagster", "polars", "pyarrow", "sqlalchemy", "lancedb", "kuzu", "numba", "cyvcf2"}


def test_help_imports_nothing_heavy() -> None:
    listing = (
        "import sys; from vcf_pipeline.cli.app import main; code = main(['--help']); "
        "print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    assert all(verb in done.stdout for verb in VERBS)
    assert HEAVY & set(done.stderr.split()) == set()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_in_words(cli: Cli, verb: str) -> None:
    ended = cli(verb, "--help")
    assert ended.code == 0
    assert f"Usage: vcf-pipeline {verb}" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize(
    "words",
    [["runn", "x.vcf"], ["run"], ["run", "x.vcf", "--engine", "other"], ["run", "a", "b", "--label", "one"]],
    ids=["unknown verb", "no file", "unknown engine", "one label for two files"],
)
def test_a_wrong_call_is_one_line_and_exit_2(cli: Cli, words: list[str], home: Path) -> None:
    ended = cli(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert not home.exists()


@pytest.mark.parametrize(
    "words", [["--tenant", "lab-b", "doctor", "--json"], ["doctor", "--json", "--tenant", "lab-b"]]
)
def test_options_of_every_verb_stand_before_or_after_it(cli: Cli, words: list[str]) -> None:
    (record,) = cli(*words).records
    assert record["settings"]["VCF_PIPELINE_TENANT"] == "lab-b"


def test_a_relative_home_is_taken_from_the_current_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (record,) = cli("doctor", "--json", "--home", "here").records
    assert record["settings"]["VCF_PIPELINE_HOME"] == str(tmp_path / "here")


def test_our_own_errors_speak_for_themselves() -> None:
    error = LeaseHeld(where="lancedb", expected="a free lease", got="one held by pid 7", repair="Wait.")
    assert describe(error) == "lancedb: expected a free lease, got one held by pid 7 (LEASE_HELD). Wait."


def test_an_unexpected_error_says_that_it_is_a_bug() -> None:
    assert "ZeroDivisionError: by zero. This is a bug" in describe(ZeroDivisionError("by zero"))
