"""Explaining as a stage: which alleles, in which order, what is kept, what is asked again, what is paid once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.domain.annotation.explained import Explained
from vcf_pipeline.domain.errors import Superseded, TransientError, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.schemas import AI_ANNOTATIONS
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.annotate import Asked, annotate_callset, estimate_callset, why_stale
from vcf_pipeline.testing.fake_providers import Act, FakeProviders
from vcf_pipeline_tests.stages.annotating import PATHOGENIC, Annotating, asked, vcf
from vcf_pipeline_tests.stages.test_triage import KEY, HeldLease, triage
from vcf_pipeline_tests.vcf_text import record

WEAK = "CLNSIG=Pathogenic;CLNREVSTAT=no_assertion_criteria_provided"
VUS = "CLNSIG=Uncertain_significance;CLNREVSTAT=criteria_provided,_single_submitter"
COST = ("cost_microusd", "latency_ms", "cache_hit")
TOMORROW = 86_400.0


@pytest.fixture(scope="module")
def shared_fake() -> Iterator[FakeProviders]:
    with FakeProviders() as started:
        yield started


@pytest.fixture
def fake(shared_fake: FakeProviders) -> FakeProviders:
    shared_fake.received.clear()
    for name in ("openai", "claude", "ollama"):
        shared_fake.script(name, always=Act())
    return shared_fake


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Annotating]:
    """Three of tier 2, then two of tier 1, then one of tier 3 and one of which nothing is known."""
    infos = [WEAK] * 3 + [PATHOGENIC] * 2 + [VUS, "NOTE=x"]
    records = [record("C", info, pos=100 + number) for number, info in enumerate(infos)]
    with Annotating(tmp_path, vcf(tmp_path, *records)) as made:
        yield made


def paid(fake: FakeProviders, **more: str) -> dict[str, str]:
    return fake.settings("openai") | more


def variants(fake: FakeProviders) -> list[str]:
    return [call.variant for call in fake.calls()]


def test_rules_explain_tiers_one_and_two_with_no_call_and_the_tables_types(made: Annotating) -> None:
    report = made.annotate()
    rows = made.rows()
    assert report.rows == {"annotated": 5, "skipped": 0, "failed": 0}
    assert (report.calls, report.cost_microusd, report.cache_hits, report.reused) == (0, 0, 0, False)
    assert rows.schema == pl.DataFrame(schema=AI_ANNOTATIONS).schema
    assert rows["record_no"].to_list() == [0, 1, 2, 3, 4]
    assert rows["tier"].to_list() == [2, 2, 2, 1, 1]
    assert set(rows["provider"]) == {"rules"}
    assert rows["reading"].null_count() == rows["disagrees"].null_count() == 5
    assert set(rows["significance_label"]) == {"pathogenic"}
    triaged = made.triaged().filter(pl.col("tier") <= 2)
    assert rows["row_id"].to_list() == triaged["row_id"].to_list()


def test_the_best_tier_is_asked_for_first_and_a_second_run_asks_nothing(made: Annotating, fake: FakeProviders) -> None:
    made.open(paid(fake, VCF_PIPELINE_OPENAI__CONCURRENCY="1"))
    first = made.annotate()
    assert sorted(variants(fake)[:2]) == ["1-103-A-C", "1-104-A-C"]
    assert first.calls == len(variants(fake)) == 5
    assert first.cost_microusd > 0
    before = made.rows()
    again = made.annotate()
    assert (again.reused, again.calls, again.cost_microusd) == (True, 0, 0)
    forced = made.annotate(force=True)
    assert (forced.reused, forced.calls, forced.cost_microusd, forced.cache_hits) == (False, 0, 0, 5)
    assert len(variants(fake)) == 5
    assert made.rows().drop(COST).equals(before.drop(COST))
    assert forced.digest == first.digest


def test_the_label_is_the_rules_whatever_is_read_and_a_disagreement_is_flagged(
    made: Annotating, fake: FakeProviders
) -> None:
    fake.script("openai", always=Act(lie="label"))
    made.open(paid(fake))
    made.annotate()
    rows = made.rows()
    assert set(rows["significance_label"]) == {"pathogenic"}
    assert set(rows["reading"]) == {"benign"}
    assert rows["disagrees"].all()
    assert made.triaged()["significance"].to_list()[:5] == ["pathogenic"] * 5


def test_the_same_allele_twice_in_a_file_is_paid_for_once(tmp_path: Path, fake: FakeProviders) -> None:
    twice = [record("C", PATHOGENIC, pos=100), record("C", PATHOGENIC, pos=100), record("G", PATHOGENIC, pos=100)]
    with Annotating(tmp_path, vcf(tmp_path, *twice), paid(fake)) as made:
        report = made.annotate()
        rows = made.rows()
    assert report.rows["annotated"] == 3
    assert sorted(variants(fake)) == ["1-100-A-C", "1-100-A-G"]
    costs = rows["cost_microusd"].to_list()
    assert sorted(costs[:2])[0] == 0 < sorted(costs[:2])[1]
    assert rows["cache_hit"].to_list().count(True) == 1
    assert report.cost_microusd == sum(costs)


def test_a_budget_of_nothing_makes_no_call_and_says_so_and_another_day_or_budget_asks(
    made: Annotating, fake: FakeProviders
) -> None:
    made.open(paid(fake, VCF_PIPELINE_AI__BUDGET_USD_PER_DAY="0"))
    report = made.annotate()
    assert variants(fake) == []
    assert report.rows == {"annotated": 0, "skipped": 5, "failed": 0}
    assert report.reasons == {"BUDGET_SPENT": 5}
    assert made.annotate().reused
    wanted, now = made.control.wanted(KEY.tenant), time.time()
    assert why_stale(KEY, made.tables, wanted, now) == []
    assert why_stale(KEY, made.tables, wanted, now + TOMORROW) == [], "tomorrow nobody is asked either"
    made.open(paid(fake, VCF_PIPELINE_AI__BUDGET_USD_PER_DAY="0.000001"))
    assert made.annotate().reasons == {"BUDGET_SPENT": 5}
    wanted = made.control.wanted(KEY.tenant)
    assert why_stale(KEY, made.tables, wanted, now) == []
    assert "for the budget of that day" in why_stale(KEY, made.tables, wanted, now + TOMORROW)[0]
    made.open(paid(fake))
    assert made.annotate().rows["annotated"] == 5
    assert why_stale(KEY, made.tables, made.control.wanted(KEY.tenant), now + TOMORROW) == []


@pytest.mark.parametrize("reason", ["BUDGET_SPENT", "PROVIDER_REFUSED", "BAD_ANSWER"])
def test_what_an_earlier_model_said_stays_until_the_new_one_can_be_asked(
    made: Annotating, fake: FakeProviders, reason: str
) -> None:
    made.open(paid(fake))
    made.annotate()
    before = made.rows()
    acts = {"PROVIDER_REFUSED": Act(status=401), "BAD_ANSWER": Act(lie="citation")}
    fake.script("openai", always=acts.get(reason, Act()))
    newer = paid(fake, VCF_PIPELINE_OPENAI__MODEL="gpt-6-sol")
    made.open(newer | ({"VCF_PIPELINE_AI__BUDGET_USD_PER_DAY": "0.000001"} if reason == "BUDGET_SPENT" else {}))
    report = made.annotate()
    assert (report.rows["annotated"], report.reasons, report.providers) == (5, {reason: 5}, {"openai": 5})
    kept = made.rows()
    said = ["row_id", "status", "summary", "cited", "reading", "disagrees", "provider", "model", "prompt_version"]
    assert kept.select(said).equals(before.select(said))
    assert kept["model"].unique().to_list() == ["gpt-6-luna"]
    stale = why_stale(KEY, made.tables, made.control.wanted(KEY.tenant), time.time() + TOMORROW)
    assert bool(stale) == (reason != "BAD_ANSWER")
    fake.script("openai", always=Act())
    made.open(newer)
    made.annotate(force=True)
    assert made.rows()["model"].unique().to_list() == ["gpt-6-sol"]


def test_what_was_said_of_another_triage_or_may_not_be_asked_does_not_stay(
    made: Annotating, fake: FakeProviders
) -> None:
    made.open(paid(fake))
    made.annotate()
    nobody = {
        "VCF_PIPELINE_AI__TENANT_PROVIDERS": f"{KEY.tenant}=claude",
        "VCF_PIPELINE_AI__FALLBACK_TO_RULES": "false",
    }
    made.open(paid(fake) | nobody)
    assert made.annotate().reasons == {"NOT_ALLOWED": 5}
    made.open(paid(fake))
    made.annotate()
    triage(made.tables, thresholds=TriageThresholds(decisive_stars=3), fence=3)
    made.open(paid(fake, VCF_PIPELINE_OPENAI__MODEL="gpt-6-sol", VCF_PIPELINE_AI__BUDGET_USD_PER_DAY="0.000001"))
    report = made.annotate()
    assert report.rows["skipped"] == sum(report.rows.values()) > 0


def test_rules_stand_in_where_nobody_answers_and_it_is_tried_again_when_it_is_run_again(
    made: Annotating, fake: FakeProviders
) -> None:
    fake.script("openai", always=Act(status=401))
    made.open(paid(fake))
    report = made.annotate()
    assert report.rows["annotated"] == 5
    assert report.providers == {"rules": 5}
    assert report.reasons == {"PROVIDER_REFUSED": 5}
    assert "no answer of a provider" in why_stale(KEY, made.tables, made.control.wanted(KEY.tenant), time.time())[0]
    fake.script("openai", always=Act())
    made.open(paid(fake))
    assert made.annotate().providers == {"openai": 5}


@pytest.mark.parametrize("lie", ["citation", "number", "shape", "prose", "long", "advice"])
def test_a_lying_answer_is_never_stored_and_becomes_a_dead_letter(
    tmp_path: Path, fake: FakeProviders, lie: str
) -> None:
    fake.script("openai", always=Act(lie=lie))
    path = vcf(tmp_path, record("C", PATHOGENIC))
    with Annotating(tmp_path, path, paid(fake, VCF_PIPELINE_AI__FALLBACK_TO_RULES="false")) as made:
        report = made.annotate()
        (row,) = made.rows().iter_rows(named=True)
        assert report.rows == {"annotated": 0, "skipped": 0, "failed": 1}
        assert (row["reason"], row["summary"], row["significance_label"]) == ("BAD_ANSWER", None, "pathogenic")
        assert len(fake.calls()) == 2, "one repair"
        ((body, origin, reason),) = made.letters
    letter = json.loads(body)
    assert letter["brief"]["variant"] == "1-100-A-C"
    assert letter["problems"]
    assert reason
    assert origin == f"ai_annotations of {KEY}"
    assert len(body) < 20_000


def test_a_lie_becomes_a_dead_letter_though_another_provider_answers(tmp_path: Path, fake: FakeProviders) -> None:
    fake.script("openai", always=Act(lie="citation"))
    with Annotating(tmp_path, vcf(tmp_path, record("C", PATHOGENIC)), fake.settings("openai", "claude")) as made:
        report = made.annotate()
        (row,) = made.rows().iter_rows(named=True)
        assert (row["status"], row["reason"], row["provider"]) == ("annotated", None, "claude")
        assert (report.calls, report.reasons) == (3, {})
        ((body, _, reason),) = made.letters
    letter = json.loads(body)
    assert (letter["provider"], letter["brief"]["variant"]) == ("openai", "1-100-A-C")
    assert "NOT_A_KEY" in letter["answer"]
    assert reason.startswith("openai: ")


def test_other_models_tiers_or_triage_make_it_stale_and_nothing_else_does(made: Annotating) -> None:
    made.annotate()
    wanted = made.control.wanted(KEY.tenant)
    assert why_stale(KEY, made.tables, wanted, time.time()) == []
    other = [
        replace(wanted, tiers=(1, 2, 3)),
        replace(wanted, annotators=(("openai", "a-model"), *wanted.annotators)),
        replace(wanted, may_fall_back=False, annotators=(("ollama", "a-model"),)),
    ]
    assert all(why_stale(KEY, made.tables, one, time.time()) for one in other)
    assert why_stale(KEY, made.tables, replace(wanted, budget_microusd=7), time.time()) == []


def test_an_estimate_counts_calls_and_money_and_asks_nobody(made: Annotating, fake: FakeProviders) -> None:
    from vcf_pipeline.cli.explaining import estimated  # what `run --annotate` shows

    made.open(paid(fake))
    made.control.__dict__["tables"] = made.tables
    estimate = estimated(made.control, KEY)
    assert (estimate.alleles, estimate.distinct, estimate.calls, estimate.cache_hits) == (5, 5, 5, 0)
    assert variants(fake) == []
    report = made.annotate()
    assert report.calls == estimate.calls < estimate.most_calls
    assert 0 < report.cost_microusd <= estimate.at_once_microusd < estimate.cost_microusd
    after = estimated(made.control, KEY)
    assert (after.is_current, after.calls, after.cost_microusd) == (True, 0, 0)
    told = {"key": KEY, "tables": made.tables, "budget_left_microusd": 10, "at": time.time()}
    wanted = replace(made.control.wanted(KEY.tenant), tiers=(1, 2, 3))
    from vcf_pipeline.domain.annotation.prices import Price

    models = [("openai", made.control.wanted(KEY.tenant).annotators[0][1])]
    more = estimate_callset(
        wanted=wanted,
        asked=[Asked("openai", Price(1, 1, 1), 0)],
        bought_before=lambda subjects: made.control.ledger.find_answers(KEY.tenant, subjects, models, "explain-2"),
        **told,
    )
    assert (more.alleles, more.calls, more.cache_hits, more.most_calls, more.cost_microusd) == (6, 1, 5, 6, 6)


def test_an_estimate_is_a_bound_of_what_all_providers_and_their_repairs_can_cost(
    tmp_path: Path, fake: FakeProviders
) -> None:
    from vcf_pipeline.cli.explaining import estimated

    for name in ("openai", "claude"):
        fake.script(name, *[Act(lie="citation"), Act(status=500)] * 3)
    with Annotating(tmp_path, vcf(tmp_path, record("C", PATHOGENIC)), fake.settings("openai", "claude")) as made:
        made.control.__dict__["tables"] = made.tables
        estimate = estimated(made.control, KEY)
        assert (estimate.calls, estimate.most_calls) == (1, 12)
        report = made.annotate()
        assert report.calls == len(fake.calls()) == estimate.most_calls
        assert report.cost_microusd < made.control.ledger.spent_today(KEY.tenant) <= estimate.cost_microusd


@pytest.mark.parametrize(
    ("settings", "reason", "calls"),
    [
        ({"AI__BUDGET_USD_PER_DAY": "0"}, "BUDGET_SPENT", 0),
        ({"AI__BUDGET_USD_PER_DAY": "0.000001"}, "BUDGET_SPENT", 0),
        ({"AI__BUDGET_USD_PER_DAY": "0", "AI__PROVIDERS": "ollama"}, "BUDGET_SPENT", 0),
        ({"AI__BUDGET_USD_PER_DAY": "0.000001", "AI__PROVIDERS": "openai,ollama"}, "", 5),
        ({"OPENAI__MODEL": "gpt-99"}, "UNKNOWN_PRICE", 0),
        ({"AI__PROVIDERS": "rules"}, "", 0),
    ],
)
def test_an_estimate_says_why_nobody_will_be_asked(
    made: Annotating, fake: FakeProviders, settings: dict[str, str], reason: str, calls: int
) -> None:
    from vcf_pipeline.cli.explaining import estimated

    named = {f"VCF_PIPELINE_{name}": value for name, value in settings.items()}
    made.open(fake.settings("openai") | named)
    made.control.__dict__["tables"] = made.tables
    estimate = estimated(made.control, KEY)
    assert (estimate.reason, estimate.calls, estimate.cost_microusd) == (reason, calls, 0)
    assert (estimate.most_calls > 0) == (calls > 0)
    assert made.annotate().calls == calls


def test_without_a_triage_it_says_what_to_do_and_a_lost_lease_leaves_the_table_as_it_was(made: Annotating) -> None:
    nobody = PartitionKey("default", "f" * 16)
    told = {"tables": made.tables, "wanted": made.control.wanted("default"), "explainer": made.control.explainer}
    with pytest.raises(UnknownPartition, match="materialise triaged_variants"):
        annotate_callset(key=nobody, lease=HeldLease(1), **told)
    made.annotate()
    before = made.rows()
    with pytest.raises(Superseded):
        annotate_callset(key=KEY, lease=HeldLease(3, lost=True), force=True, **told)
    assert made.rows().equals(before)


def test_an_asking_that_was_stopped_half_way_writes_no_table(made: Annotating) -> None:
    class Stops:
        def explain(self, tenant, callset_id, tasks, *, correlation_id=""):
            for task in list(tasks)[:2]:
                yield Explained(task.brief.subject, "failed", "PROVIDER_UNAVAILABLE")

    wanted = made.control.wanted("default")
    with pytest.raises(TransientError, match="stopped"):
        annotate_callset(key=KEY, tables=made.tables, lease=HeldLease(1), wanted=wanted, explainer=Stops())
    assert made.tables.manifest(KEY.tenant, KEY.callset_id, "ai_annotations") is None


def test_a_callset_without_an_allele_to_explain_has_an_empty_table(tmp_path: Path) -> None:
    with Annotating(tmp_path, vcf(tmp_path, record("C", "NOTE=x"))) as made:
        report = made.annotate()
        assert sum(report.rows.values()) == report.wanted == made.rows().height == 0


def test_what_is_asked_is_the_question_of_this_version_and_one_json_object(
    made: Annotating, fake: FakeProviders
) -> None:
    made.open(paid(fake))
    made.annotate()
    for call in fake.calls():
        system, user = asked(call)
        assert system["role"] == "system"
        assert set(json.loads(user["content"])) == {"assembly", "variant", "significance", "reasons", "facts"}
