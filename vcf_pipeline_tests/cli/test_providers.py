"""`providers check`: what a person sees of each provider, and of each way to be wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vcf_pipeline.testing.fake_providers import KEY, Act, FakeProviders
from vcf_pipeline_tests.cli.conftest import Cli


@pytest.fixture
def fake(home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProviders]:
    with FakeProviders() as started:
        for name, value in started.settings().items():
            monkeypatch.setenv(name, value)
        yield started


def test_each_provider_is_asked_once_and_the_cost_is_counted(cli: Cli, fake: FakeProviders) -> None:
    ended = cli("providers", "check", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert [record["provider"] for record in ended.records] == ["openai", "claude", "ollama"]
    assert all(record["ok"] and record["input_tokens"] for record in ended.records)
    assert [record["cost_usd"] > 0 for record in ended.records] == [True, True, False]
    assert len(fake.received) == 3
    usage = {record["provider"]: record for record in cli("ai", "usage", "--json").records}
    assert usage["openai"]["cost_usd"] == ended.records[0]["cost_usd"]
    assert cli("ai", "cache", "show", "--json").records == []


def test_those_that_are_named_are_asked_whether_they_are_configured_or_not(
    cli: Cli, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VCF_PIPELINE_AI__PROVIDERS")
    ended = cli("providers", "check")
    assert (ended.code, ended.out, len(fake.received)) == (0, "", 0)
    assert "name a provider" in ended.err
    ended = cli("providers", "check", "claude")
    assert ended.code == 0
    assert "claude-haiku-5-5" in ended.out
    assert {received.provider for received in fake.received} == {"claude"}
    assert cli("providers", "check", "gemini").code == 2


def test_every_way_to_be_wrong_is_one_clear_line(
    cli: Cli, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.admit("openai", keys={"another"})
    fake.admit("claude", keys={KEY}, models={"claude-none"})
    monkeypatch.setenv("VCF_PIPELINE_OLLAMA__BASE_URL", "http://127.0.0.1:9")
    ended = cli("providers", "check")
    assert ended.code == 4
    lines = ended.err.splitlines()
    assert len(lines) == 3
    assert "VCF_PIPELINE_OPENAI__API_KEY" in lines[0]
    assert "VCF_PIPELINE_CLAUDE__MODEL" in lines[1]
    assert "ollama serve" in lines[2]
    assert KEY not in ended.out + ended.err


def test_no_network_an_unknown_price_and_an_empty_budget_say_so_and_ask_nobody(
    cli: Cli, fake: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCF_PIPELINE_CLAUDE__BASE_URL", "http://no-such-host.invalid/v1")
    ended = cli("providers", "check", "claude")
    assert ended.code == 4
    assert "Is there a network" in ended.err
    monkeypatch.setenv("VCF_PIPELINE_OPENAI__MODEL", "gpt-99")
    ended = cli("providers", "check", "openai", "--json")
    assert ended.code == 1
    assert ended.records[0]["code"] == "UNKNOWN_PRICE"
    assert "VCF_PIPELINE_OPENAI__USD_PER_MTOK_IN" in ended.err
    monkeypatch.delenv("VCF_PIPELINE_OPENAI__MODEL")
    monkeypatch.setenv("VCF_PIPELINE_AI__BUDGET_USD_PER_DAY", "0")
    ended = cli("providers", "check", "openai", "--json")
    assert (ended.code, ended.records[0]["code"]) == (1, "BUDGET_SPENT")
    assert fake.received == []


def test_an_answer_of_no_use_is_a_problem_that_was_paid_for(cli: Cli, fake: FakeProviders) -> None:
    fake.script("openai", Act(lie="citation"))
    ended = cli("providers", "check", "openai", "--json")
    assert ended.code == 1
    (record,) = ended.records
    assert (record["ok"], record["code"], record["cost_usd"] > 0) == (False, "BAD_ANSWER", True)


def test_doctor_shows_which_are_configured_and_no_key(
    cli: Cli, fake: FakeProviders, home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(mode=0o700)
    checks = {one["check"]: one for one in cli("doctor", "--json").records[0]["checks"]}
    assert checks["provider openai"]["state"] == "ok"
    assert checks["ai budget"]["state"] == "ok"
    monkeypatch.delenv("VCF_PIPELINE_CLAUDE__API_KEY")
    ended = cli("doctor", "--json")
    checks = {one["check"]: one for one in ended.records[0]["checks"]}
    assert "VCF_PIPELINE_CLAUDE__API_KEY" in checks["provider claude"]["text"]
    assert checks["provider claude"]["state"] == "wrong"
    assert KEY not in ended.out
    assert fake.received == []
