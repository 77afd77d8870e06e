"""What each vendor takes, and where it is."""

from __future__ import annotations

import pytest

from vcf_pipeline.adapters.providers.profiles import PROFILES, base_url
from vcf_pipeline.annotation_settings import PAID_OR_LOCAL


def test_every_provider_of_the_settings_has_a_profile():
    assert tuple(PROFILES) == PAID_OR_LOCAL


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://localhost:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),  # noqa: S104 - what Ollama itself is told
        ("box:9999", "http://box:9999/v1"),
        ("http://box:9999", "http://box:9999/v1"),
        ("http://box:9999/", "http://box:9999/v1"),
        ("https://box/ollama/v1", "https://box/ollama/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
    ],
)
def test_ollama_is_where_its_own_variable_says(given, address):
    assert base_url(PROFILES["ollama"], given) == address


def test_another_address_is_taken_as_it_is():
    assert base_url(PROFILES["openai"], "https://proxy.example/v1/") == "https://proxy.example/v1"
    assert base_url(PROFILES["claude"], "") == "https://api.anthropic.com/v1"


def test_models_that_think_are_told_not_to_and_others_are_told_nothing():
    assert PROFILES["openai"].fields("gpt-6-luna", 9)["reasoning_effort"] == "none"
    assert "reasoning_effort" not in PROFILES["openai"].fields("gpt-4.1-mini", 9)
    assert "thinking" not in PROFILES["claude"].fields("claude-haiku-4-5", 9)
    assert PROFILES["ollama"].fields("gpt-oss:20b", 9)["reasoning_effort"] == "low"
