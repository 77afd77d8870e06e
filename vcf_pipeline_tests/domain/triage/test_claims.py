"""ClinVar's spellings of all years, read one by one; texts are those of real files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.triage.claims import SIGNIFICANCES, Claim, read_claim, stars_of

TWO_STARS = "criteria_provided,_multiple_submitters,_no_conflicts"
ONE_STAR = "criteria_provided,_single_submitter"


@pytest.mark.parametrize(
    ("review", "stars"),
    [
        ("practice_guideline", 4),
        ("reviewed_by_expert_panel", 3),
        (TWO_STARS, 2),
        ("criteria_provided&_multiple_submitters&_no_conflicts", 2),
        ("criteria_provided..multiple_submitters..no_conflicts", 2),
        (ONE_STAR, 1),
        ("criteria_provided,_conflicting_interpretations", 1),
        ("criteria_provided,_conflicting_classifications", 1),
        ("no_assertion_criteria_provided", 0),
        ("no_assertion_provided", 0),
        ("no_classification_provided", 0),
        ("guideline", 4),
        ("exp", 3),
        ("mult", 2),
        ("single", 1),
        ("conf", 1),
        ("no_criteria", 0),
        ("no_assertion", 0),
        (None, None),
        ("", None),
    ],
)
def test_review_statuses_of_all_years_give_clinvars_stars(review, stars):
    assert stars_of(review) == stars


@pytest.mark.parametrize(
    ("text", "significance"),
    [
        ("Pathogenic", "pathogenic"),
        ("Likely_pathogenic", "likely_pathogenic"),
        ("Pathogenic/Likely_pathogenic", "pathogenic"),
        ("Pathogenic/Likely_pathogenic|risk_factor", "pathogenic"),
        ("Pathogenic,_low_penetrance", "pathogenic"),
        ("Uncertain_significance", "uncertain"),
        ("Likely_benign", "likely_benign"),
        ("Benign/Likely_benign", "benign"),
        ("benign&likely_benign", "benign"),
        ("Benign", "benign"),
        ("Conflicting_interpretations_of_pathogenicity", "conflicting"),
        ("Conflicting_classifications_of_pathogenicity|other", "conflicting"),
        ("uncertain_significance&likely_pathogenic", "conflicting"),
        ("drug_response", "other"),
        ("risk_factor", "other"),
        ("5", "pathogenic"),
        ("4", "likely_pathogenic"),
        ("5|4", "pathogenic"),
        ("0,0", "uncertain"),
        ("3", "likely_benign"),
        ("2", "benign"),
        ("2|3", "benign"),
        ("255", "other"),
        ("6", "other"),
        ("5|2", "conflicting"),
        ("5,255,2", "conflicting"),
    ],
)
def test_words_and_codes_mean_the_same(text, significance):
    claim = read_claim(text, None)
    assert claim is not None
    assert claim.significance == significance


@pytest.mark.parametrize("text", ["not_provided", "1", "", "-", "no_classification_for_the_single_variant"])
def test_what_states_nothing_is_no_claim(text):
    assert read_claim(text, TWO_STARS) is None


def test_stars_are_unknown_where_nobody_tells_how_a_claim_was_reviewed():
    assert read_claim("Pathogenic", None) == Claim("pathogenic", None, True)
    assert read_claim("benign&pathogenic", None) == Claim("conflicting", None, True)
    assert read_claim("5|4", "|mult") == Claim("pathogenic", 2, True)
    assert read_claim("5|4|4", "|mult") == Claim("pathogenic", None, True)


def test_a_code_has_the_stars_of_its_own_status():
    assert read_claim("5|255", "no_criteria|mult") == Claim("pathogenic", 0, True)
    assert read_claim("5|255", "mult|single") == Claim("pathogenic", 2, True)
    assert read_claim("0,0", "single,single") == Claim("uncertain", 1, False)


def test_codes_that_their_statuses_do_not_match_get_the_weakest():
    assert read_claim("5|5|5", "mult|no_criteria") == Claim("pathogenic", 0, True)


def test_a_weak_pathogenic_beside_a_strong_benign_is_a_conflict_of_at_most_one_star():
    assert read_claim("5|2", "no_criteria|mult") == Claim("conflicting", 1, True)
    assert read_claim("5,255,2", "single,conf,single") == Claim("conflicting", 1, True)


def test_the_old_code_for_other_with_a_disputed_status_is_a_conflict():
    assert read_claim("255", "conf") == Claim("conflicting", 1, False)


@pytest.mark.parametrize(
    ("detail", "has_pathogenic"),
    [
        ("Pathogenic(1)|Uncertain_significance(2)", True),
        ("Likely_pathogenic(1),_Benign(1)", True),
        ("Likely_benign(1);Uncertain_significance(1)", False),
        (None, False),
    ],
)
def test_the_detail_of_a_conflict_says_whether_a_pathogenic_is_in_it(detail, has_pathogenic):
    review = "criteria_provided,_conflicting_interpretations"
    claim = read_claim("Conflicting_interpretations_of_pathogenicity", review, detail)
    assert claim == Claim("conflicting", 1, has_pathogenic)


@given(st.text(max_size=60), st.none() | st.text(max_size=60), st.none() | st.text(max_size=60))
def test_any_text_is_read_without_an_error(text, review, detail):
    claim = read_claim(text, review, detail)
    assert claim is None or (claim.significance in SIGNIFICANCES and claim.stars in (None, 0, 1, 2, 3, 4))
