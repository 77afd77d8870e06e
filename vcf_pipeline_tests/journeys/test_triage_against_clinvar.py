"""Triage of the corpus with ClinVar's words withheld, printed against them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline_tests.benchmarks.triage_against_clinvar import (
    WORDS,
    claimed_in,
    confusion,
    judged_alleles,
    missed,
    table_text,
    told,
)

PAGE = Path(__file__).parents[2] / "docs" / "triage.md"


@pytest.mark.corpus
@pytest.mark.acceptance
def test_what_is_left_without_clinvar_is_printed_and_what_the_page_of_triage_says(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_file = claimed_in(corpus / "annotated")
    everything = pl.concat(by_file.values())
    with capsys.disabled():
        print()
        for name, alleles in by_file.items():
            print(f"{name}\n\n{table_text(confusion(alleles))}\n")
        print(f"{told(everything)}\n\n{WORDS}")
    assert len(by_file) >= 3
    found = confusion(everything)
    assert found["1"].sum() == 0
    assert found["all"].sum() == everything.height
    page = PAGE.read_text().partition("<!-- without clinvar: begin -->\n")[2]
    assert page.partition("\n<!-- without clinvar: end -->")[0] == told(everything)


def test_with_its_words_withheld_the_clinvar_of_2019_is_judged_by_consequence_and_frequency(data: Path) -> None:
    alleles = judged_alleles(data / "slivar__clinvar_20191007.vcf.gz")
    found = confusion(alleles)
    assert found["all"].sum() == 72
    assert found["1"].sum() == found["unknown"].sum() == 0
    assert found.filter(pl.col("ClinVar") == "pathogenic").row(0)[1:6] == (0, 3, 2, 0, 0)
    assert missed(alleles).rows() == [("3", "missense_rare", "missense_variant", 2, 0)]
