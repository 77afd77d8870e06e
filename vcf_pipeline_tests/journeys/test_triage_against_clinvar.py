"""Triage of the corpus with ClinVar's words withheld, printed against them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline_tests.benchmarks.triage_against_clinvar import WORDS, confusion, judged_alleles, table_text


@pytest.mark.corpus
@pytest.mark.acceptance
def test_what_is_left_without_clinvar_is_printed_and_never_tier_1(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(path for path in (corpus / "annotated").iterdir() if path.suffix in (".vcf", ".gz", ".bgz"))
    by_file = {path.name: alleles for path in files if (alleles := judged_alleles(path)).height}
    everything = pl.concat(by_file.values())
    with capsys.disabled():
        print()
        for name, alleles in by_file.items():
            print(f"{name}\n{table_text(confusion(alleles))}\n")
        print(f"all of them\n{table_text(confusion(everything))}\n\n{WORDS}")
    assert len(by_file) >= 3
    found = confusion(everything)
    assert found["1"].sum() == 0
    assert found["all"].sum() == everything.height


def test_with_its_words_withheld_the_clinvar_of_2019_is_mostly_unknown(data: Path) -> None:
    """It has no consequences in a form that is read, so that only the frequencies it quotes are left."""
    found = confusion(judged_alleles(data / "slivar__clinvar_20191007.vcf.gz"))
    assert found["all"].sum() == 72
    assert found.filter(pl.col("ClinVar") == "pathogenic")["unknown"].item() > 0
    assert found["2"].sum() == found["3"].sum() == 0
