"""Briefs through the router: failover, budget, policy, repair, consensus, order. Fake providers over real HTTP."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.domain.annotation.consensus import agreement
from vcf_pipeline.domain.annotation.explained import Explained
from vcf_pipeline.domain.annotation.provider_choice import TRIES_A_PROVIDER
from vcf_pipeline.testing.fake_providers import DIALECTS, KEY, Act, FakeProviders
from vcf_pipeline_tests.adapters.providers.explaining import CALLSET, brief, control_of, explained, tasks


def by_provider(of: Sequence[Explained]) -> Counter[str]:
    return Counter(one.given[0].provider if one.given else "" for one in of)


def outcomes(of: Sequence[Explained]) -> Counter[tuple[str, str]]:
    return Counter((one.status, one.reason) for one in of)


def answered_at(fake: FakeProviders, provider: str) -> dict[str, float]:
    """When each variant was first asked of the provider."""
    return {received.variant: received.at for received in reversed(fake.calls(provider))}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_the_second_time_nothing_is_asked(fake, home):
    for calls in (12, 0):
        with control_of(home, fake.settings("openai", "claude")) as control:
            came = explained(control, tasks(12))
        assert outcomes(came) == {("annotated", ""): 12}
        assert sum(one.calls for one in came) == calls
        assert {one.given[0].is_cached for one in came} == {calls == 0}
        assert len(fake.received) == 12
    with control_of(home, fake.settings()) as control:
        (share,) = control.ledger.cache_shares()
        assert (share.answers, share.hits) == (12, 12)
        (usage,) = control.ledger.usage()
        assert usage.cost_microusd == sum(one.cost_microusd for one in came) + share.cost_microusd


def test_an_answer_of_any_allowed_provider_counts_before_anybody_is_asked(fake, home):
    with control_of(home, fake.settings("claude")) as control:
        explained(control, tasks(3))
    with control_of(home, fake.settings("openai", "claude")) as control:
        assert by_provider(explained(control, tasks(3))) == {"claude": 3}
    with control_of(home, fake.settings("openai")) as control:
        assert by_provider(explained(control, tasks(3))) == {"openai": 3}


@pytest.mark.parametrize(
    "act",
    [
        Act(status=500),
        Act(status=503),
        Act(status=429, retry_after="30"),
        Act(status=400),
        Act(status=401),
        Act(reset=True),
        Act(raw="not JSON"),
        Act(lie="citation"),
        Act(lie="number"),
        Act(lie="prose"),
        Act(lie="advice"),
        Act(lie="empty"),
    ],
    ids=lambda act: act.lie or act.raw or (f"http-{act.status}" if act.status != 200 else "reset"),
)
def test_the_next_provider_answers_within_a_second_of_one_that_fails(fake, home, act):
    fake.script("openai", always=act)
    with control_of(home, fake.settings("openai", "claude")) as control:
        explained(control, tasks(1, first=900))  # the library is imported with the first call
        came = explained(control, tasks(5))
    assert outcomes(came) == {("annotated", ""): 5}
    assert by_provider(came) == {"claude": 5}
    first, then = answered_at(fake, "openai"), answered_at(fake, "claude")
    gaps = [then[variant] - first[variant] for variant in first if variant in then]
    assert gaps
    assert sorted(gaps)[len(gaps) // 2] < 1.0


def test_one_that_does_not_listen_costs_less_than_a_second(fake, home):
    closed = {"VCF_PIPELINE_OPENAI__BASE_URL": "http://127.0.0.1:9/v1"}
    with control_of(home, fake.settings("openai", "claude") | closed) as control:
        explained(control, tasks(1, first=900))
        began = time.monotonic()
        came = explained(control, tasks(5))
        assert time.monotonic() - began < 5.0
        assert by_provider(came) == {"claude": 5}
        usage = {row.provider: row for row in control.ledger.usage()}
        assert usage["openai"].free == usage["openai"].calls > 0
        assert usage["openai"].unknown_microusd == 0


def test_one_that_hangs_is_left_at_the_attempts_deadline(fake, home):
    fake.script("openai", always=Act(hang=True))
    with control_of(home, fake.settings("openai", "claude"), AI__ATTEMPT_TIMEOUT_S="0.6") as control:
        explained(control, tasks(1, first=900))
        control.explainer.close()
    with control_of(home, fake.settings("openai", "claude"), AI__ATTEMPT_TIMEOUT_S="0.6") as control:
        came = explained(control, tasks(6))
        usage = {row.provider: row for row in control.ledger.usage()}
    assert by_provider(came) == {"claude": 6}
    first, then = answered_at(fake, "openai"), answered_at(fake, "claude")
    late = [then[variant] - first[variant] - 0.6 for variant in first]
    assert min(late) < 0.2  # the others wait for this machine's other work, not for the provider
    # nobody knows what became of what had left: it stays reserved
    assert usage["openai"].unknown == usage["openai"].calls
    assert usage["openai"].unknown_microusd > 0


def test_with_one_of_three_down_nothing_is_lost_and_nobody_waits_long(fake, home):
    fake.script("openai", always=Act(hang=True))
    fake.script("claude", always=Act(latency_s=0.02))
    settings = fake.settings() | {"VCF_PIPELINE_AI__BALANCE": "round_robin", "VCF_PIPELINE_AI__ATTEMPT_TIMEOUT_S": "1"}
    with control_of(home, settings) as control:
        began, ends = time.monotonic(), []
        for one in control.explainer.explain("default", CALLSET, tasks(60)):
            assert one.status == "annotated"
            assert one.given[0].provider in ("claude", "ollama")
            ends.append(time.monotonic() - began)
    assert len(ends) == 60
    assert sum(ends) / len(ends) < 5.0


def test_nothing_may_be_spent_so_nobody_is_asked_though_it_cost_nothing(fake, home):
    with control_of(home, fake.settings("openai", "claude", "ollama"), AI__BUDGET_USD_PER_DAY="0") as control:
        came = explained(control, tasks(5))
    assert outcomes(came) == {("skipped", "BUDGET_SPENT"): 5}
    with control_of(home, fake.settings("ollama", "rules"), AI__BUDGET_USD_PER_DAY="0") as control:
        assert by_provider(explained(control, tasks(5))) == {"rules": 5}
    assert fake.received == []


def test_what_costs_nothing_is_asked_though_the_budget_is_spent(fake, home):
    with control_of(home, fake.settings("openai", "ollama"), AI__BUDGET_USD_PER_DAY="0.000001") as control:
        assert by_provider(explained(control, tasks(5))) == {"ollama": 5}
    assert fake.calls("openai") == []


def test_the_budget_is_spent_on_the_lowest_tiers_and_never_passed(fake, home):
    fake.script("openai", always=Act(latency_s=0.01))
    # each call costs some 0.00005 dollars, and might cost 0.0004
    of = [*tasks(20, first=1, tier=3), *tasks(20, first=100, tier=1), *tasks(20, first=200, tier=2)]
    tier_of = {task.brief.subject: task.tier for task in of}
    with control_of(home, fake.settings("openai"), AI__BUDGET_USD_PER_DAY="0.0016") as control:
        came = explained(control, of)
        (usage,) = control.ledger.usage()
    assert set(outcomes(came)) == {("annotated", ""), ("skipped", "BUDGET_SPENT")}
    assert usage.cost_microusd + usage.unknown_microusd <= 1600
    assert usage.cost_microusd > 1000
    bought = Counter(tier_of[one.subject] for one in came if one.given)
    assert bought[1] == 20
    assert bought[3] == 0 < bought[2]


def test_rules_alone_ask_nobody(home):
    with control_of(home, {}) as control:
        came = explained(control, tasks(3))
        assert outcomes(came) == {("annotated", ""): 3}
        assert by_provider(came) == {"rules": 3}
        assert "openai" not in {row.provider for row in control.ledger.usage()}


def test_rules_answer_at_their_place_in_the_order(fake, home):
    fake.script("openai", always=Act(status=503))
    with control_of(home, fake.settings("openai", "rules", "claude"), AI__FALLBACK_TO_RULES="false") as control:
        came = explained(control, tasks(3))
    assert by_provider(came) == {"rules": 3}
    assert fake.calls("claude") == []


def test_rules_stand_in_with_the_reason_or_it_is_failed(fake, home):
    fake.script("openai", always=Act(lie="citation"))
    with control_of(home, fake.settings("openai")) as control:
        (one,) = explained(control, tasks(1))
    assert (one.status, one.reason, one.given[0].provider) == ("annotated", "BAD_ANSWER", "rules")
    (rejected,) = one.rejected
    assert rejected.provider == "openai"
    assert "NOT_A_KEY" in rejected.text
    assert rejected.problems
    with control_of(home, fake.settings("openai"), AI__FALLBACK_TO_RULES="false") as control:
        (one,) = explained(control, tasks(1, first=2))
    assert (one.status, one.reason, one.given) == ("failed", "BAD_ANSWER", ())


def test_a_bad_answer_is_repaired_once_with_what_was_wrong_with_it(fake, home):
    fake.script("openai", Act(lie="citation"))
    with control_of(home, fake.settings("openai")) as control:
        (one,) = explained(control, tasks(1))
        (usage,) = control.ledger.usage()
    assert (one.status, one.reason, one.calls, one.rejected) == ("annotated", "", 2, ())
    assert one.cost_microusd == usage.cost_microusd
    repair = json.loads(fake.calls("openai")[1].body)["messages"]
    assert [message["role"] for message in repair] == ["system", "user", "assistant", "user"]
    assert "NOT_A_KEY" in repair[2]["content"]
    assert "cited" in repair[3]["content"]


def test_there_is_one_repair_and_no_second(fake, home):
    for at, lie in enumerate(("citation", "empty", "prose")):
        fake.forget()
        fake.script("openai", always=Act(lie=lie))
        with control_of(home, fake.settings("openai")) as control:
            (one,) = explained(control, tasks(1, first=1 + at))
        assert (one.reason, one.calls, len(fake.received)) == ("BAD_ANSWER", 2, 2)
        assert one.rejected[0].problems


def test_a_bad_answer_is_kept_though_another_provider_answers(fake, home):
    fake.script("openai", always=Act(lie="citation"))
    with control_of(home, fake.settings("openai", "claude")) as control:
        (one,) = explained(control, tasks(1))
        assert (one.status, one.reason, one.given[0].provider, one.calls) == ("annotated", "", "claude", 3)
        assert [(rejected.provider, rejected.model) for rejected in one.rejected] == [("openai", "gpt-6-luna")]
        assert "NOT_A_KEY" in one.rejected[0].text
        fake.script("claude", always=Act(lie="prose"))
        (one,) = explained(control, tasks(1, first=2))
    assert {rejected.provider for rejected in one.rejected} == {"openai", "claude"}


def test_a_bad_answer_is_kept_though_its_repair_never_came(fake, home):
    fake.script("openai", Act(lie="citation"), always=Act(status=400))
    with control_of(home, fake.settings("openai", "claude")) as control:
        (one,) = explained(control, tasks(1))
    assert (one.given[0].provider, one.calls) == ("claude", 3)
    assert [rejected.provider for rejected in one.rejected] == ["openai"]


def test_one_that_lies_and_then_asks_for_a_pause_is_not_paid_again_and_again(fake, home):
    fake.script("openai", *[Act(lie="citation"), Act(status=429, retry_after="0")] * 9)
    with control_of(home, fake.settings("openai", "claude")) as control:
        (one,) = explained(control, tasks(1))
    assert one.given[0].provider == "claude"
    assert len(fake.calls("openai")) == 2 * TRIES_A_PROVIDER


def test_a_wrong_key_is_said_once_and_that_provider_is_not_asked_again(fake, home):
    fake.admit("openai", keys={"another"})
    told: list[str] = []
    with control_of(home, fake.settings("openai", "claude")) as control:
        control.tell = told.append
        came = explained(control, tasks(30))
        assert by_provider(came) == {"claude": 30}
        # those that were under way when it was found out, and no more
        assert len(fake.calls("openai")) <= 8
        assert len(told) == 1
        assert "VCF_PIPELINE_OPENAI__API_KEY" in told[0]
        assert KEY not in told[0]


def test_a_wrong_key_alone_leaves_the_rest_to_rules(fake, home):
    fake.admit("openai", keys=set())
    with control_of(home, fake.settings("openai")) as control:
        came = explained(control, tasks(30))
    assert outcomes(came) == {("annotated", "PROVIDER_REFUSED"): 30}
    assert by_provider(came) == {"rules": 30}


def test_an_unknown_price_is_said_once_and_nothing_is_asked(fake, home):
    told: list[str] = []
    with control_of(home, fake.settings("openai"), OPENAI__MODEL="gpt-99") as control:
        control.tell = told.append
        came = explained(control, tasks(3))
    assert outcomes(came) == {("annotated", "UNKNOWN_PRICE"): 3}
    assert len(told) == 1
    assert "VCF_PIPELINE_OPENAI__USD_PER_MTOK_IN" in told[0]
    assert fake.received == []
    known = {"OPENAI__USD_PER_MTOK_IN": "1", "OPENAI__USD_PER_MTOK_OUT": "2"}
    with control_of(home, fake.settings("openai"), OPENAI__MODEL="gpt-99", **known) as control:
        assert by_provider(explained(control, tasks(3))) == {"openai": 3}


def test_a_refused_question_does_not_rest_the_provider(fake, home):
    fake.script("openai", *[Act(status=422)] * 10)
    with control_of(home, fake.settings("openai", "claude"), OPENAI__CONCURRENCY="1") as control:
        came = explained(control, tasks(20))
    assert by_provider(came) == {"claude": 10, "openai": 10}
    assert len(fake.calls("openai")) == 20


def test_failover_never_crosses_the_tenants_policy(fake, home):
    fake.script("ollama", always=Act(status=500))
    policy = {"AI__TENANT_PROVIDERS": "acme=ollama;beta=claude"}
    with control_of(home, fake.settings(), **policy) as control:
        came = explained(control, tasks(3), tenant="acme")
        assert by_provider(came) == {"rules": 3}
        assert {received.provider for received in fake.received} == {"ollama"}
        assert by_provider(explained(control, tasks(3), tenant="beta")) == {"claude": 3}
        assert by_provider(explained(control, tasks(3))) == {"openai": 3}
    nobody = {"AI__TENANT_PROVIDERS": "acme=claude"}
    with control_of(home, fake.settings("openai"), **nobody) as control:
        assert outcomes(explained(control, tasks(2), tenant="acme")) == {("annotated", "NOT_ALLOWED"): 2}


def test_nothing_of_the_tenant_or_the_callset_is_sent(fake, home):
    with control_of(home, fake.settings("openai")) as control:
        list(control.explainer.explain("tenantzebra", "feedfacefeedface", tasks(2), correlation_id="c-secret"))
    for received in fake.received:
        for name in (b"tenantzebra", b"feedface", b"c-secret", str(home).encode()):
            assert name not in received.head + received.body


def test_the_lowest_tier_is_asked_first(fake, home):
    of = [*tasks(10, first=1, tier=4), *tasks(10, first=100, tier=2), *tasks(10, first=200, tier=1)]
    with control_of(home, fake.settings("openai"), OPENAI__CONCURRENCY="1") as control:
        explained(control, of)
    asked = [int(received.variant.split("-")[1]) // 100 for received in fake.calls("openai")]
    assert asked == [2] * 10 + [1] * 10 + [0] * 10


def test_no_more_calls_at_a_time_than_may_be(fake, home):
    fake.script("openai", always=Act(latency_s=0.05))
    with control_of(home, fake.settings("openai"), OPENAI__CONCURRENCY="3") as control:
        explained(control, tasks(15))
    assert fake.most_open("openai") == 3


def test_turns_are_shared_by_weight_and_the_least_loaded_takes_more(fake, home):
    wide = {"OPENAI__WEIGHT": "3", "OPENAI__CONCURRENCY": "40", "CLAUDE__CONCURRENCY": "40"}
    with control_of(home, fake.settings("openai", "claude"), AI__BALANCE="round_robin", **wide) as control:
        assert by_provider(explained(control, tasks(40))) == {"openai": 30, "claude": 10}
    fake.script("openai", always=Act(latency_s=0.3))
    slots = {"OPENAI__CONCURRENCY": "2", "CLAUDE__CONCURRENCY": "2"}
    with control_of(home, fake.settings("openai", "claude"), AI__BALANCE="least_loaded", **slots) as control:
        came = by_provider(explained(control, tasks(40, first=1000)))
    assert came["claude"] > came["openai"] > 0


def test_a_pause_that_the_provider_asks_for_is_kept_and_nothing_is_lost(fake, home):
    fake.script("openai", Act(status=429, retry_after="1"))
    with control_of(home, fake.settings("openai"), OPENAI__CONCURRENCY="1") as control:
        came = explained(control, tasks(3))
    assert by_provider(came) == {"openai": 3}
    first, second = [received.at for received in fake.calls("openai")][:2]
    assert second - first >= 1.0


def test_a_vendors_rate_limit_loses_nothing(fake, home):
    fake.limit("openai", 20.0)
    with control_of(home, fake.settings("openai"), OPENAI__CONCURRENCY="4") as control:
        assert by_provider(explained(control, tasks(25))) == {"openai": 25}


def test_our_own_bound_of_calls_a_minute_gives_the_rest_to_the_next(fake, home):
    with control_of(home, fake.settings("openai", "claude"), OPENAI__REQUESTS_PER_MINUTE="4") as control:
        came = by_provider(explained(control, tasks(12)))
    assert came == {"openai": 4, "claude": 8}


def test_several_answer_and_their_agreement_is_known(fake, home):
    fake.script("ollama", always=Act(lie="label"))
    with control_of(home, fake.settings(), AI__CONSENSUS="3") as control:
        came = explained(control, tasks(4))
        for one in came:
            assert [given.provider for given in one.given] == ["openai", "claude", "ollama"]
            assert agreement(one.given) == pytest.approx(2 / 3)
            assert one.given[0].answer.reading == "pathogenic"
            assert one.calls == 3
        again = explained(control, tasks(4))
    assert len(fake.received) == 12
    assert sum(one.calls for one in again) == 0
    assert all(len(one.given) == 3 for one in again)


def test_two_providers_of_one_models_name_agree_and_are_paid_once(fake, home):
    one_name = {
        f"{provider}__{name}": value
        for provider in ("OPENAI", "CLAUDE")
        for name, value in (("MODEL", "same"), ("USD_PER_MTOK_IN", "1"), ("USD_PER_MTOK_OUT", "1"))
    }
    for calls in (2, 0):
        with control_of(home, fake.settings("openai", "claude"), AI__CONSENSUS="2", **one_name) as control:
            (one,) = explained(control, tasks(1))
        assert (one.reason, {given.provider for given in one.given}, one.calls) == ("", {"openai", "claude"}, calls)


def test_where_some_do_not_answer_the_others_are_shown_and_the_missing_asked_next_time(fake, home):
    fake.script("claude", always=Act(status=400))
    with control_of(home, fake.settings("openai", "claude"), AI__CONSENSUS="2") as control:
        (one,) = explained(control, tasks(1))
        assert (one.status, one.reason, len(one.given)) == ("annotated", "PARTIAL_CONSENSUS", 1)
        fake.forget()
        (one,) = explained(control, tasks(1))
        assert (one.reason, len(one.given), one.calls) == ("", 2, 1)
        assert {received.provider for received in fake.received} == {"claude"}


def test_a_second_is_asked_when_the_first_is_slow_and_the_late_answer_is_kept(fake, home):
    fake.script("openai", always=Act(latency_s=1.5))
    with control_of(home, fake.settings("openai", "claude"), AI__HEDGE_AFTER_S="0.2") as control:
        explained(control, tasks(1, first=900))
        began = time.monotonic()
        (one,) = explained(control, tasks(1))
        assert one.given[0].provider == "claude"
        assert time.monotonic() - began < 10.0
        found = control.ledger.find_answers(
            "default", [one.subject], [("openai", "gpt-6-luna"), ("claude", "claude-haiku-5-5")], "explain-2"
        )
    assert {bought.provider for bought in found[one.subject]} == {"openai", "claude"}


def test_the_same_brief_twice_is_asked_once(fake, home):
    fake.script("openai", always=Act(latency_s=0.2))
    with control_of(home, fake.settings("openai")) as control:
        came = explained(control, [Task(brief(1), 1)] * 5)
    assert len(fake.received) == 1
    assert len(came) == 5
    assert sum(one.calls for one in came) == 1
    assert sum(one.given[0].is_cached for one in came) == 4


def test_a_brief_without_a_fact_is_skipped_unasked(fake, home):
    from dataclasses import replace

    bare = Task(replace(brief(1), facts=()), 1)
    with control_of(home, fake.settings("openai")) as control:
        assert outcomes(explained(control, [bare])) == {("skipped", "NO_FACTS"): 1}
    assert fake.received == []


def test_tasks_are_read_as_they_are_needed(fake, home):
    fake.script("openai", always=Act(latency_s=0.05))
    read = 0

    def endless() -> Iterator[Task]:
        nonlocal read
        while True:
            read += 1
            yield Task(brief(read), 1)

    with control_of(home, fake.settings("openai")) as control:
        came = control.explainer.explain("default", CALLSET, endless())
        for _ in range(5):
            next(came)
        assert read < 1000
        came.close()  # type: ignore[attr-defined]


def test_who_stops_reading_stops_the_asking_and_keeps_what_was_under_way(fake, home):
    fake.script("openai", always=Act(latency_s=0.3))
    with control_of(home, fake.settings("openai"), OPENAI__CONCURRENCY="4") as control:
        came = control.explainer.explain("default", CALLSET, tasks(100))
        next(came)
        came.close()  # type: ignore[attr-defined]
        asked = len(fake.received)
        assert asked < 20
        (usage,) = control.ledger.usage()
        assert (usage.settled, usage.open, usage.unknown) == (asked, 0, 0)
        (share,) = control.ledger.cache_shares()
        assert share.answers == asked


def test_progress_tells_what_came(fake, home):
    told: list[Any] = []
    with control_of(home, fake.settings("openai")) as control:
        list(
            control.explainer.explain(
                "default", CALLSET, tasks(4), progress=lambda tally: told.append((tally.done, tally.calls))
            )
        )
    assert told == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_every_dialect_is_spoken_to_through_the_router(fake, home):
    for name in DIALECTS:
        with control_of(home, fake.settings(name)) as control:
            assert by_provider(explained(control, tasks(2))) == {name: 2}
