"""Answers of several, joined."""

from __future__ import annotations

import itertools

from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.consensus import Arrival, Gathering, agreement, shown_first
from vcf_pipeline.domain.annotation.explained import Given


def given(provider: str, reading: str = "pathogenic", model: str = "m") -> Given:
    return Given(Answer(f"By {provider}.", ("k",), reading), provider, model, "p")


def test_they_are_joined_in_any_order_until_there_are_enough():
    for one, other in itertools.permutations([given("openai"), given("claude", "benign")]):
        gathering = Gathering("c", "s", wanted=2)
        gathering, first = gathering.with_answer("c", "s", one)
        assert (first, gathering.is_complete, gathering.missing) == (Arrival.TAKEN, False, 1)
        gathering, second = gathering.with_answer("c", "s", other)
        assert (second, gathering.is_complete) == (Arrival.TAKEN, True)
        assert [shown.provider for shown in shown_first(gathering.given, ["openai", "claude"])] == ["openai", "claude"]


def test_a_second_answer_of_the_same_model_is_a_duplicate():
    gathering, _ = Gathering("c", "s", wanted=2).with_answer("c", "s", given("openai"))
    assert gathering.with_answer("c", "s", given("openai", "benign")) == (gathering, Arrival.DUPLICATE)


def test_what_comes_when_it_is_over_is_late_and_changes_nothing():
    gathering, _ = Gathering("c", "s").with_answer("c", "s", given("openai"))
    assert gathering.with_answer("c", "s", given("claude")) == (gathering, Arrival.LATE)
    partial = Gathering("c", "s", wanted=3).with_answer("c", "s", given("openai"))[0].closed()
    assert partial.with_answer("c", "s", given("claude")) == (partial, Arrival.LATE)
    assert (partial.missing, len(partial.given)) == (2, 1)


def test_an_answer_to_another_question_is_a_strangers():
    gathering = Gathering("c", "s")
    assert gathering.with_answer("other", "s", given("openai")) == (gathering, Arrival.STRANGER)
    assert gathering.with_answer("c", "other", given("openai")) == (gathering, Arrival.STRANGER)


def test_the_majority_is_shown_by_the_most_preferred_of_it():
    three = [given("openai", "benign"), given("claude"), given("ollama")]
    assert [one.provider for one in shown_first(three, ["openai", "ollama", "claude"])] == [
        "ollama",
        "openai",
        "claude",
    ]
    assert agreement(three) == 2 / 3


def test_agreement_of_one_is_not_known():
    assert agreement([given("openai")]) is None
    assert agreement([]) is None
    assert shown_first([], ["openai"]) == ()
