"""`report` on the command line: where the page goes, and what it does not replace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline_tests.stages.lab import Lab, claim
from vcf_pipeline_tests.vcf_text import record


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    """A callset of one allele that its own INFO calls pathogenic."""
    home.mkdir()
    made = Lab(home)
    callset = made.parse(made.clinvar("patient.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    made.triage(callset.key)
    yield made
    made.close()


def test_a_page_is_written_and_written_again(cli, lab, tmp_path):
    path = tmp_path / "report.html"
    done = cli("report", "patient", "-o", path)
    assert done.code == 0
    assert "tiers  1: 1" in done.out
    assert "nothing is explained in it yet" in done.err
    assert "yours to guard" in done.err
    page = path.read_text()
    assert page.startswith("<!doctype html>")
    assert "Not a diagnosis." in page
    told = json.loads(cli("report", "patient", "-o", path, "--json").out)
    assert (told["path"], told["tiers"]["1"], told["shown"]) == (str(path), 1, 1)
    assert cli("report", "patient", "-o", "-").out.startswith("<!doctype html>")


def test_the_page_of_a_real_trio_shows_what_clinvar_claims_of_it_and_what_that_moved(cli, home, data, tmp_path):
    home.mkdir()
    made = Lab(home)
    callset = made.parse(data / "slivar__ashk-trio.vcf.gz")
    made.triage(callset.key)
    made.add("clinvar", data / "macarthur__clinvar_201803.vcf.gz")
    made.triage(callset.key)
    made.close()
    assert cli("report", "slivar__ashk-trio", "-o", tmp_path / "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert "clinvar (21 alleles known to it)" in page
    assert "6 moves since the first triage" in page
    assert "11 alleles of which something else is claimed since" in page
    (moved,) = [line for line in page.splitlines() if ">1-977570-G-A<" in line]
    assert "4 → <b>3</b>" in moved
    assert "clinvar CLNSIG=Benign" in moved
    assert "known for 0 of 9,940 alleles: register gnomAD" in page


def test_another_file_is_not_replaced_unless_told_so(cli, lab, tmp_path):
    path = tmp_path / "thesis.html"
    path.write_text("ten years of work")
    assert cli("report", "patient", "-o", path).code == 2
    assert path.read_text() == "ten years of work"
    assert cli("report", "patient", "-o", path, "--force").code == 0
    for words in (["-o", tmp_path], ["-o", tmp_path / "no" / "where.html"], ["-o", "-", "--json"]):
        assert cli("report", "patient", *words).code == 2
    assert cli("report", "nobody").code == 2
