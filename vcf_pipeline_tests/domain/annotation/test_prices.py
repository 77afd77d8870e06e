"""What a call costs: never less than the bill, in whole micro-USD."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.adapters.providers.profiles import PROFILES
from vcf_pipeline.domain.annotation.prices import FREE, PRICES, Price, most_input_tokens, price_of
from vcf_pipeline.domain.annotation.prompts import Message
from vcf_pipeline.domain.errors import UnknownPrice

TOKENS = st.integers(0, 200_000)


def test_a_cost_is_rounded_up_to_a_whole_micro_usd():
    price = Price.of_usd(0.10, 0.50)
    assert price.cost(1, 0) == 1
    assert price.cost(263, 39) == 46  # 26.3 + 19.5
    assert price.cost(0, 0) == 0


@given(TOKENS, TOKENS, TOKENS, st.sampled_from([price for models in PRICES.values() for price in models.values()]))
def test_the_worst_case_is_never_below_the_cost(asked, answered, kept, price):
    assert price.cost(asked, answered, kept) <= price.worst(asked, answered)
    exact = asked * price.question + answered * price.answer
    assert price.cost(asked, answered) * 1_000_000 >= exact


@given(st.lists(st.text(), max_size=5))
def test_no_text_has_more_tokens_than_are_reserved(texts):
    messages = [Message("user", text) for text in texts]
    assert most_input_tokens(messages) >= sum(len(text.encode()) for text in texts) + 16 * len(texts)


def test_a_dated_name_costs_what_the_name_without_the_date_does():
    assert price_of("claude", "claude-haiku-4-5-20251001") == PRICES["claude"]["claude-haiku-4-5"]
    assert price_of("openai", "gpt-5.4-mini-2026-03-17") == PRICES["openai"]["gpt-5.4-mini"]


def test_settings_win_over_the_table_and_a_model_at_home_is_free():
    assert price_of("openai", "gpt-6-luna", (1.0, 2.0)).cost(1_000_000, 1_000_000) == 3_000_000
    assert price_of("ollama", "gemma4:e4b") == FREE
    assert price_of("ollama", "big:cloud", (1.0, 2.0)).question == 1_000_000


def test_an_unknown_price_says_which_settings_to_set():
    with pytest.raises(UnknownPrice) as caught:
        price_of("openai", "gpt-99", (1.0, None))
    assert "VCF_PIPELINE_OPENAI__USD_PER_MTOK_OUT" in str(caught.value)
    assert "gpt-99" in str(caught.value)


def test_every_default_model_has_a_price_with_its_day():
    for name in ("openai", "claude"):
        price = price_of(name, PROFILES[name].model)
        assert price.answer > 0
        assert price.since > "2026"
    assert price_of("openai", PROFILES["openai"].embedding_model).question > 0


def test_the_page_is_the_table_of_the_prices():
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text()
    shown = page.partition("<!-- prices: begin -->\n")[2].partition("<!-- prices: end -->")[0].splitlines()
    rows = [
        f"| `{provider}` | `{model}` | {price.question / 1e6:.3f} | {price.kept_question / 1e6:.3f} "
        f"| {price.answer / 1e6:.2f} | {price.since} |"
        for provider, models in PRICES.items()
        for model, price in models.items()
    ]
    assert shown == [
        "| provider | model | question | kept | answer | since |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
