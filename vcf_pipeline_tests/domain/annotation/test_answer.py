"""What a model may answer: one JSON object over the brief's facts; everything else is refused, with each reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.annotation.answer import MAX_TEXT, READINGS, Answer, read_answer, summary_problems
from vcf_pipeline.domain.annotation.brief import NO_CLAIM
from vcf_pipeline.domain.annotation.forbidden import LABELS
from vcf_pipeline.domain.annotation.prompts import question
from vcf_pipeline.domain.errors import BadAnswer
from vcf_pipeline.domain.triage.claims import SIGNIFICANCES
from vcf_pipeline_tests.domain.annotation.golden import example

BRIEF = example()
GOOD = "ClinVar lists this frameshift variant in BRCA1 as pathogenic, with 3 review stars."


def text_of(summary: object = GOOD, cited: object = ("clinvar:significance",), reading: object = "pathogenic") -> str:
    return json.dumps({"summary": summary, "cited": cited, "reading": reading})


def problems(text: str) -> list[str]:
    with pytest.raises(BadAnswer) as refused:
        read_answer(text, BRIEF)
    return refused.value.problems


def test_a_good_answer_is_read_bare_or_in_one_fence() -> None:
    expected = Answer(GOOD, ("clinvar:significance",), "pathogenic")
    for text in (text_of(), f"  {text_of()}\n", f"```json\n{text_of()}\n```", f"```\n{text_of()}\n```"):
        assert read_answer(text, BRIEF) == expected


def test_readings_are_the_words_of_claims_and_no_claim() -> None:
    assert (*SIGNIFICANCES, NO_CLAIM) == READINGS == LABELS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Here you are: " + text_of(),
        text_of() + " I hope that helps.",
        f"```json\n{text_of()}\n```\n```json\n{text_of()}\n```",
        "[" + text_of() + "]",
        text_of()[:-1],
        text_of()[:-1] + ', "note": "x"}',
        text_of()[:-1] + ', "reading": "benign"}',
        '{"summary": NaN, "cited": ["gene"], "reading": "pathogenic"}',
        "[" * 5000,
        '{"a":' * 1500 + "1" + "}" * 1500,
        text_of(summary=["a list"]),
        text_of(summary="short"),
        text_of(summary="The variant is known. " * 40),
        text_of(cited=[]),
        text_of(cited="gene"),
        text_of(cited=[1]),
        text_of(cited=["gene"] * 50),
        text_of(reading="definitely pathogenic"),
        text_of(reading=None),
        "x" * (MAX_TEXT + 1),
        "x" * 1_000_000,
        "{}",
        "null",
    ],
    ids=range(24),
)
def test_what_is_not_exactly_the_object_is_refused_with_a_sentence(text: str) -> None:
    found = problems(text)
    assert found
    assert all(problem.endswith(".") and len(problem) < 400 for problem in found)


def test_a_citation_of_what_is_not_there_is_refused_and_every_problem_is_told() -> None:
    found = problems(text_of("You have 7 of them, see https://example.org/x and cry.", ["clinvar:stars", "pubmed:123"]))
    assert any("pubmed:123" in problem for problem in found)
    assert any("'7'" in problem for problem in found)
    assert any("address" in problem for problem in found)
    assert any("patient" in problem for problem in found)


@pytest.mark.parametrize(
    "summary",
    [
        "ClinVar lists NM_007294.4:c.5266dup in BRCA1 (p.Gln1756ProfsTer74) on GRCh38 as pathogenic.",
        "The variant 17-43057062-T-TG on chromosome 17 at position 43,057,062 is listed as pathogenic.",
        "It is known in 0.00008715 of alleles, and ClinVar lists it as pathogenic with 3 stars.",
        "It is known in 0.0087% of alleles, and ClinVar lists it as pathogenic with three stars.",
        "It is known in 8.7e-5 of the alleles, and ClinVar lists it as pathogenic or likely pathogenic.",
        "It is known in about 1 in 11,000 alleles, and ClinVar lists it as pathogenic for the syndrome.",
        "It is known in about 9 in 100,000 alleles, and the claim of ClinVar is that it is pathogenic.",
        "In one of the populations it is known, with a frequency of 9 × 10^-5, and it is listed as pathogenic.",
        "ClinVar lists c.5266dup in BRCA1 as pathogenic for Fanconi anemia, complementation group S.",
        "It is an expert panel that lists Gln1756ProfsTer74 as pathogenic in ClinVar, for a known syndrome.",
    ],
)
def test_numbers_of_the_facts_may_be_said_as_people_say_them(summary: str) -> None:
    assert summary_problems(summary, BRIEF) == []


@pytest.mark.parametrize(
    "wrong",
    [
        *("0.0001", "0.01", "1e-4", "0.008%", "87%", "1 in 10,000", "1 in 5,000", "one in ten thousand", "5 percent"),
        *("12", "four stars", "2 stars", "twelve", "43057063", "c.5266del", "BRCA2", "a dozen", "half", "two thirds"),
        *("1,000", "rs80357906", "p.Gln1757", "3 in 100", "a tenth", "exon 20", "ten million", "1/1000", "½"),
    ],
)
def test_a_number_that_is_in_no_fact_is_refused(wrong: str) -> None:
    summary = f"ClinVar lists this variant in BRCA1 as pathogenic, and it is known with {wrong} of the alleles."
    assert any("number" in problem or "characters" in problem for problem in problems(text_of(summary)))


SAYS = "The variant is listed in ClinVar, and "


@pytest.mark.parametrize(
    "claim",
    [
        "you have breast cancer",
        "the patient has cancer",
        "this person is affected",
        "a diagnosis of the syndrome is given",
        "it is diagnostic of the syndrome",
        "surgery is recommended",
        "treatment with olaparib is known",
        "a mastectomy should be considered",
        "genetic counselling is advised",
        "it needs to be confirmed",
        "screening of relatives is of use",
        "by ACMG it is of class 5",
        "it fulfils PVS1 and PM2",
        "it is a class V variant",
        "it is of tier one",
        "it will cause the syndrome",
        "it is definitely pathogenic",
        "it is proven that it is pathogenic",
        "it is fatal",
        "usted tiene cáncer",
    ],
)
def test_diagnoses_advice_classes_and_certainties_are_refused(claim: str) -> None:
    assert problems(text_of(f"{SAYS}{claim}."))


CONTRADICTIONS = [
    ("no_claim", "Nothing is claimed about it, so it is benign."),
    ("no_claim", "Nothing is claimed about it, and it is likely benign."),
    ("no_claim", "Nothing is claimed about it, so that it is harmless."),
    ("no_claim", "Nothing is known of it, and it is not pathogenic."),
    ("no_claim", "Nothing is known of it, and it is of no clinical significance."),
    ("no_claim", "It is rare and of high impact, and so it is pathogenic."),
    ("no_claim", "It is rare and of high impact, and so it is disease-causing."),
    ("uncertain", "ClinVar has no clear claim, and it is probably benign."),
    ("likely_pathogenic", "ClinVar lists the variant as pathogenic in the gene."),
    ("likely_benign", "ClinVar lists the variant as benign in the gene."),
    ("pathogenic", "ClinVar lists the variant as benign in the gene."),
    ("pathogenic", "ClinVar lists the variant as non-pathogenic in the gene."),
    ("benign", "ClinVar lists the variant as likely pathogenic in the gene."),
    ("conflicting", "ClinVar lists the variant as pathogenic in the gene."),
    ("other", "ClinVar says of the variant that it is benign."),
]


@pytest.mark.parametrize(("label", "summary"), CONTRADICTIONS)
def test_a_certainty_that_contradicts_the_label_is_refused(label: str, summary: str) -> None:
    brief = example(significance=None if label == "no_claim" else label)
    assert any("contradicts" in problem for problem in summary_problems(summary, brief))


@pytest.mark.parametrize(
    ("label", "summary"),
    [
        ("no_claim", "Nothing is claimed about it in ClinVar; unknown is never benign."),
        ("no_claim", "Nothing is known of it, which does not mean that it is benign."),
        ("conflicting", "The submitters of ClinVar disagree: some say pathogenic and others say benign."),
        ("uncertain", "ClinVar lists the variant as of uncertain significance."),
        ("benign", "ClinVar lists the variant as benign, and it is harmless by that claim."),
        ("likely_pathogenic", "ClinVar lists the variant as likely pathogenic in the gene."),
    ],
)
def test_what_the_label_says_may_be_said(label: str, summary: str) -> None:
    assert summary_problems(summary, example(significance=None if label == "no_claim" else label)) == []


def test_a_condition_may_be_named_whose_name_holds_a_word_that_is_forbidden_alone() -> None:
    brief = example(conditions=["Fatal familial insomnia", "Benign familial neonatal seizures, 2"])
    for name in ("Fatal familial insomnia", "Benign familial neonatal seizures, 2"):
        assert summary_problems(f"ClinVar lists the variant as pathogenic for {name}.", brief) == []
    assert summary_problems("ClinVar lists the variant as pathogenic, and it is fatal.", brief)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "\x00",
            "\x1b[31m",
            "\n",
            "\r",
            "\t",
            "\u202e",
            "\u2066",
            "\u200b",
            "\u2028",
            "\ufeff",
            "\U000e0041",
            "\ud800",
        ),
        *("а", "ｂ", "⁵", "中文", "🧬", "<b>", "{x}", "[link](x)", "`rm`", "http://x.y", "www.x.y", "a@b.cd", "&lt;"),
        *("javascript:x", "example.com", "**bold**", "# head", "| a |", "\\n"),
    ],
    ids=ascii,
)
def test_control_and_bidi_characters_markup_addresses_and_other_scripts_are_refused(piece: str) -> None:
    assert problems(text_of(f"ClinVar lists this variant in BRCA1 as pathogenic {piece} for the syndrome."))


@pytest.mark.parametrize(
    "summary",
    [
        "ClinVar nennt diese Variante pathogen, mehr ist dazu bisher nicht bekannt geworden.",
        "ClinVar considera patogénica esta variante y recomienda cirugía inmediata hoy mismo.",
        "ClinVar considère cette variante comme pathogène selon plusieurs laboratoires européens.",
    ],
)
def test_another_language_is_refused(summary: str) -> None:
    assert any("English" in problem for problem in problems(text_of(summary)))


def test_the_words_of_the_question_are_no_summary() -> None:
    leaked = question(BRIEF)[0].text.splitlines()[0]
    assert problems(text_of(leaked))
    quoted = "Use no knowledge of your own. Name no number that is not in the facts."
    assert any("instructions" in problem for problem in problems(text_of(quoted)))


@given(st.text(max_size=300))
def test_no_text_makes_the_reading_fail_otherwise_than_with_a_bad_answer(text: str) -> None:
    for candidate in (text, text_of(summary=text), text_of(cited=[text]), text_of(reading=text)):
        try:
            answer = read_answer(candidate, BRIEF)
        except BadAnswer as refused:
            assert refused.problems
        else:
            assert set(answer.cited) <= set(BRIEF.keys)
            assert answer.summary.isprintable()
