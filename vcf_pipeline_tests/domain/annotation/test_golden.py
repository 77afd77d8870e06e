"""The golden set: real variants, what triage, brief and rules make of them, and what nobody may say of them."""

from __future__ import annotations

import json
import re

import pytest

from vcf_pipeline.domain.annotation.answer import read_answer, summary_problems
from vcf_pipeline.domain.annotation.sentences import summarise
from vcf_pipeline.domain.errors import BadAnswer
from vcf_pipeline.domain.triage.rules import RULES
from vcf_pipeline.domain.triage.tiers import held_back
from vcf_pipeline_tests.domain.annotation.golden import Golden, brief_for, files, golden, triage_of

every_variant = pytest.mark.parametrize("one", golden(), ids=lambda one: one.name)


def test_there_are_forty_real_variants_or_more_of_every_tier_and_label_each_with_its_origin() -> None:
    assert len(golden()) >= 40
    assert {one.tier for one in golden()} == {1, 2, 3, 4, None}
    assert {one.label for one in golden()} == {
        *("pathogenic", "likely_pathogenic", "uncertain", "likely_benign", "benign", "conflicting", "other"),
        "no_claim",
    }
    assert all(files()[one.file]["origin"] for one in golden())
    assert len({one.name for one in golden()}) == len(golden())


@every_variant
def test_its_tier_reasons_and_label_are_the_expected_ones(one: Golden) -> None:
    verdict = triage_of(one.name)
    assert (verdict["tier"], verdict["reasons"]) == (one.tier, one.reasons)
    assert brief_for(one.name).label == one.label


@every_variant
def test_what_rules_say_of_it_keeps_every_rule_that_a_model_must_keep(one: Golden) -> None:
    brief = brief_for(one.name)
    answer = summarise(brief)
    if answer is None:
        assert one.tier is None  # nothing is known of it, and nobody is asked
        return
    text = json.dumps({"summary": answer.summary, "cited": list(answer.cited), "reading": answer.reading})
    assert read_answer(text, brief) == answer


@every_variant
def test_no_text_says_where_it_stands_and_doubts_about_the_call_are_said_outside_of_the_brief(one: Golden) -> None:
    plain, doubtful = triage_of(one.name), triage_of(one.name, is_doubtful=True)
    assert brief_for(one.name, is_doubtful=True) == brief_for(one.name)
    by_evidence = next(rule.tier for rule in RULES if rule.code in plain["reasons"])
    assert doubtful["tier"] == {1: 2, 2: 3}.get(by_evidence, by_evidence)
    said = held_back(doubtful["tier"], doubtful["reasons"])
    if doubtful["tier"] == by_evidence:
        assert said is None
    else:
        assert said is not None
        assert f"hold it in tier {doubtful['tier']}, where its evidence alone gives tier {by_evidence}" in said
        assert "FILTER" in said
        assert "QUAL" in said
    answer = summarise(brief_for(one.name, is_doubtful=True))
    assert answer is None or not re.search(r"first|last|\btier\b|\bstands?\b|\bhere\b", answer.summary)


@every_variant
def test_no_claim_that_is_forbidden_of_it_gets_through(one: Golden) -> None:
    brief = brief_for(one.name)
    assert len(one.forbidden) >= 5
    for claim in one.forbidden:
        assert summary_problems(claim, brief), claim
        text = json.dumps({"summary": claim, "cited": list(brief.keys[:1]), "reading": brief.label})
        with pytest.raises(BadAnswer):
            read_answer(text, brief)


@every_variant
def test_no_claim_that_is_forbidden_of_it_gets_through_behind_a_true_sentence(one: Golden) -> None:
    brief = brief_for(one.name)
    answer = summarise(brief)
    for claim in one.forbidden if answer is not None else ():
        assert summary_problems(f"{answer.summary} {claim}", brief), claim
