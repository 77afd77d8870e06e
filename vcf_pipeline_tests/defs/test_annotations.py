"""Annotations through Dagster: from stream to stores, in a state of their own, asked for again where a word is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

from vcf_pipeline.definitions import definitions
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.envelope import Envelope, decode
from vcf_pipeline.domain.stream.topics import ANALYSIS_REQUESTS, ANALYSIS_RESULTS, DATABASE_WRITES, DEAD_LETTERS
from vcf_pipeline.settings import load_settings
from vcf_pipeline_tests.defs.conftest import Desk
from vcf_pipeline_tests.stages.annotating import PATHOGENIC, vcf
from vcf_pipeline_tests.stages.published import published
from vcf_pipeline_tests.vcf_text import record

VARIANTS = ["kuzu_variants", "lancedb_variants", "parsed_variants", "triaged_variants"]
STORES = ["kuzu_annotations", "lancedb_annotations"]


@pytest.fixture
def announced(desk: Desk) -> str:
    """A published file with two alleles to explain, whose tables and stores are done; its partition."""
    return stream(desk)


def stream(desk: Desk, name: str = "a.vcf", pos: int = 100) -> str:
    path = vcf(desk.folder, *(record("C", PATHOGENIC, pos=pos + at) for at in range(2)), name=name)
    partition = published(str(path), desk.control.coordinator, desk.folder).partition
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    return partition


def made(result: dg.ExecuteInProcessResult) -> list[str]:
    return sorted(event.asset_key.to_user_string() for event in result.all_events if event.is_step_materialization)


def analysis(desk: Desk, partition: str) -> tuple[str, int] | None:
    found = desk.control.ledger.analysis(PartitionKey.parse(partition))
    return None if found is None else (found.state, found.attempts)


def events(desk: Desk, topic: object) -> list[Envelope]:
    return [decode(message.body) for message in desk.control.coordinator.wait([topic], Cursor(), 0.0)]


def one_request(desk: Desk, sensor: str) -> dg.RunRequest:
    (request,) = desk.tick(sensor).run_requests
    return request


def test_what_is_published_is_explained_and_loaded_by_one_sensor_after_the_other(desk: Desk, announced: str) -> None:
    assert desk.state(announced) == "done"
    assert analysis(desk, announced) == ("requested", 0)
    request = one_request(desk, "analysis_request_sensor")
    assert (request.partition_key, request.tags["vcf_pipeline/path"]) == (announced, "stream")
    explained = desk.run(request, "annotations_job")
    assert made(explained) == ["ai_annotations"]
    assert analysis(desk, announced) == ("explained", 0)
    (told,) = events(desk, ANALYSIS_RESULTS)
    assert (told.kind, told.callset_id) == ("analysis/done", announced.rpartition("/")[2])
    loads = one_request(desk, "database_write_sensor")
    assert made(desk.run(loads, "annotation_loads_job")) == STORES
    assert analysis(desk, announced) == ("done", 0)
    assert desk.state(announced) == "done"
    for sensor in ("analysis_request_sensor", "database_write_sensor", "callset_sensor"):
        assert desk.tick(sensor).run_requests == []


def test_lost_cursors_ask_for_nothing_that_is_done_or_under_way(desk: Desk, announced: str) -> None:
    request = one_request(desk, "analysis_request_sensor")
    desk.note_run(dg.DagsterRunStatus.STARTED, {"dagster/partition": announced}, job="annotations_job")
    desk.cursors.clear()
    assert desk.tick("analysis_request_sensor").run_requests == []
    for run in desk.instance.get_runs():
        desk.instance.delete_run(run.run_id)
    assert desk.run(request, "annotations_job").success
    desk.cursors.clear()
    assert desk.tick("analysis_request_sensor").run_requests == []
    assert desk.run(one_request(desk, "database_write_sensor"), "annotation_loads_job").success
    desk.cursors.clear()
    assert desk.tick("database_write_sensor").run_requests == []


def test_the_run_that_asks_is_no_reason_to_wait(desk: Desk, announced: str) -> None:
    """The request is told from the middle of variants_job, which then still loads the stores."""
    desk.note_run(dg.DagsterRunStatus.STARTED, {"dagster/partition": announced})
    assert one_request(desk, "analysis_request_sensor").partition_key == announced


def test_a_request_about_a_triage_that_was_replaced_is_nobodys_business(desk: Desk, announced: str) -> None:
    key = PartitionKey.parse(announced)
    path = desk.control.tables.manifest_path(key.tenant, key.callset_id, "triaged_variants")
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "digest": "d1:" + "0" * 32}))
    assert desk.tick("analysis_request_sensor").run_requests == []


def test_what_cannot_be_read_becomes_a_dead_letter_and_the_next_is_heard(desk: Desk, announced: str) -> None:
    for topic in (ANALYSIS_REQUESTS, DATABASE_WRITES):
        desk.control.coordinator.emit(Envelope(id="x", kind="noise", tenant="t", body=b""), topic, "x")
    assert one_request(desk, "analysis_request_sensor").partition_key == announced
    assert desk.tick("database_write_sensor").run_requests == []
    assert len(events(desk, DEAD_LETTERS)) == 2


def test_a_batch_run_explains_and_loads_all_by_itself_and_no_sensor_runs_anything(desk: Desk) -> None:
    from vcf_pipeline.stages.register import register_callset

    path = vcf(desk.folder, record("C", PATHOGENIC))
    callset, _ = register_callset(
        str(path),
        tenant="default",
        label=None,
        settings=desk.control.settings.reader.to_reader_settings(),
        ledger=desk.control.ledger,
        new_id=lambda: "c",
    )
    partition = str(callset.key)
    desk.instance.add_dynamic_partitions("callsets", [partition])
    request = dg.RunRequest(partition_key=partition, tags={"vcf_pipeline/path": "batch"})
    assert made(desk.run(request, "vcf_batch")) == sorted([*VARIANTS, *STORES, "ai_annotations"])
    assert (desk.state(partition), analysis(desk, partition)) == ("done", ("done", 0))
    assert events(desk, ANALYSIS_REQUESTS) == events(desk, DATABASE_WRITES) == []
    for sensor in ("callset_sensor", "analysis_request_sensor", "database_write_sensor", "reconcile_sensor"):
        assert desk.tick(sensor).run_requests == []


@pytest.fixture
def broken_books(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The explainer cannot keep its books."""

    class Broken:
        def explain(self, *args, **kwargs):
            raise StoreUnavailable(where="books of calls", expected="room", got="a full disk")

        def close(self) -> None:
            return None

    monkeypatch.setitem(desk.control.__dict__, "explainer", Broken())
    yield
    monkeypatch.undo()


def test_a_callset_stays_done_whose_annotation_fails_and_it_is_asked_for_again_three_times(
    desk: Desk, announced: str, broken_books: None, later: None
) -> None:
    assert not desk.run(one_request(desk, "analysis_request_sensor"), "annotations_job").success
    assert desk.state(announced) == "done"
    assert analysis(desk, announced) == ("failed", 1)
    for attempt in (2, 3):
        (again,) = desk.tick("reconcile_sensor").run_requests
        assert (again.job_name, again.partition_key) == ("annotations_job", announced)
        assert again.run_key.endswith(f"/attempt-{attempt}")
        assert not desk.run(again, "annotations_job").success
        assert analysis(desk, announced) == ("failed", attempt)
    given_up = desk.tick("reconcile_sensor")
    assert given_up.run_requests == []
    assert "unexplained" in str(given_up.skip_reason)


@pytest.mark.parametrize(("sensor", "job"), [("analysis", "annotations_job"), ("loads", "annotation_loads_job")])
def test_a_lost_event_is_found_by_reconciling_unless_an_operator_stopped_its_sensor(
    disk_desk: Desk, later: None, sensor: str, job: str
) -> None:
    desk, announced = disk_desk, stream(disk_desk)
    name = "analysis_request_sensor"
    if sensor == "loads":
        assert desk.run(one_request(desk, name), "annotations_job").success
        name = "database_write_sensor"
    stop(desk, name)
    assert desk.tick("reconcile_sensor").run_requests == []
    resume(desk, name)
    (again,) = desk.tick("reconcile_sensor").run_requests
    assert (again.job_name, again.partition_key) == (job, announced)
    assert desk.run(again, job).success
    assert analysis(desk, announced) == (("explained", 0) if sensor == "analysis" else ("done", 0))


def stop(desk: Desk, sensor: str) -> None:
    origin = RemoteInstigatorOrigin(repository_origin=_repository(), instigator_name=sensor)
    desk.instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED))


def resume(desk: Desk, sensor: str) -> None:
    for state in desk.instance.all_instigator_state():
        if state.instigator_name == sensor:
            desk.instance.update_instigator_state(state.with_status(InstigatorStatus.RUNNING))


def _repository():
    from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteRepositoryOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="vcf_pipeline.definitions"))
    return RemoteRepositoryOrigin(location, "__repository__")


def test_a_forgotten_callset_is_not_asked_for(desk: Desk, announced: str, later: None) -> None:
    desk.control.ledger.forget(PartitionKey.parse(announced))
    assert desk.tick("analysis_request_sensor").run_requests == []
    assert desk.tick("reconcile_sensor").run_requests == []


def test_eight_at_once_are_one_run_over_the_range(desk: Desk) -> None:
    partitions = []
    for number in range(8):
        path = vcf(desk.folder, record("C", PATHOGENIC, pos=100 + number), name=f"{number}.vcf")
        partitions.append(published(str(path), desk.control.coordinator, desk.folder).partition)
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    burst = one_request(desk, "analysis_request_sensor")
    assert burst.partition_key is None
    assert desk.run(burst, "annotations_job").success
    assert {analysis(desk, partition) for partition in partitions} == {("explained", 0)}
    loads = one_request(desk, "database_write_sensor")
    assert desk.run(loads, "annotation_loads_job").success
    assert {analysis(desk, partition) for partition in partitions} == {("done", 0)}


def test_the_nightly_backfill_refreshes_annotations_where_there_are_some_already(
    disk_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = disk_desk
    stream(desk)
    night = 1_795_000_000.0
    assert desk.scheduled("backfill_schedule", night) == []
    assert desk.run(one_request(desk, "analysis_request_sensor"), "annotations_job").success
    (loads,) = desk.scheduled("backfill_schedule", night)
    asked = sorted(key.to_user_string() for key in loads.asset_selection or [])
    assert asked == sorted([*VARIANTS, *STORES, "ai_annotations"])
    assert desk.run(loads, "vcf_batch").success
    assert desk.scheduled("backfill_schedule", night + 86_400) == []
    monkeypatch.setattr("vcf_pipeline.stages.annotate.PROMPT_VERSION", "explain-x")
    monkeypatch.setattr("vcf_pipeline.stages.annotate.RULES_VERSION", "sentences-x")
    (again,) = desk.scheduled("backfill_schedule", night + 2 * 86_400)
    result = desk.run(again, "vcf_batch")
    assert result.success
    assert desk.scheduled("backfill_schedule", night + 3 * 86_400) == []


def test_in_the_queue_explanations_come_after_what_makes_a_callset_searchable(desk: Desk, announced: str) -> None:
    def priority(job: str, request: dg.RunRequest) -> int:
        tags = {**definitions.resolve_job_def(job).tags, **request.tags}
        return int(tags.get("dagster/priority", "0"))

    explaining = one_request(desk, "analysis_request_sensor")
    desk.publish(5)
    callset = one_request(desk, "callset_sensor")
    assert priority("annotations_job", explaining) < priority("variants_job", callset)
    assert priority("annotation_loads_job", explaining) < priority("variants_job", callset)


def test_a_model_of_vectors_without_a_price_keeps_no_callset_from_its_backfill(
    disk_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = disk_desk
    stream(desk)
    assert desk.run(one_request(desk, "analysis_request_sensor"), "annotations_job").success
    never = desk.publish(4)
    desk.tick("callset_sensor")
    unpriced = {"VCF_PIPELINE_EMBEDDER__NAME": "openai", "VCF_PIPELINE_OPENAI__EMBEDDING_MODEL": "of-nobody"}
    monkeypatch.setattr(desk.control, "settings", load_settings(unpriced, home=desk.control.home))
    assert [one.partition_key for one in desk.scheduled("backfill_schedule", 1_795_000_000.0)] == [never]


def test_the_operators_see_counts_costs_and_the_first_explanations(desk: Desk, announced: str) -> None:
    result = desk.run(one_request(desk, "analysis_request_sensor"), "annotations_job")
    (event,) = [event for event in result.all_events if event.is_step_materialization]
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["annotated"].value == metadata["dagster/row_count"].value == 2
    assert metadata["calls"].value == metadata["cost_usd"].value == 0
    assert "not a diagnosis" in metadata["note"].value
    (check,) = [event for event in result.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION"]
    assert check.event_specific_data.passed
    assert ("preview" in metadata) == (desk.control.settings.profile == "development")


def test_the_events_carry_ids_and_counts_and_no_variant(desk: Desk, announced: str, tmp_path: Path) -> None:
    assert desk.run(one_request(desk, "analysis_request_sensor"), "annotations_job").success
    for topic in (ANALYSIS_REQUESTS, ANALYSIS_RESULTS, DATABASE_WRITES):
        (message,) = desk.control.coordinator.wait([topic], Cursor(), 0.0)
        assert b"-A-C" not in message.body
        assert b"athogenic" not in message.body
