"""assembly.py: lengths first, then names; a reason a person can check."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.vcf.assembly import has_old_chrm, recognise_assembly
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline_tests.vcf_text import header_text


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("##contig=<ID=1,length=249250621>", "GRCh37"),
        ("##contig=<ID=chr1,length=248956422>", "GRCh38"),
        ("##contig=<ID=chrX,length=154259566>", "T2T-CHM13"),
        ("##contig=<ID=1,assembly=b37>", "GRCh37"),
        ("##reference=file:///refs/hg38.fa", "GRCh38"),
        ("##reference=file:///refs/human_g1k_v37.fasta", "GRCh37"),
        ('##VEP="v110" assembly="GRCh38.p14"', "GRCh38"),
        ("##reference=file:///refs/mouse.fa", None),
    ],
)
def test_the_header_says_which_assembly_it_is(line: str, name: str | None) -> None:
    found = recognise_assembly(parse_header(header_text(lines=(line,))), None)
    assert found.name == name
    assert found.reason


def test_lengths_decide_against_a_hint_of_another_name() -> None:
    lines = ("##reference=hg19.fa", "##contig=<ID=chr2,length=242193529>")
    assert recognise_assembly(parse_header(header_text(lines=lines)), None).name == "GRCh38"


def test_lengths_that_disagree_decide_nothing() -> None:
    lines = ("##contig=<ID=1,length=249250621>", "##contig=<ID=2,length=242193529>")
    found = recognise_assembly(parse_header(header_text(lines=lines)), None)
    assert found.name is None
    assert "disagree" in found.reason


@pytest.mark.parametrize(("given", "name"), [("hg19", "GRCh37"), ("GRCh38", "GRCh38"), ("mm10", "mm10")])
def test_what_was_given_holds(given: str, name: str) -> None:
    header = parse_header(header_text(lines=("##contig=<ID=1,length=248387328>",)))
    assert recognise_assembly(header, given).name == name


def test_hg19s_own_mitochondrion_is_told_from_rcrs() -> None:
    assert has_old_chrm(parse_header(header_text(lines=("##contig=<ID=chrM,length=16571>",))))
    assert not has_old_chrm(parse_header(header_text(lines=("##contig=<ID=chrM,length=16569>",))))
