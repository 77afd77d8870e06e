"""The sentences that rules write: they say whose word a claim is, and nothing that nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vcf_pipeline.domain.annotation.answer import read_answer, summary_problems
from vcf_pipeline.domain.annotation.brief import Brief, brief_of
from vcf_pipeline.domain.annotation.sentences import summarise
from vcf_pipeline.domain.triage.claims import SIGNIFICANCES
from vcf_pipeline_tests.domain.annotation.golden import example

ANNOTATED = {"key": "CLIN_SIG", "value": "…", "source": "annotation", "version": None}


def annotated(**changed: Any) -> Brief:
    """A claim that the file's annotation alone makes."""
    row = {"variant_key": "1-2-A-C", "significance": "pathogenic", "gene": "NOC2L", "evidence": [ANNOTATED]}
    return brief_of({**row, "reasons": ["clinvar_pathogenic_weak"], **changed}, "GRCh38")


def said(brief: Brief) -> str:
    """What rules say of it, which keeps every rule that a model must keep."""
    answer = summarise(brief)
    assert answer is not None
    text = json.dumps({"summary": answer.summary, "cited": list(answer.cited), "reading": answer.reading})
    assert read_answer(text, brief) == answer
    return answer.summary


def test_what_is_not_in_the_evidence_is_not_said_to_be_nowhere() -> None:
    text = said(example(significance=None, stars=None, reasons=["lof_candidate", "rare"]))
    assert text.startswith("No claim about this frameshift variant in BRCA1 (p.Gln1756ProfsTer74) is in the evidence")
    assert "Nothing is claimed" not in text


def test_an_unknown_review_status_is_no_missing_star() -> None:
    text = said(example(stars=None, reasons=["clinvar_pathogenic_weak"]))
    assert "review status unknown" in text
    assert "star" not in text
    assert "reviewed too little" not in text
    none = said(example(stars=0, reasons=["clinvar_pathogenic_weak"]))
    assert "without a review star" in none
    assert "reviewed too little" in none


@pytest.mark.parametrize("label", SIGNIFICANCES)
def test_the_annotations_word_is_called_the_annotations_and_perhaps_of_another_allele(label: str) -> None:
    text = said(annotated(significance=label))
    assert text.startswith("The file's annotation ")
    assert "it may mean another allele at the place" in text
    assert "ClinVar" not in text


def test_where_the_call_is_doubted_the_text_is_the_same_and_claims_no_place() -> None:
    text = said(example(reasons=["clinvar_pathogenic", "filter_not_pass", "low_quality"]))
    assert text == said(example(reasons=["clinvar_pathogenic"]))
    assert "The rules weigh that the claim has been reviewed well enough to decide" in text


@pytest.mark.parametrize("words", ["puts it first", "put the variant first", "and it stands here", "so it ranks last"])
def test_a_model_may_not_say_where_an_allele_stands(words: str) -> None:
    problems = summary_problems(f"ClinVar lists the variant as pathogenic, which {words} for review.", example())
    assert any("place" in problem for problem in problems)


def test_an_unknown_allele_is_said_to_be_unknown_in_everything() -> None:
    text = said(brief_of({"variant_key": "1-2-A-C", "gene": "NOC2L", "reasons": ["no_evidence"]}, "GRCh38"))
    assert text.endswith("No consequence and no population's frequency of it is known either.")


def test_a_model_may_not_call_the_annotations_word_clinvars() -> None:
    summary = "ClinVar lists the variant as pathogenic in the gene."
    assert any("names ClinVar" in problem for problem in summary_problems(summary, annotated()))
    assert summary_problems(summary, example()) == []
    assert summary_problems("The file's annotation lists the variant as pathogenic.", annotated()) == []
