"""What goes wrong in the child is told as one of our errors, and never waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcf_pipeline.adapters.vcf_files.bcftools_csq import bcftools_is_installed, run_csq
from vcf_pipeline.domain.errors import EngineStopped


def ask(folder: Path, seconds: int = 60) -> None:
    run_csq(folder / "s.vcf", fasta=folder / "r.fa", gff=folder / "g.gff3", output=folder / "o.vcf", seconds=seconds)


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "bcftools"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_a_machine_without_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not bcftools_is_installed()
    with pytest.raises(EngineStopped, match="apt-get install bcftools") as caught:
        ask(tmp_path)
    assert caught.value.code == "BCFTOOLS_MISSING"


def test_its_own_words_are_passed_on_in_one_line(tmp_path, monkeypatch):
    program(tmp_path, "echo 'the fasta reference' >&2; echo 'does not match' >&2; exit 255\n", monkeypatch)
    with pytest.raises(EngineStopped, match="255: the fasta reference does not match") as caught:
        ask(tmp_path)
    assert caught.value.code == "BCFTOOLS_FAILED"


def test_one_that_hangs_is_ended(tmp_path, monkeypatch):
    program(tmp_path, "exec sleep 60\n", monkeypatch)
    with pytest.raises(EngineStopped) as caught:
        ask(tmp_path, seconds=1)
    assert caught.value.code == "BCFTOOLS_TOO_SLOW"


def test_names_of_files_are_no_words_of_a_shell(tmp_path, monkeypatch):
    folder = tmp_path / "a; touch owned"
    folder.mkdir()
    program(tmp_path, 'printf "%s\\n" "$@" > ' + f'"{tmp_path}/words"\n', monkeypatch)
    ask(folder)
    words = (tmp_path / "words").read_text().splitlines()
    assert str(folder / "s.vcf") in words
    assert not (tmp_path / "owned").exists()
