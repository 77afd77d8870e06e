"""Which columns speak, in which types; and what is remembered of what they said."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.domain.triage.evidence import FREQUENCY_KEYS, wanted_columns, with_evidence
from vcf_pipeline_tests.domain.triage.rows import TWO_STARS, allele, clinvar


def frequency(rows: pl.DataFrame, *, has_samples: bool = True) -> float | None:
    value = with_evidence(rows, has_samples=has_samples)["population_af"].item()
    return None if value is None else round(value, 6)


def said(rows: pl.DataFrame, *, has_samples: bool = True) -> dict[str, tuple[str, str]]:
    evidence = with_evidence(rows, has_samples=has_samples)["evidence"].item().to_list()
    return {fact["key"]: (fact["value"], fact["source"]) for fact in evidence}


@pytest.mark.parametrize("key", FREQUENCY_KEYS)
def test_every_known_key_counts_in_a_file_with_samples(key):
    assert frequency(allele(**{f"info_{key}": 0.25})) == 0.25


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.25, 0.25), ("0.25", 0.25), ("2.5e-01", 0.25), ([0.25], 0.25), (["0.25"], 0.25), (1, 1.0), (0.0, 0.0)]
    + [(text, None) for text in ("", "high", "nan", "-0.1", "1.5")]
    + [([], None), ([None], None), (float("nan"), None), (2.0, None), (True, None)],
)
def test_a_frequency_is_read_in_any_type_and_only_between_0_and_1(value, expected):
    assert frequency(allele(info_gnomAD_AF=value)) == expected


@pytest.mark.parametrize("value", [[0.3, 0.00002], "0.3,0.00002"])
def test_a_rare_allele_does_not_inherit_the_frequency_of_its_neighbour(value):
    assert frequency(allele(alt_index=1, info_gnomAD_AF=value)) == 0.3
    assert frequency(allele(alt_index=2, info_gnomAD_AF=value)) == 0.00002
    assert frequency(allele(alt_index=3, info_gnomAD_AF=value)) is None


def test_the_largest_of_several_populations_counts():
    rows = allele(info_EXACAF=0.001, info_AF_popmax="0.02", consequence_af=0.0005)
    assert frequency(rows) == 0.02


def test_the_annotations_own_frequency_counts():
    assert frequency(allele(consequence_af=0.0005)) == 0.0005


@pytest.mark.parametrize(
    ("an", "expected"), [(1999, None), (2000, 0.25), ([2000], 0.25), ("42870", 0.25), (None, 0.25)]
)
def test_a_population_of_fewer_than_2000_alleles_does_not_count(an, expected):
    assert frequency(allele(info_AF_popmax=0.25, info_AN_popmax=an)) == expected


def test_the_callsets_own_frequency_never_counts():
    assert frequency(allele(info_AF=0.25, info_AN=6)) is None
    assert frequency(allele(info_AF=0.25, info_AN=100_000)) is None


@pytest.mark.parametrize(("an", "expected"), [({"info_AN": 42870}, 0.25), ({"info_AN": 1999}, None), ({}, None)])
def test_a_sites_only_file_speaks_for_a_population_when_its_an_says_so(an, expected):
    assert frequency(allele(info_AF=0.25, **an), has_samples=False) == expected


def test_significance_of_info_comes_before_that_of_the_annotation():
    rows = clinvar("Benign", TWO_STARS, consequence_clin_sig=["pathogenic"])
    result = with_evidence(rows, has_samples=True)
    assert (result["significance"].item(), result["stars"].item()) == ("benign", 2)


def test_a_status_is_never_borrowed_from_another_key():
    rows = allele(
        info_CLNSIG=["Pathogenic"], info_clinvar_CLNSIG="Benign", info_clinvar_CLNREVSTAT="practice_guideline"
    )
    result = with_evidence(rows, has_samples=True)
    assert (result["significance"].item(), result["stars"].item()) == ("pathogenic", None)


def test_the_words_of_the_annotation_may_disagree():
    rows = allele(consequence_clin_sig=["likely_benign", "likely_pathogenic"])
    result = with_evidence(rows, has_samples=True)
    assert result["significance"].item() == "conflicting"
    assert result["has_pathogenic_claim"].item() is True


@pytest.mark.parametrize(
    ("names", "conditions"),
    [
        (["Myasthenic_syndrome", "_congenital", "_8|not_specified"], ["Myasthenic syndrome, congenital, 8"]),
        ("Long_QT_syndrome|Brugada_syndrome|Long_QT_syndrome", ["Long QT syndrome", "Brugada syndrome"]),
        ("not_provided", None),
        (None, None),
    ],
)
def test_conditions_are_readable_and_only_those_with_a_name(names, conditions):
    result = with_evidence(clinvar("Pathogenic", TWO_STARS, info_CLNDN=names), has_samples=True)
    found = result["conditions"].item()
    assert (None if found is None else found.to_list()) == conditions


def test_evidence_quotes_key_value_and_source():
    rows = clinvar("Pathogenic", TWO_STARS, info_gnomAD_AF=0.25, impact="HIGH", filter=["LowQual", "q10"])
    assert said(rows) == {
        "CLNSIG": ("Pathogenic", "INFO"),
        "review_status": ("criteria_provided,_multiple_submitters,_no_conflicts", "INFO"),
        "impact": ("HIGH", "annotation"),
        "gnomAD_AF": ("0.25", "INFO"),
        "FILTER": ("LowQual;q10", "file"),
    }
    assert said(allele(consequence_clin_sig=["benign"], consequence_af=0.5)) == {
        "CLIN_SIG": ("benign", "annotation"),
        "AF": ("0.5", "annotation"),
    }


def test_a_row_without_evidence_has_an_empty_list():
    assert with_evidence(allele(), has_samples=True)["evidence"].item().to_list() == []


def test_a_frame_with_the_least_columns_is_read():
    result = with_evidence(pl.DataFrame({"record_no": [0, 1]}), has_samples=False)
    assert result["population_af"].to_list() == [None, None]


def test_only_what_speaks_is_read_from_disk():
    columns = [
        "row_id",
        "contig",
        "info_DP",
        "info_CLNSIG",
        "info_AN",
        "info_gnomAD_AF",
        "info_gnomAD_AN",
        "impact",
    ]
    assert wanted_columns(columns) == [name for name in columns if name != "info_DP"]
