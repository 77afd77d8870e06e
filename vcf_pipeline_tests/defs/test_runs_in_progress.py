"""Which lost runs Dagster repeats, asked of its own daemon of retries, also where that looks at the wrong moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon

from vcf_pipeline.defs.runs_in_progress import Lost, lost_partitions
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import CORRELATION_TAG
from vcf_pipeline_tests.defs.conftest import Desk

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # Dagster's own


@pytest.fixture
def retrying(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose instance runs again what was lost, as dagster.yaml of this project has it."""
    settings = {
        "telemetry": {"enabled": False},
        "run_retries": {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False},
    }
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=settings) as instance:
        desk = Desk(instance, tmp_path)
        retries_look(desk)  # it begins with what comes after its first look
        yield desk
        desk.close()


def retries_look(desk: Desk) -> None:
    """One iteration of Dagster's daemon of retries."""
    list(EventLogConsumerDaemon().run_iteration(cast(Any, SimpleNamespace(instance=desk.instance))))


def started(desk: Desk, partition: str) -> dg.DagsterRun:
    callset = desk.control.ledger.callset(PartitionKey.parse(partition))
    assert callset is not None
    tags = {"dagster/partition": partition, CORRELATION_TAG: callset.correlation_id}
    run = desk.instance.get_run_by_id(desk.note_run(dg.DagsterRunStatus.STARTED, tags))
    assert run is not None
    return run


def lose(desk: Desk, run: dg.DagsterRun, monkeypatch: pytest.MonkeyPatch, *, looked_at_too_early: bool) -> None:
    """Report it as failed from outside, as for a process that was killed."""
    storage = desk.instance.run_storage
    marked = storage.handle_run_event

    def looked_at_first(*given: Any, **named: Any) -> None:
        retries_look(desk)
        marked(*given, **named)

    with monkeypatch.context() as patch:
        if looked_at_too_early:
            patch.setattr(storage, "handle_run_event", looked_at_first)
        desk.instance.report_run_failed(run)
    failed = desk.instance.get_run_by_id(run.run_id)
    assert failed is not None
    assert failed.status is dg.DagsterRunStatus.FAILURE
    assert failed.tags["dagster/will_retry"] == "true"


def test_what_dagster_is_about_to_repeat_is_left_to_it(retrying: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = retrying.publish()
    retrying.tick("callset_sensor")
    lose(retrying, started(retrying, partition), monkeypatch, looked_at_too_early=False)
    assert lost_partitions(retrying.instance) == Lost(frozenset({partition}), {})
    assert lost_partitions(retrying.instance, other_than=("variants_job",)) == Lost(frozenset(), {})
    assert retrying.asked_again() == []


def test_what_its_daemon_looked_at_too_early_is_asked_for_at_once_and_once(
    retrying: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = retrying.publish()
    retrying.tick("callset_sensor")
    run = started(retrying, partition)
    lose(retrying, run, monkeypatch, looked_at_too_early=True)
    retries_look(retrying)  # it does not come back to it
    assert retrying.instance.get_runs_count() == 1
    assert lost_partitions(retrying.instance) == Lost(frozenset(), {partition: run.tags[CORRELATION_TAG]})
    (asked,) = retrying.asked_again()
    assert (asked.partition_key, asked.tags["vcf_pipeline/attempt"]) == (partition, "1")
    assert retrying.asked_again() == []
    assert retrying.run(asked).success
    assert retrying.state(partition) == "done"


def test_a_callset_that_was_forgotten_and_came_back_is_not_taken_for_the_one_whose_run_was_lost(
    retrying: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = retrying.publish()
    retrying.tick("callset_sensor")
    lose(retrying, started(retrying, partition), monkeypatch, looked_at_too_early=True)
    retrying.control.ledger.forget(PartitionKey.parse(partition))
    assert retrying.publish() == partition
    assert len(retrying.tick("callset_sensor").run_requests or []) == 1
    assert retrying.asked_again() == []  # its run is about to be launched
