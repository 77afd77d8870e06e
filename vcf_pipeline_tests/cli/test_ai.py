"""`ai usage` and `ai cache`: money and answers as a person and a script see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.testing.fake_providers import Act, FakeProviders
from vcf_pipeline_tests.adapters.providers.explaining import control_of, explained, tasks
from vcf_pipeline_tests.cli.conftest import Cli


@pytest.fixture
def spent(home: Path) -> Iterator[FakeProviders]:
    """Two tenants have bought: 3 and 2 answers, and one call of the first may have been billed."""
    with FakeProviders() as fake:
        with control_of(home, fake.settings("openai")) as control:
            explained(control, tasks(3))
            explained(control, tasks(2), tenant="acme")
            explained(control, tasks(3))
            fake.script("openai", *[Act(reset=True)] * 3)
            explained(control, tasks(1, first=50))
        yield fake


def test_usage_is_by_tenant_day_and_model(cli: Cli, spent: FakeProviders) -> None:
    rows = {row["tenant"]: row for row in cli("ai", "usage", "--json").records}
    assert (rows["acme"]["calls"], rows["acme"]["settled"], rows["acme"]["unknown"]) == (2, 2, 0)
    assert rows["default"]["settled"] >= 3
    assert rows["default"]["unknown"] >= 1
    assert rows["default"]["unknown_usd"] > 0
    assert rows["default"]["open"] == 0
    (only,) = cli("ai", "usage", "--tenant", "acme", "--json").records
    assert only == rows["acme"]
    assert cli("ai", "usage", "--day", only["day"], "--tenant", "acme", "--json").records == [only]
    assert cli("ai", "usage", "--day", "2020-01-01", "--json").records == []
    assert cli("ai", "usage", "--since", "2999-01-01").err == "no call has been made.\n"
    shown = cli("ai", "usage")
    assert "gpt-6-luna" in shown.out
    assert "US dollars" in shown.err


def test_the_cache_shows_its_hit_rate_and_is_cleared_by_model_tenant_and_age(cli: Cli, spent: FakeProviders) -> None:
    rows = {row["tenant"]: row for row in cli("ai", "cache", "show", "--json").records}
    assert (rows["default"]["answers"], rows["default"]["hits"], rows["default"]["hit_rate"]) == (3, 3, 0.5)
    assert rows["default"]["size_bytes"] > 100
    assert cli("ai", "cache", "clear", "--older-than", "1h", "--json").records == [{"cleared": 0}]
    assert cli("ai", "cache", "clear", "--model", "another", "--json").records == [{"cleared": 0}]
    assert cli("ai", "cache", "clear", "--tenant", "acme", "--json").records == [{"cleared": 2}]
    assert cli("ai", "cache", "clear", "--model", "gpt-6-luna").out == "3 answers cleared\n"
    assert cli("ai", "cache", "show").err == "no answer is kept yet.\n"


@pytest.mark.parametrize(
    "words",
    [("usage", "--day", "yesterday"), ("usage", "--since", "27.11.2026"), ("cache", "clear", "--older-than", "x")],
)
def test_a_day_or_a_time_that_cannot_be_read_is_exit_2(cli: Cli, words: tuple[str, ...]) -> None:
    ended = cli("ai", *words)
    assert (ended.code, ended.out) == (2, "")
