"""parsed_variants where the stream cannot be read any more: the callset's own file is, and the manifest says why.

Where that is gone too, the same content published again is what it is read from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from vcf_pipeline.defs.parsed_variants import parsed_variants
from vcf_pipeline.domain.errors import BrokerUnfit, MissingChunks
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.stream.topics import Topic, variants_topic
from vcf_pipeline.domain.tables.manifest import Manifest
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.publish import PublishReport
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.defs.conftest import QUIET, Desk
from vcf_pipeline_tests.stages.published import made_vcf, published

TOPIC = variants_topic("t")
Fault = Callable[[ScriptedBroker, Segment], None]


def loses_a_chunk(broker: ScriptedBroker, segment: Segment) -> None:
    """Its bytes are another publication's now."""
    stored = broker._logs[TOPIC].partitions[segment.partition]
    taken = frame.decode(stored[segment.last_offset])
    stored[segment.last_offset] = frame.encode(frame.Envelope(id="x", kind=taken.kind, tenant="t", body=b""))


def becomes_another_version(broker: ScriptedBroker, segment: Segment) -> None:
    def refuse(topic: Topic) -> str:
        raise BrokerUnfit(where="iggy", expected="0.9", got="0.10", code="BROKER_VERSION")

    broker.incarnation = refuse  # type: ignore[method-assign]


FAULTS: dict[str, Fault] = {
    "BROKER_VERSION": becomes_another_version,
    "BROKER_UNAVAILABLE": lambda broker, segment: broker.die(),
    "BROKER_TIMEOUT": lambda broker, segment: broker.freeze(),
    "OFFSET_LOST": lambda broker, segment: broker.expire(TOPIC, segment.partition, segment.last_offset),
    "TOPIC_RECREATED": lambda broker, segment: broker.recreate(TOPIC),
    "OFFSET_REGRESSED": lambda broker, segment: broker.regress(TOPIC, segment.partition, segment.last_offset),
    "MISSING_CHUNKS": loses_a_chunk,
}


@pytest.fixture
def broker(desk: Desk) -> ScriptedBroker:
    """In place of the embedded log of the desk."""
    broker = ScriptedBroker(name="iggy", call_timeout_s=1.0)
    desk.control.close()
    settings = load_settings({}, home=desk.folder / "home", sensor={"hold_seconds": 0.05}, stream={"reconnect_s": 0.1})
    desk.control = Control(settings, brokers=[broker])
    return broker


def manifest_of(desk: Desk, partition: str) -> Manifest | None:
    key = PartitionKey.parse(partition)
    return desk.control.tables.manifest(key.tenant, key.callset_id, "parsed_variants")


def announced_segment(desk: Desk, partition: str) -> Segment:
    announced = desk.control.ledger.announcement(PartitionKey.parse(partition))
    assert announced is not None
    return announced.segments[0]


@pytest.mark.parametrize("code", FAULTS)
def test_the_file_is_read_where_no_broker_can_serve_a_segment_and_the_manifest_says_why(
    code: str, desk: Desk, broker: ScriptedBroker
):
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    FAULTS[code](broker, announced_segment(desk, partition))
    result = dg.materialize(
        [parsed_variants],
        instance=desk.instance,
        partition_key=request.partition_key,
        tags=dict(request.tags),
        run_config=QUIET,
        resources={"control": desk.control},
    )
    broker.restart()
    assert result.success
    manifest = manifest_of(desk, partition)
    assert manifest is not None
    assert "segments" not in manifest.source
    (why,) = manifest.extra["instead_of"]
    assert f"({code})" in why
    (materialization,) = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization and event.asset_key.to_user_string() == "parsed_variants"
    ]
    assert code in str(materialization.metadata["instead_of"].value)


def test_what_came_from_no_file_fails_with_what_the_stream_met(desk: Desk, broker: ScriptedBroker) -> None:
    partition = published(desk.made(3), desk.control.coordinator, desk.folder, uri="").partition
    (request,) = desk.tick("callset_sensor").run_requests
    FAULTS["MISSING_CHUNKS"](broker, announced_segment(desk, partition))
    result = desk.run(request)
    assert not result.success
    (failed,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "MISSING_CHUNKS" in str(failed.step_failure_data.user_failure_data or failed.step_failure_data.error)
    assert [type(error) for error in desk.control.errors] == [MissingChunks]
    assert desk.state(partition) == "failed"


def sent_by_another(desk: Desk, sender: str, **others: Any) -> PublishReport:
    """The same bytes, from a home of their own, where control cannot open them afterwards."""
    folder = desk.folder / sender
    folder.mkdir()
    path = made_vcf(folder, records=3)
    report = published(path, desk.control.coordinator, folder, **others)
    Path(path).unlink()
    return report


def lost_for_good(desk: Desk, lose: Callable[[], object]) -> tuple[str, dg.RunRequest]:
    """A callset that was announced and can be read from nowhere; the run that found that out."""
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    Path(desk.made(3)).unlink()
    lose()
    assert not desk.run(request).success
    found = desk.control.ledger.callset(PartitionKey.parse(partition))
    assert found is not None
    assert (found.state, found.is_permanent) == ("failed", True)
    assert desk.asked_again() == []
    return partition, request


LOSSES: dict[str, Callable[[ScriptedBroker], object]] = {
    "TOPIC_MISSING": lambda broker: broker._logs.pop(TOPIC),
    "TOPIC_RECREATED": lambda broker: broker.recreate(TOPIC),
}


@pytest.mark.parametrize("code", LOSSES)
def test_published_again_by_another_sender_what_was_lost_is_done(code: str, desk: Desk, broker: ScriptedBroker):
    partition, first = lost_for_good(desk, lambda: LOSSES[code](broker))
    found = desk.control.ledger.callset(PartitionKey.parse(partition))
    assert found is not None
    assert found.code == code
    again = sent_by_another(desk, "second")
    (request,) = desk.tick("callset_sensor").run_requests
    assert (request.partition_key, request.run_key != first.run_key) == (partition, True)
    assert desk.run(request).success
    assert desk.state(partition) == "done"
    manifest = manifest_of(desk, partition)
    assert manifest is not None
    assert manifest.source["publish_id"] == again.publish_id
    # every announcement once more, as after a lost cursor: nothing is left to do
    desk.cursors.clear()
    assert desk.tick("callset_sensor").run_requests == []


def test_where_the_ledger_is_it_is_sent_again_too_and_then_already_published(desk: Desk, broker: ScriptedBroker):
    partition, first = lost_for_good(desk, lambda: broker.recreate(TOPIC))
    again = sent_by_another(desk, "second", receipts=desk.control.ledger)
    assert not again.already_published
    assert announced_segment(desk, partition).publish_id == again.publish_id
    assert sent_by_another(desk, "third", receipts=desk.control.ledger).already_published
    (request,) = desk.tick("callset_sensor").run_requests
    assert request.run_key != first.run_key
    assert desk.run(request).success
    assert desk.state(partition) == "done"


@pytest.mark.usefixtures("later")
def test_where_nobody_heard_it_in_time_reconciling_asks_under_a_key_of_its_own(desk: Desk, broker: ScriptedBroker):
    """The run that failed has not ended yet when the publication comes: the sensor leaves it alone."""
    partition, first = lost_for_good(desk, lambda: broker.recreate(TOPIC))
    ending = desk.note_run(dg.DagsterRunStatus.STARTING, {"dagster/partition": partition})
    sent_by_another(desk, "second")
    assert desk.tick("callset_sensor").run_requests == []
    desk.instance.delete_run(ending)
    (request,) = desk.asked_again()
    assert request.run_key not in (first.run_key, f"{first.run_key}/attempt-1")
    assert desk.run(request).success
    assert desk.state(partition) == "done"
