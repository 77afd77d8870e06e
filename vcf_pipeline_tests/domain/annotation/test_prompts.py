"""The wording is pinned to its version: who changes a word raises the version, and old answers stay what they were."""

from __future__ import annotations

import hashlib

import pytest

from vcf_pipeline.domain.annotation.prices import most_input_tokens
from vcf_pipeline.domain.annotation.prompts import (
    INSTRUCTIONS,
    MAX_OUTPUT_TOKENS,
    PROMPT_VERSION,
    longest_repair,
    question,
    repair,
)
from vcf_pipeline.domain.annotation.sentences import RULES_VERSION, summarise
from vcf_pipeline_tests.domain.annotation.golden import brief_for, example, golden

PINNED = {"explain-2": "0fb709b61bb5071c"}
PINNED_SENTENCES = {"sentences-2": "ca90c8c76a8320be"}


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\x1f".join(texts).encode(), digest_size=8).hexdigest()


def test_a_changed_word_of_the_question_raises_its_version() -> None:
    """If this fails: raise PROMPT_VERSION, and put the new digest beside it."""
    asked = [message.text for message in (*question(example()), *repair(example(), "an answer", ["a problem."]))]
    assert PINNED[PROMPT_VERSION] == _digest(*asked, str(MAX_OUTPUT_TOKENS))


def test_a_changed_word_of_the_rules_sentences_raises_their_version() -> None:
    """If this fails: raise RULES_VERSION, and put the new digest beside it."""
    told = [summarise(brief_for(one.name)) for one in golden()]
    assert PINNED_SENTENCES[RULES_VERSION] == _digest(*(answer.summary for answer in told if answer is not None))


def test_the_brief_is_one_json_object_in_a_message_of_its_own() -> None:
    system, user = question(example())
    assert (system.role, system.text) == ("system", INSTRUCTIONS)
    assert (user.role, user.text) == ("user", example().to_json())


def test_a_repair_quotes_no_more_of_an_answer_than_may_be_one() -> None:
    *_, answered, told = repair(example(), "x" * 1_000_000, ["The summary is empty."])
    assert len(answered.text) == 4000
    assert "The summary is empty." in told.text


@pytest.mark.parametrize("char", ["x", "é", "漢", "🧬"])
def test_no_repair_costs_more_than_the_longest(char: str) -> None:
    asked = repair(example(), char * 50_000, [char * 5_000] * 500)
    assert most_input_tokens(asked) <= most_input_tokens(longest_repair(example()))
