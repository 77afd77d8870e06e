"""Each line of the triage table of DESIGN section 8, then what caps a tier."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.rules import BA1_EXCEPTIONS, CAPS, RULES
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.triage.tiers import TIER_NAMES, decide, held_back, tier_counts, triaged
from vcf_pipeline_tests.domain.triage.rows import ONE_STAR, TWO_STARS, allele, clinvar

CONFLICT = ["criteria_provided", "_conflicting_interpretations"]


def verdict(rows: pl.DataFrame, *, has_samples: bool = True, assembly: str = "GRCh37") -> tuple[int | None, list[str]]:
    result = triaged(rows, has_samples=has_samples, assembly=assembly)
    return result["tier"].item(), result["reasons"].item().to_list()


@pytest.mark.parametrize("significance", ["Pathogenic", "Likely_pathogenic", "Pathogenic/Likely_pathogenic"])
@pytest.mark.parametrize("review", [TWO_STARS, ["reviewed_by_expert_panel"], ["practice_guideline"]])
def test_line_1_pathogenic_with_two_stars_is_tier_1(significance, review):
    assert verdict(clinvar(significance, review)) == (1, ["clinvar_pathogenic"])


def test_line_1_comes_before_a_common_frequency():
    assert verdict(clinvar("Pathogenic", TWO_STARS, info_gnomAD_AF=0.2)) == (1, ["clinvar_pathogenic"])


@pytest.mark.parametrize("significance", ["Benign", "Likely_benign", "Benign/Likely_benign"])
def test_line_2_benign_with_two_stars_is_tier_4(significance):
    assert verdict(clinvar(significance, TWO_STARS, impact="HIGH")) == (4, ["clinvar_benign"])


def test_line_2_a_frequency_above_five_percent_is_tier_4_whatever_the_impact():
    assert verdict(allele(impact="HIGH", info_gnomAD_AF=0.0501)) == (4, ["ba1_common"])
    assert verdict(clinvar("Pathogenic", ONE_STAR, info_gnomAD_AF=0.0501)) == (4, ["ba1_common"])


def test_line_2_five_percent_itself_is_not_above_it():
    assert verdict(allele(impact="HIGH", info_gnomAD_AF=0.05)) == (3, ["lof_not_rare"])


def test_line_2_says_both_reasons_where_both_hold():
    rows = clinvar("Benign", TWO_STARS, info_gnomAD_AF=0.3)
    assert verdict(rows) == (4, ["clinvar_benign", "ba1_common"])


@pytest.mark.parametrize("assembly", BA1_EXCEPTIONS)
def test_line_2_spares_the_nine_exceptions_in_their_own_assembly(assembly):
    other = {"GRCh37": "GRCh38", "GRCh38": "GRCh37"}[assembly]
    keys = BA1_EXCEPTIONS[assembly]
    assert len(set(keys)) == 9
    for key in keys:
        rows = clinvar("Pathogenic", ONE_STAR, variant_key=key, info_gnomAD_AF=0.06)
        assert verdict(rows, assembly=assembly) == (2, ["clinvar_pathogenic_weak"])
        assert verdict(rows, assembly=other) == (4, ["ba1_common"])


def test_line_2_spares_an_exception_of_either_assembly_where_none_is_known():
    for key in (*BA1_EXCEPTIONS["GRCh37"], *BA1_EXCEPTIONS["GRCh38"]):
        rows = allele(variant_key=key, info_gnomAD_AF=0.06)
        assert triaged(rows, has_samples=True, assembly=None)["reasons"].item().to_list() == ["frequent"]


@pytest.mark.parametrize("review", [ONE_STAR, ["no_assertion_criteria_provided"], None])
def test_line_3_pathogenic_with_one_star_or_none_is_tier_2(review):
    assert verdict(clinvar("Pathogenic", review)) == (2, ["clinvar_pathogenic_weak"])


def test_line_3_a_pathogenic_of_the_annotation_has_no_stars():
    assert verdict(allele(consequence_clin_sig=["likely_pathogenic"])) == (2, ["clinvar_pathogenic_weak"])


def test_line_3_a_conflict_with_a_pathogenic_is_tier_2():
    detail = ["Pathogenic(1)|Uncertain_significance(3)"]
    rows = clinvar("Conflicting_interpretations_of_pathogenicity", CONFLICT, info_CLNSIGCONF=detail)
    assert verdict(rows) == (2, ["clinvar_conflicting"])


def test_line_3_high_impact_is_a_candidate_where_rare_or_unknown():
    assert verdict(allele(impact="HIGH", info_gnomAD_AF=1e-4)) == (2, ["lof_candidate", "rare"])
    assert verdict(allele(impact="HIGH")) == (2, ["lof_candidate", "af_unknown"])


def test_line_3_says_every_reason_that_holds():
    rows = clinvar("Pathogenic", ONE_STAR, impact="HIGH")
    assert verdict(rows) == (2, ["clinvar_pathogenic_weak", "lof_candidate", "af_unknown"])


def test_line_4_uncertain_significance_is_tier_3():
    assert verdict(clinvar("Uncertain_significance", TWO_STARS)) == (3, ["clinvar_vus"])


def test_line_4_a_conflict_without_a_pathogenic_is_uncertain():
    detail = ["Likely_benign(1)", "_Uncertain_significance(1)"]
    rows = clinvar("Conflicting_interpretations_of_pathogenicity", CONFLICT, info_CLNSIGCONF=detail)
    assert verdict(rows) == (3, ["clinvar_vus"])


def test_line_4_high_impact_that_is_not_rare_is_tier_3():
    assert verdict(allele(impact="HIGH", info_gnomAD_AF=1.1e-4)) == (3, ["lof_not_rare"])


def test_line_4_moderate_impact_is_tier_3_where_rare_or_unknown():
    assert verdict(allele(impact="MODERATE", info_gnomAD_AF=1e-3)) == (3, ["missense_rare"])
    assert verdict(allele(impact="MODERATE")) == (3, ["missense_rare"])


def test_line_4_benign_with_one_star_or_none_is_tier_3():
    assert verdict(clinvar("Benign", ONE_STAR)) == (3, ["clinvar_benign_weak"])
    assert verdict(allele(info_CLNSIG=["2"], info_CLNREVSTAT=["no_criteria"])) == (3, ["clinvar_benign_weak"])


def test_line_5_moderate_impact_that_is_not_rare_is_tier_4():
    assert verdict(allele(impact="MODERATE", info_gnomAD_AF=0.0011)) == (4, ["moderate_not_rare", "frequent"])


@pytest.mark.parametrize("impact", ["LOW", "MODIFIER"])
def test_line_5_low_impact_is_tier_4(impact):
    assert verdict(allele(impact=impact)) == (4, ["low_impact"])


def test_line_5_a_frequency_alone_is_tier_4():
    assert verdict(allele(info_gnomAD_AF=0.01)) == (4, ["frequent"])
    assert verdict(allele(info_gnomAD_AF=0.0001)) == (4, ["rare_without_consequence"])


def test_line_5_another_statement_of_clinvar_is_tier_4():
    assert verdict(clinvar("drug_response", TWO_STARS)) == (4, ["clinvar_other"])


def test_the_last_line_is_unknown_and_not_benign():
    assert verdict(allele()) == (None, ["no_evidence"])
    assert verdict(clinvar("not_provided", ["no_assertion_provided"])) == (None, ["no_evidence"])


DOUBTS = {
    "filter_not_pass": {"filter": ["LowQual"]},
    "low_quality": {"qual": 19.9},
    "not_carried": {"ac": 0},
}


@pytest.mark.parametrize("cap", DOUBTS)
def test_a_doubt_takes_tier_1_to_2_so_that_it_stays_visible(cap):
    assert verdict(clinvar("Pathogenic", TWO_STARS, **DOUBTS[cap])) == (2, ["clinvar_pathogenic", cap])


@pytest.mark.parametrize("cap", DOUBTS)
def test_a_doubt_takes_tier_2_to_3_and_leaves_the_others(cap):
    doubt = DOUBTS[cap]
    assert verdict(allele(impact="HIGH", **doubt)) == (3, ["lof_candidate", "af_unknown", cap])
    assert verdict(allele(impact="MODERATE", **doubt)) == (3, ["missense_rare", cap])
    assert verdict(allele(impact="LOW", **doubt)) == (4, ["low_impact", cap])
    assert verdict(allele(**doubt)) == (None, ["no_evidence", cap])


@pytest.mark.parametrize("cap", DOUBTS)
def test_a_sentence_says_that_doubts_hold_an_allele_back_and_from_where(cap):
    said = held_back(*verdict(clinvar("Pathogenic", TWO_STARS, **DOUBTS[cap])))
    assert said is not None
    assert said.startswith("Doubts about the call hold it in tier 2, where its evidence alone gives tier 1: ")
    assert "tier 3, where its evidence alone gives tier 2" in held_back(*verdict(allele(impact="HIGH", **DOUBTS[cap])))
    for impact in ("MODERATE", "LOW", None):
        assert held_back(*verdict(allele(impact=impact, **DOUBTS[cap]))) is None
    assert held_back(*verdict(allele(impact="HIGH"))) is None
    assert held_back(None, None) is None


def test_several_doubts_are_all_named_and_weigh_no_more_than_one():
    every = {name: value for doubt in DOUBTS.values() for name, value in doubt.items()}
    assert verdict(allele(impact="HIGH", **every)) == (3, ["lof_candidate", "af_unknown", *DOUBTS])
    assert verdict(clinvar("Pathogenic", TWO_STARS, **every)) == (2, ["clinvar_pathogenic", *DOUBTS])


@pytest.mark.parametrize("fine", [{"filter": None}, {"qual": None}, {"qual": 20.0}, {"ac": 0, "an": 0}])
def test_what_is_missing_is_no_doubt(fine):
    assert verdict(allele(impact="HIGH", **fine)) == (2, ["lof_candidate", "af_unknown"])


def test_a_file_without_samples_carries_nothing_and_is_not_capped_for_it():
    rows = allele(impact="HIGH", n_called=None, an=None, ac=None)
    assert verdict(rows, has_samples=False) == (2, ["lof_candidate", "af_unknown"])


def test_thresholds_move_the_lines():
    rows = allele(impact="HIGH", info_gnomAD_AF=0.02)
    moved = TriageThresholds(common_af=0.01)
    assert triaged(rows, has_samples=True, assembly=None, thresholds=moved)["tier"].item() == 4
    assert moved.fingerprint() != TriageThresholds().fingerprint()
    assert TriageThresholds(**moved.as_record()) == moved


def test_every_code_is_one_of_a_kind_and_some_line_always_holds():
    codes = [test.code for test in (*RULES, *CAPS)]
    assert len(set(codes)) == len(codes)
    assert decide(set(codes))[0] == 2
    assert decide({"no_evidence"}) == (None, ["no_evidence"])
    assert [rule.line for rule in RULES] == sorted(rule.line for rule in RULES)


def test_rows_come_back_in_order_with_the_columns_of_the_schema():
    frame = pl.concat([allele(record_no=at, impact="HIGH" if at % 2 else None) for at in range(6)])
    result = triaged(frame, has_samples=True, assembly=None)
    assert result.schema == pl.DataFrame(schema=TRIAGED).schema
    assert result["record_no"].to_list() == list(range(6))
    assert tier_counts(result) == {"1": 0, "2": 3, "3": 0, "4": 0, "unknown": 3}


def test_an_empty_frame_gives_five_tiers_of_nothing():
    result = triaged(allele().clear(), has_samples=True, assembly=None)
    assert tier_counts(result) == dict.fromkeys(TIER_NAMES, 0)
