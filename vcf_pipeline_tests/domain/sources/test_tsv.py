"""A table of alleles is read by the rules of a VCF's alleles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import BadSetting, DefectFound
from vcf_pipeline.domain.sources.tsv import TsvReader
from vcf_pipeline_tests.vcf_text import column, record

HEAD = "#CHROM\tPOS\tREF\tALT\tscore\tline_no"


def read(*lines: str, fields: tuple[str, ...] = ("score",), head: str = HEAD):
    return TsvReader(head, fields, "table.tsv").alleles("".join(lines).encode(), 2)


def test_alleles_have_the_keys_that_a_vcf_gives_them():
    variants, texts, rejects = read("chr7\t100\tca\tc,cat\t0.5\tx\n", "MT\t7\tA\tG\t.\ty\n")
    assert variants["variant_key"].to_list() == ["7-100-CA-C", "7-101-A-AT", "M-7-A-G"]
    assert texts.rows() == [(0, "0.5"), (1, None)]
    assert rejects.height == 0
    assert column("variant_key", record("C,CAT", pos=100, ref="CA", contig="7")) == ["7-100-CA-C", "7-101-A-AT"]


def test_columns_may_be_called_anything_and_come_in_any_order():
    head = "record_no\talternate\tReference\tPosition\tChromosome"
    variants, texts, _ = read("9\tG\tA\t7\tchrX\n", fields=("record_no",), head=head)
    assert variants["variant_key"].to_list() == ["X-7-A-G"]
    assert texts["info_record_no"].to_list() == ["9"]


def test_an_allele_that_is_none_is_set_aside_with_its_line():
    variants, _, rejects = read("7\t5\tA\tG\t1\tx\n", "7\tfive\tA\tG\t1\tx\n", "7\t6\tA\t?\t1\tx\n")
    assert variants.height == 1
    assert rejects["line"].to_list() == [3, 4]


@pytest.mark.parametrize(
    ("head", "missing"), [("chrom\tpos\tref", "alt"), (HEAD.replace("score", "s"), "score"), ("", "contig")]
)
def test_a_header_without_a_column_is_refused_with_its_name(head, missing):
    with pytest.raises(BadSetting, match=missing):
        read(head=head)


def test_another_number_of_columns_is_refused_with_its_line():
    with pytest.raises(DefectFound, match="line 3") as caught:
        read("7\t5\tA\tG\t1\tx\n", "7\t6\tA\tG\n")
    assert caught.value.line == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=6, max_size=6))
def test_any_line_gives_an_allele_a_reject_or_a_defect(cells):
    try:
        variants, texts, rejects = read("\t".join(cells) + "\n")
    except DefectFound as defect:
        assert defect.line >= 2
    else:
        assert variants["record_no"].n_unique() + rejects["record_no"].n_unique() == texts.height
