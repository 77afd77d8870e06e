"""What runs tell: by stream and by batch, done, failed and refused; and a stand-in for the stages that hear it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from vcf_pipeline.domain.errors import BrokerUnavailable, StreamBroken
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import Heard, heard_events
from vcf_pipeline.domain.stream.run_plan import Progress, RunPlanned, View, plan_runs, stage_progress
from vcf_pipeline.domain.stream.stage_events import (
    AnalysisDone,
    AnalysisRequested,
    CacheInvalidated,
    Notification,
    StageEvent,
    WriteRequested,
)
from vcf_pipeline.domain.stream.topics import (
    ANALYSIS_REQUESTS,
    CACHE_EVENTS,
    DATABASE_WRITES,
    USER_NOTIFICATIONS,
    Topic,
)
from vcf_pipeline_tests.defs.conftest import Desk


def told(desk: Desk, topic: Topic, kind: type[StageEvent]) -> list[Any]:
    messages = desk.control.coordinator.wait([topic], Cursor(), 0.05)
    return [one.event for one in heard_events(kind, messages)]


def notifications(desk: Desk) -> list[Notification]:
    return told(desk, USER_NOTIFICATIONS, Notification)


def asked(desk: Desk) -> Any:
    (request,) = desk.tick("callset_sensor").run_requests
    return request


def test_a_stream_run_tells_the_next_stage_the_caches_and_people(desk: Desk) -> None:
    partition = desk.publish(12)
    request = asked(desk)
    assert desk.run(request).success
    (wanted,) = told(desk, ANALYSIS_REQUESTS, AnalysisRequested)
    assert str(wanted.key) == partition
    key = PartitionKey.parse(partition)
    triaged = desk.control.tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    assert wanted.digest == triaged.digest
    assert sum(wanted.tiers.values()) == triaged.rows("triaged")
    assert wanted.correlation_id == desk.control.ledger.callset(key).correlation_id
    stores = Counter(event.store for event in told(desk, CACHE_EVENTS, CacheInvalidated))
    assert stores == {"lancedb": 1, "kuzu": 1}
    *before, last = notifications(desk)
    assert {(one.state, one.asset) for one in before} == {
        ("running", asset) for asset in ("parsed_variants", "triaged_variants", "lancedb_variants", "kuzu_variants")
    }
    callset = desk.control.ledger.callset(key)
    assert (last.state, last.digest, last.records, last.alleles) == (
        "done",
        callset.digest,
        callset.records,
        callset.alleles,
    )
    assert last.stores["lancedb"] == callset.alleles
    assert told(desk, DATABASE_WRITES, WriteRequested) == []


def test_explanations_are_asked_for_once_the_callset_is_searchable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = desk.publish(12)
    request = asked(desk)
    emitted = desk.control.coordinator.emit
    states: dict[str, set[str]] = {}

    def noted(envelope: Any, topic: Topic, key: str, **how: Any) -> Any:
        states.setdefault(topic.name, set()).add(desk.state(partition))
        return emitted(envelope, topic, key, **how)

    monkeypatch.setattr(desk.control.coordinator, "emit", noted)
    assert desk.run(request).success
    assert states[ANALYSIS_REQUESTS.name] == {"done"}
    assert states[CACHE_EVENTS.name] <= {"running", "done"}


def test_what_is_told_after_triage_was_in_the_ledger_before_the_loads_began(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vcf_pipeline.stages import load

    partition = desk.publish(12)
    request = asked(desk)

    def broken(**_: Any) -> None:
        raise StreamBroken(where="here", expected="this", got="that", code="SOME_CODE")

    monkeypatch.setattr(load, "load_lancedb", broken)
    assert not desk.run(request).success
    assert told(desk, ANALYSIS_REQUESTS, AnalysisRequested) == []
    waiting = desk.control.ledger.analysis(PartitionKey.parse(partition))
    assert waiting.state == "requested"  # reconciling asks for it, should the load never succeed


def test_a_batch_run_asks_no_other_stage_and_tells_caches_and_people_all_the_same(desk: Desk) -> None:
    desk.publish(12)
    request = asked(desk)
    batch = request._replace(tags={**request.tags, "vcf_pipeline/path": "batch"})
    assert desk.run(batch, "vcf_batch").success
    assert told(desk, ANALYSIS_REQUESTS, AnalysisRequested) == []
    assert len(told(desk, CACHE_EVENTS, CacheInvalidated)) == 4  # two stores, of variants and of what is said of them
    assert [one.state for one in notifications(desk)].count("done") == 1


def test_a_failed_run_says_why_and_whether_a_rerun_may_cure_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from vcf_pipeline.stages import triage

    partition = desk.publish(12)

    def broken(**_: Any) -> None:
        raise StreamBroken(where="here", expected="this", got="that", code="SOME_CODE")

    monkeypatch.setattr(triage, "triage_callset", broken)
    assert not desk.run(asked(desk)).success
    last = notifications(desk)[-1]
    assert (last.state, last.code, last.is_permanent, str(last.key)) == ("failed", "SOME_CODE", True, partition)
    assert "expected this, got that" in last.reason


def test_an_event_that_cannot_be_told_fails_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = desk.publish(12)
    request = asked(desk)

    def unreachable(*_: Any, **__: Any) -> None:
        raise BrokerUnavailable(where="every broker", got="no answer")

    monkeypatch.setattr(desk.control.coordinator, "emit", unreachable)
    assert desk.run(request).success
    assert desk.state(partition) == "done"
    monkeypatch.undo()
    assert notifications(desk) == []


def test_a_vendors_own_exception_fails_nothing_either(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = desk.publish(12)
    request = asked(desk)

    def raises(*_: Any, **__: Any) -> None:
        raise RuntimeError("not ours")

    monkeypatch.setattr(desk.control.coordinator, "emit", raises)
    assert desk.run(request).success
    assert desk.state(partition) == "done"


def test_who_announces_what_is_done_gets_the_answer_of_the_first(desk: Desk) -> None:
    desk.publish(12)
    assert desk.run(asked(desk)).success
    desk.control.notices._told.clear()
    desk.cursors.clear()
    assert desk.tick("callset_sensor").run_requests == []
    done = [one for one in notifications(desk) if one.state == "done"]
    assert len(done) == 2
    assert done[0].id == done[1].id


# --- a stand-in for the stages that the AI issue brings


@dataclass
class StandIn:
    """Hears one topic with a cursor of its own, asks `plan_runs`, and does the runs as a later stage will."""

    desk: Desk
    topic: Topic
    kind: type[StageEvent]
    stage: str
    cursor: str = ""
    done: dict[str, str] = field(default_factory=dict)

    def tick(self) -> tuple[RunPlanned, ...]:
        control = self.desk.control
        cursor = Cursor.from_json(self.cursor)
        messages: list[Heard[Any]] = heard_events(self.kind, control.coordinator.wait([self.topic], cursor, 0.05))
        partitions = self.desk.instance.get_dynamic_partitions("callsets")
        plan = plan_runs(messages, View(self._progress(messages), partitions), cursor, stage=self.stage)
        for letter in plan.dead_letters:
            control.coordinator.dead_letter(letter.body, origin=str(letter.place), reason=letter.reason)
        self.cursor = json.dumps(json.loads(plan.cursor.to_json()))
        return plan.runs

    def _progress(self, messages: list[Heard[Any]]) -> dict[str, Progress]:
        answer = {}
        for event in (one.event for one in messages if one.event is not None):
            callset = self.desk.control.ledger.callset(event.key)
            manifest = self.desk.control.tables.manifest(event.tenant, event.callset_id, "triaged_variants")
            answer[event.id] = stage_progress(
                event,
                generation=None if callset is None or callset.state == "forgotten" else callset.generation,
                current=manifest.digest if manifest is not None else "",
                done=self.done.get(str(event.key), ""),
                has_run=False,
            )
        return answer


def test_events_of_one_stage_start_the_next_up_to_the_last_and_each_once(desk: Desk) -> None:
    partition = desk.publish(12)
    assert desk.run(asked(desk)).success
    analysis = StandIn(desk, ANALYSIS_REQUESTS, AnalysisRequested, "annotations")
    (run,) = analysis.tick()
    assert run.partition_keys == (partition,)
    assert run.tags["vcf_pipeline/path"] == "stream"
    (wanted,) = told(desk, ANALYSIS_REQUESTS, AnalysisRequested)
    about = {name: getattr(wanted, name) for name in ("tenant", "callset_id", "generation", "correlation_id", "digest")}
    assert desk.control.notices.tell(WriteRequested(**about, asset="ai_annotations"), "stream")
    assert not desk.control.notices.tell(WriteRequested(**about, asset="other"), "batch")
    assert desk.control.notices.tell(AnalysisDone(**about, rows={"annotated": 1}), "batch")
    analysis.done[partition] = wanted.digest
    writes = StandIn(desk, DATABASE_WRITES, WriteRequested, "annotation_loads")
    (write,) = writes.tick()
    assert write.key.startswith(f"annotation_loads/{partition}/")
    # cursors lost: what is done is dropped
    analysis.cursor = ""
    assert analysis.tick() == ()
    assert writes.tick() == ()


def test_an_event_from_before_a_forget_starts_nothing(desk: Desk) -> None:
    partition = desk.publish(12)
    assert desk.run(asked(desk)).success
    desk.control.ledger.forget(PartitionKey.parse(partition))
    assert StandIn(desk, ANALYSIS_REQUESTS, AnalysisRequested, "annotations").tick() == ()
