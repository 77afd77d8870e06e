"""The one client: what it sends to each vendor, what it makes of each answer and error. Over real HTTP."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import time
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest

from vcf_pipeline.adapters.providers.openai_client import OpenAiClient, seconds_until
from vcf_pipeline.adapters.providers.port import Reply
from vcf_pipeline.adapters.providers.profiles import PROFILES
from vcf_pipeline.domain.annotation.answer import read_answer
from vcf_pipeline.domain.annotation.prompts import question
from vcf_pipeline.domain.errors import PipelineError, ProviderRefused, ProviderUnavailable
from vcf_pipeline.testing.fake_providers import DIALECTS, KEY, Act, FakeProviders
from vcf_pipeline_tests.adapters.providers.explaining import brief

BRIEF = brief(43093464)


def asked(fake: FakeProviders, name: str, timeout_s: float = 20.0, **client: str) -> Reply:
    async def ask() -> Reply:
        one = OpenAiClient(name, **{"api_key": KEY, "address": fake.url(name), **client})
        try:
            return await one.ask(question(BRIEF), max_output_tokens=400, timeout_s=timeout_s)
        finally:
            await one.close()

    return asyncio.run(ask())


def refused(fake: FakeProviders, name: str, act: Act, timeout_s: float = 20.0) -> Any:
    fake.script(name, act)
    with pytest.raises(PipelineError) as caught:
        asked(fake, name, timeout_s)
    return caught.value


@pytest.mark.parametrize("name", DIALECTS)
def test_each_vendor_is_asked_in_its_dialect_and_its_answer_passes(fake, name):
    reply = asked(fake, name)
    assert read_answer(reply.text, BRIEF).reading == "pathogenic"
    assert reply.input_tokens > 0 < reply.output_tokens
    assert reply.model == PROFILES[name].model
    (received,) = fake.calls(name)
    sent = json.loads(received.body)
    assert sent["messages"][-1] == {"role": "user", "content": BRIEF.to_json()}
    assert not {"temperature", "seed", "stream", "n"} & set(sent)
    assert f"Bearer {KEY}".encode() in received.head


def test_many_calls_at_a_time_are_all_under_way_and_a_closed_client_opens_again(fake):
    fake.script("openai", always=Act(latency_s=0.5))

    async def ask() -> list[Reply]:
        one = OpenAiClient("openai", api_key=KEY, address=fake.url("openai"))

        async def many(count: int) -> list[Reply]:
            asking = (one.ask(question(BRIEF), max_output_tokens=400, timeout_s=20.0) for _ in range(count))
            return await asyncio.gather(*asking)

        replies = await many(60)
        await one.close()
        replies += await many(1)
        await one.close()
        return replies

    assert len(asyncio.run(ask())) == fake.answers("openai") == 61
    assert fake.most_open("openai") == 60


def test_a_call_that_is_opening_when_the_client_is_closed_is_answered(fake, monkeypatch):
    async def ask() -> Reply:
        one = OpenAiClient("openai", api_key=KEY, address=fake.url("openai"))
        made, loop, is_opening, may_go_on = one._made, asyncio.get_running_loop(), asyncio.Event(), Event()

        def slowly() -> Any:
            loop.call_soon_threadsafe(is_opening.set)
            assert may_go_on.wait(20.0)
            return made()

        monkeypatch.setattr(one, "_made", slowly)
        call = asyncio.ensure_future(one.ask(question(BRIEF), max_output_tokens=400, timeout_s=20.0))
        await is_opening.wait()
        await one.close()
        may_go_on.set()
        reply = await call
        await one.close()
        return reply

    assert asyncio.run(ask()).text


def test_each_vendor_gets_the_fields_that_it_takes(fake):
    sent = {name: json.loads(_received(fake, name).body) for name in DIALECTS}
    assert sent["openai"]["max_completion_tokens"] == 400
    assert sent["openai"]["reasoning_effort"] == "none"
    assert sent["openai"]["response_format"]["json_schema"]["strict"] is True
    assert sent["claude"]["max_tokens"] == 400
    assert sent["claude"]["thinking"] == {"type": "disabled"}
    assert "response_format" not in sent["claude"]
    assert sent["ollama"]["max_tokens"] == 400
    assert sent["ollama"]["response_format"] == {"type": "json_object"}


def _received(fake: FakeProviders, name: str) -> Any:
    asked(fake, name)
    return fake.calls(name)[-1]


def test_nothing_of_the_machine_or_the_person_is_in_what_is_sent(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    received = _received(fake, "openai")
    assert b"org-secret" not in received.head
    assert b"proj-secret" not in received.head
    assert set(json.loads(received.body)) == {
        "model",
        "messages",
        "max_completion_tokens",
        "reasoning_effort",
        "response_format",
    }


@pytest.mark.parametrize(("status", "about_us"), [(400, False), (401, True), (403, True), (404, True), (422, False)])
def test_a_refusal_says_whether_it_is_about_us(fake, status, about_us):
    error = refused(fake, "openai", Act(status=status))
    assert isinstance(error, ProviderRefused)
    assert (error.status, error.is_about_us) == (status, about_us)


@pytest.mark.parametrize(
    ("status", "may_be_billed"), [(408, False), (429, False), (500, True), (503, False), (529, False)]
)
def test_what_may_pass_says_whether_it_may_be_billed(fake, status, may_be_billed):
    error = refused(fake, "claude", Act(status=status))
    assert isinstance(error, ProviderUnavailable)
    assert (error.status, error.may_be_billed) == (status, may_be_billed)


def test_retry_after_is_read_as_seconds_or_as_a_date(fake):
    assert refused(fake, "openai", Act(status=429, retry_after="7")).retry_after == 7.0
    now = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
    assert seconds_until("Fri, 27 Nov 2026 08:01:30 GMT", now) == 90.0
    assert seconds_until("Fri, 27 Nov 2026 07:00:00 GMT", now) == 0.0
    assert seconds_until("1.5", now) == 1.5
    assert [seconds_until(text, now) for text in ("", "soon", "Fri, 99 Nov")] == [None, None, None]


def test_a_hang_and_a_trickle_are_left_at_the_deadline(fake):
    asked(fake, "openai")  # the library is imported with the first call
    for act in (Act(hang=True), Act(body_s=30.0)):
        began = time.monotonic()
        error = refused(fake, "openai", act, timeout_s=0.4)
        assert error.may_be_billed
        assert error.status == 0
        assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("act", [Act(reset=True), Act(raw="<html>"), Act(raw="{}"), Act(raw='{"choices": []}')])
def test_what_cannot_be_read_may_have_been_billed(fake, act):
    assert refused(fake, "ollama", act).may_be_billed


def test_an_address_where_nobody_listens_costs_nothing_and_says_what_to_start():
    async def ask(name: str, address: str) -> None:
        one = OpenAiClient(name, api_key=KEY, address=address)
        await one.ask(question(BRIEF), max_output_tokens=9, timeout_s=20.0)

    with pytest.raises(ProviderUnavailable) as caught:
        asyncio.run(ask("ollama", "127.0.0.1:9"))
    assert not caught.value.may_be_billed
    assert "ollama serve" in str(caught.value)
    assert "no connection: Connection refused" in str(caught.value)
    with pytest.raises(ProviderUnavailable, match="Is there a network") as caught:
        asyncio.run(ask("openai", "http://no-such-host.invalid/v1"))
    assert not caught.value.may_be_billed
    with pytest.raises(socket.gaierror) as of_the_system:
        socket.getaddrinfo("no-such-host.invalid", 80)
    assert f"no connection: {of_the_system.value.strerror}" in str(caught.value)


def test_a_wrong_key_and_a_missing_model_say_which_setting(fake):
    fake.admit("openai", keys={KEY}, models={"gpt-6-luna"})
    with pytest.raises(ProviderRefused, match="VCF_PIPELINE_OPENAI__API_KEY"):
        asked(fake, "openai", api_key="sk-wrong")
    with pytest.raises(ProviderRefused, match="VCF_PIPELINE_OPENAI__API_KEY"):
        asked(fake, "openai", api_key="")
    with pytest.raises(ProviderRefused, match="VCF_PIPELINE_OPENAI__MODEL"):
        asked(fake, "openai", model="gpt-none")
    fake.admit("ollama", models=set())
    with pytest.raises(ProviderRefused, match="ollama pull gemma4:e4b"):
        asked(fake, "ollama")


def test_no_error_repeats_a_key(fake):
    body = json.dumps({"error": {"message": "Incorrect API key provided: sk-very-secret. See the pages."}})
    one = OpenAiClient("openai", api_key="sk-very-secret")
    import httpx2
    import openai

    response = httpx2.Response(401, request=httpx2.Request("POST", "http://x"), text=body)
    error = openai.AuthenticationError("no", response=response, body=json.loads(body))
    assert "very-secret" not in str(one._mapped(error))


def test_every_exception_of_the_library_becomes_ours():
    import httpx2
    import openai

    one = OpenAiClient("openai", api_key=KEY)
    request = httpx2.Request("POST", "http://x")
    kinds = [
        kind
        for _, kind in inspect.getmembers(openai, inspect.isclass)
        + inspect.getmembers(openai._exceptions, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__.startswith("openai")
    ]
    assert len(kinds) > 15
    for kind in kinds:
        error = kind.__new__(kind)
        Exception.__init__(error, "said")
        status = getattr(kind, "status_code", 418)
        status = status if isinstance(status, int) else 418
        response = httpx2.Response(status, request=request)
        error.__dict__.update(message="said", body=None, request=request, response=response, status_code=status)
        mapped = one._mapped(error)
        assert isinstance(mapped, ProviderUnavailable | ProviderRefused), kind
        if issubclass(kind, openai.APIStatusError) and status not in (408, 409, 425, 429, 503, 529) and status < 500:
            assert isinstance(mapped, ProviderRefused), kind


def test_a_quota_that_is_used_up_is_about_us_though_it_is_a_429(fake):
    one = OpenAiClient("openai", api_key=KEY)
    assert isinstance(one._of_status(429, "You exceeded your current quota insufficient_quota", ""), ProviderRefused)


@pytest.mark.parametrize("name", ["openai", "ollama"])
def test_vectors_come_in_the_order_of_the_texts(fake, name):
    async def embed() -> tuple[list[list[float]], int]:
        one = OpenAiClient(name, api_key=KEY, address=fake.url(name))
        try:
            return await one.embed(["BRCA1", "TP53", "BRCA1"], timeout_s=20.0)
        finally:
            await one.close()

    vectors, tokens = asyncio.run(embed())
    assert vectors[0] == vectors[2] != vectors[1]
    assert tokens > 0
    assert json.loads(fake.calls(name)[0].body)["model"] == PROFILES[name].embedding_model
