"""Events of stages: each kind goes through the wire, a resend is recognised, nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.adapters.broker.port import Message
from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.events import (
    KINDS,
    STAGE_EVENTS,
    Heard,
    heard_events,
    read_event,
    topic_of,
    why_unreadable,
)
from vcf_pipeline.domain.stream.run_plan import Progress, View, plan_runs, stage_progress
from vcf_pipeline.domain.stream.stage_events import (
    AnalysisDone,
    AnalysisRequested,
    CacheInvalidated,
    Notification,
    StageEvent,
    WriteRequested,
)
from vcf_pipeline.domain.stream.topics import ANALYSIS_REQUESTS, CONTROL, DEAD_LETTERS, Topic

ABOUT = {
    "tenant": "lab",
    "callset_id": "ab" * 8,
    "generation": 3,
    "correlation_id": "c-1",
    "digest": "t1:" + "0" * 32,
}
EVENTS: tuple[StageEvent, ...] = (
    AnalysisRequested(**ABOUT, tiers={"1": 2, "unknown": 9}),
    AnalysisDone(**ABOUT, rows={"annotated": 2}),
    WriteRequested(**ABOUT, asset="ai_annotations"),
    CacheInvalidated(**ABOUT, store="kuzu", version=7),
    Notification(**ABOUT, state="failed", run_id="r", code="X", reason="it is broken", is_permanent=True),
    Notification(**ABOUT, state="done", records=5, alleles=6, rejected=1, stores={"lancedb": 6, "kuzu": 4}),
)


def wire(event: StageEvent) -> bytes:
    return frame.encode(event.to_envelope(ts=1, producer="test"))


def test_every_control_topic_but_the_letters_has_its_kind() -> None:
    assert set(KINDS.values()) == {topic.name for topic in CONTROL} - {DEAD_LETTERS.name}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.KIND)
def test_an_event_comes_out_of_its_topic_as_it_went_in_and_out_of_no_other(event: StageEvent) -> None:
    assert read_event(topic_of(event), wire(event)) == event
    assert why_unreadable(topic_of(event), wire(event)) == ""
    for topic in CONTROL:
        if topic != topic_of(event):
            assert why_unreadable(topic, wire(event))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.KIND)
def test_a_resend_has_the_same_id_and_a_new_result_generation_or_tenant_another(event: StageEvent) -> None:
    assert replace(event, correlation_id="another").id == event.id
    others = [
        replace(event, digest="t1:" + "1" * 32),
        replace(event, generation=4),
        replace(event, tenant="other"),
        replace(event, callset_id="cd" * 8),
    ]
    assert len({event.id, *(other.id for other in others)}) == 5


def test_done_is_done_whichever_run_says_so_and_failures_are_of_one_run() -> None:
    done = Notification(**ABOUT, state="done", run_id="a")
    assert replace(done, run_id="b").id == done.id
    failed = replace(done, state="failed")
    assert replace(failed, run_id="b").id != failed.id


@pytest.mark.parametrize(
    "changed",
    [
        {"tenant": "../etc"},
        {"callset_id": "not-hex"},
        {"generation": 1 << 40},
        {"digest": "x" * 3000},
        {"digest": "a\0b"},
        {"tiers": {"1": -1}},
        {"tiers": {"1": 1 << 63}},
        {"tiers": {1: 1}},
    ],
    ids=str,
)
def test_what_no_ledger_could_keep_is_unreadable(changed: dict[str, object]) -> None:
    with pytest.raises(UnreadableMessage):
        read_event(ANALYSIS_REQUESTS, wire(replace(EVENTS[0], **changed)))


def test_an_id_that_does_not_follow_from_what_the_event_says_is_unreadable() -> None:
    forged = replace(EVENTS[0].to_envelope(ts=1, producer="x"), id="0" * 32)
    with pytest.raises(UnreadableMessage, match="id"):
        read_event(ANALYSIS_REQUESTS, frame.encode(forged))


@given(st.binary(max_size=200), st.sampled_from(sorted(STAGE_EVENTS)))
def test_any_bytes_are_an_event_or_have_a_reason(body: bytes, topic: str) -> None:
    (one,) = heard_events(STAGE_EVENTS[topic], [Message(Topic(topic), 0, 4, body, broker="b", incarnation="i")])
    assert (one.event is None) == bool(one.reason)
    assert one.place == Place("b", topic, "i", 0, 4)


# --- which runs events ask for: the very decision that announcements have


def asked(*events: AnalysisRequested) -> list[Heard[AnalysisRequested]]:
    return [Heard(Place("b", ANALYSIS_REQUESTS.name, "i", 0, offset), event) for offset, event in enumerate(events)]


def of(number: int, digest: str = "t1:0") -> AnalysisRequested:
    return AnalysisRequested(
        tenant="lab", callset_id=f"{number:016x}", generation=0, correlation_id=f"c{number}", digest=digest
    )


def keys(numbers: Sequence[int]) -> list[str]:
    return [f"lab/{number:016x}" for number in numbers]


def test_an_event_asks_for_one_run_of_its_stage_and_a_repeat_for_none() -> None:
    plan = plan_runs(asked(of(1), of(1)), View(partitions=keys([1])), Cursor(), stage="annotations")
    (run,) = plan.runs
    assert run.key == f"annotations/lab/{1:016x}/0/t1:0"
    assert plan.accepted == (of(1),)
    assert plan.cursor.has_passed(Place("b", ANALYSIS_REQUESTS.name, "i", 0, 1))


def test_a_burst_of_one_tenant_is_one_run_over_its_range() -> None:
    plan = plan_runs(asked(*map(of, range(9))), View(partitions=keys(range(9))), Cursor(), stage="annotations")
    (run,) = plan.runs
    assert run.is_range
    assert list(run.members) == keys(range(9))


def test_poison_among_events_is_a_dead_letter_and_the_rest_runs() -> None:
    poison: Heard[AnalysisRequested] = Heard(Place("b", ANALYSIS_REQUESTS.name, "i", 0, 9), None, "no map", b"x")
    plan = plan_runs([poison, *asked(of(1))], View(partitions=keys([1])), Cursor(), stage="annotations")
    assert [letter.body for letter in plan.dead_letters] == [b"x"]
    assert len(plan.runs) == 1


@pytest.mark.parametrize(
    ("known", "progress"),
    [
        ({}, Progress("none", 0)),
        ({"generation": None}, Progress("forgotten", 0)),
        ({"generation": 1}, Progress("forgotten", 1)),
        ({"current": "t1:9"}, Progress("forgotten", 0)),
        ({"done": "t1:0"}, Progress("done", 0, "t1:0")),
        ({"done": "t1:8"}, Progress("none", 0)),
        ({"has_run": True}, Progress("in_flight", 0)),
        ({"attempts": 2}, Progress("range_failed", 0, attempts=2)),
    ],
    ids=str,
)
def test_what_is_done_in_flight_forgotten_or_replaced_asks_for_nothing(
    known: dict[str, object], progress: Progress
) -> None:
    facts = {"generation": 0, "current": "t1:0", "done": "", "has_run": False, **known}
    found = stage_progress(of(1), **facts)  # type: ignore[arg-type]
    assert found == progress
    plan = plan_runs(asked(of(1)), View({of(1).id: found}, keys([1])), Cursor(), stage="annotations")
    assert bool(plan.runs) == (found.state in ("none", "range_failed"))
    assert PartitionKey.parse(keys([1])[0]) == of(1).key
