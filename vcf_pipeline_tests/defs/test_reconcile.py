"""reconcile_sensor on a real instance: what a killed run, a lost launch or a lost database left undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import psutil
import pytest

from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.defs.holder import HELD_RUN_TAG, HOLDER_TAG, holder_tags
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import SPOOL_PATH
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.register import register_callset
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.defs.conftest import Desk
from vcf_pipeline_tests.stages.published import announcements, published

STARTED, STARTING = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING
RUN_ID, RETRY_ID = "0" * 8 + "-0000-4000-8000-000000000001", "0" * 8 + "-0000-4000-8000-000000000002"


@pytest.fixture
def broker(desk: Desk) -> ScriptedBroker:
    """In place of the embedded log of the desk; what finds it down goes to the spool of the desk's home."""
    broker = ScriptedBroker(name="iggy", call_timeout_s=1.0)
    desk.control.close()
    settings = load_settings({}, home=desk.folder / "home", stream={"reconnect_s": 0.1, "frozen_after_s": 0.2})
    desk.control = Control(settings, brokers=[broker])
    return broker


def said(result: dg.SensorResult) -> str:
    return str(result.skip_reason.skip_message) if result.skip_reason is not None else ""


@pytest.fixture(scope="module")
def gone() -> str:
    """The holder text of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(child.pid).create_time()
    child.communicate(b"\n")
    me = Holder.of_this_process()
    return Holder(me.host, me.boot_id, child.pid, round(started, 2)).to_text()


def status(desk: Desk, run_id: str) -> dg.DagsterRunStatus:
    run = desk.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize("state", [STARTED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.CANCELING])
def test_a_run_whose_process_is_gone_is_failed(desk: Desk, gone: str, state: dg.DagsterRunStatus):
    desk.note_run(state, {HOLDER_TAG: gone, HELD_RUN_TAG: RUN_ID}, RUN_ID)
    desk.tick("reconcile_sensor")
    assert status(desk, RUN_ID) is dg.DagsterRunStatus.FAILURE


def test_a_living_run_one_of_another_host_and_one_without_a_holder_are_left_alone(desk: Desk, gone: str):
    elsewhere = gone.replace(Holder.of_this_process().host, "another-host")
    desk.note_run(STARTED, holder_tags(RUN_ID), RUN_ID)
    desk.note_run(STARTED, {HOLDER_TAG: elsewhere, HELD_RUN_TAG: RETRY_ID}, RETRY_ID)
    bare = desk.note_run(STARTED, {})
    desk.tick("reconcile_sensor")
    assert {status(desk, run) for run in (RUN_ID, RETRY_ID, bare)} == {STARTED}


def test_a_retry_that_inherited_the_tags_of_a_dead_run_is_not_taken_for_it(desk: Desk, gone: str):
    desk.note_run(STARTING, {HOLDER_TAG: gone, HELD_RUN_TAG: RUN_ID}, RETRY_ID)
    desk.tick("reconcile_sensor")
    assert status(desk, RETRY_ID) is STARTING


def test_partitions_come_back_and_nothing_is_asked_for_that_is_done(desk: Desk, later: None):
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    desk.instance.delete_dynamic_partition("callsets", partition)
    assert desk.asked_again() == []
    assert list(desk.instance.get_dynamic_partitions("callsets")) == [partition]


def test_the_partition_of_a_forgotten_callset_goes(desk: Desk):
    partition = desk.publish()
    desk.tick("callset_sensor")
    desk.control.ledger.forget(PartitionKey.parse(partition))
    desk.tick("reconcile_sensor")
    assert list(desk.instance.get_dynamic_partitions("callsets")) == []


def test_nothing_is_asked_for_before_its_time_nor_while_a_run_waits_or_is_about_to_be_retried(
    desk: Desk, request: pytest.FixtureRequest
):
    partition = desk.publish()
    desk.tick("callset_sensor")
    assert desk.tick("reconcile_sensor").run_requests == []
    request.getfixturevalue("later")
    lost = desk.note_run(STARTED, {"dagster/partition": partition, "dagster/will_retry": "true"})
    assert desk.tick("reconcile_sensor").run_requests == []
    run = desk.instance.get_run_by_id(lost)
    assert run is not None
    desk.instance.report_run_failed(run)
    desk.instance.add_run_tags(lost, {"dagster/will_retry": "true"})
    assert desk.tick("reconcile_sensor").run_requests == []
    desk.instance.add_run_tags(lost, {"dagster/will_retry": "false"})
    assert len(desk.tick("reconcile_sensor").run_requests) == 1


def test_a_run_that_is_killed_each_time_is_asked_for_three_times_and_then_visibly_given_up(desk: Desk, later: None):
    partition = desk.publish()
    desk.tick("callset_sensor")
    keys = []
    for _ in range(3):
        (request,) = desk.tick("reconcile_sensor").run_requests
        assert request.tags["dagster/max_retries"] == "0"
        keys.append(request.run_key)
    assert [key.rpartition("/")[2] for key in keys] == ["attempt-1", "attempt-2", "attempt-3"]
    last = desk.tick("reconcile_sensor")
    assert last.run_requests == []
    assert last.skip_reason is not None
    assert partition in str(last.skip_reason.skip_message)


def test_a_run_that_fails_each_time_counts_once_a_run_whatever_its_tries(
    desk: Desk, later: None, monkeypatch: pytest.MonkeyPatch
):
    from vcf_pipeline.stages import triage

    def busy(**given):
        raise StoreUnavailable(where="disk", expected="an answer", got="none")

    monkeypatch.setattr(triage, "triage_callset", busy)
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0)
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    attempts = []
    while True:
        assert not desk.run(request).success
        callset = desk.control.ledger.callset(PartitionKey.parse(partition))
        assert callset is not None
        assert callset.state == "failed"
        attempts.append(callset.attempts)
        asked = desk.tick("reconcile_sensor").run_requests
        if not asked:
            break
        (request,) = asked
    assert attempts == [1, 2, 3]
    monkeypatch.undo()
    assert desk.run(request).success
    assert desk.state(partition) == "done"


def test_a_permanent_failure_is_not_asked_for_again(desk: Desk, later: None):
    partition = desk.publish()
    desk.tick("callset_sensor")
    desk.control.ledger.mark_failed(
        PartitionKey.parse(partition), "no cure", "STREAM_BROKEN", permanent=True, generation=0
    )
    assert desk.tick("reconcile_sensor").run_requests == []


def test_a_forget_between_the_look_and_the_request_ends_the_request(desk: Desk, later: None, monkeypatch):
    partition = desk.publish()
    desk.tick("callset_sensor")
    ledger = desk.control.ledger
    seen = ledger.callsets()
    ledger.forget(PartitionKey.parse(partition))
    monkeypatch.setattr(ledger, "callsets", lambda: seen)
    assert desk.tick("reconcile_sensor").run_requests == []


def test_what_waits_in_the_spool_is_sent_on_once_a_broker_is_back(desk: Desk, broker: ScriptedBroker):
    broker.die()
    partition = desk.publish()
    assert desk.control.spool.has_announced()
    for fault in (broker.die, broker.freeze):
        fault()
        assert said(desk.tick("reconcile_sensor")).startswith("1 wait in the spool: ")
        assert desk.state(partition) == "unknown"
        broker.restart()
    assert "spool" not in said(desk.tick("reconcile_sensor"))
    (sent,) = announcements(desk.control.coordinator)
    assert (str(sent.key), desk.state(partition)) == (partition, "announced")
    assert not desk.control.spool.has_announced()


def test_two_who_send_on_at_once_send_once(desk: Desk, broker: ScriptedBroker):
    broker.die()
    desk.publish()
    broker.restart()
    with desk.control.spool.one_forwarder():
        assert said(desk.tick("reconcile_sensor")) == "1 wait in the spool: another process is sending them"
    desk.tick("reconcile_sensor")
    assert len(announcements(desk.control.coordinator)) == 1


def test_a_spool_that_cannot_be_read_is_told_and_the_rest_is_reconciled_all_the_same(desk: Desk, later: None):
    partition = desk.publish()
    desk.tick("callset_sensor")
    spool = desk.control.spool
    spool.folder.mkdir()
    spool.path.write_bytes(b"no database at all, " * 100)
    result = desk.tick("reconcile_sensor")
    assert [request.partition_key for request in result.run_requests or []] == [partition]
    assert str(spool.path) in str(result.cursor)


def test_where_nothing_was_ever_spooled_a_tick_connects_to_nobody_and_makes_nothing(desk: Desk):
    desk.tick("reconcile_sensor")
    assert "coordinator" not in desk.control.__dict__
    assert not desk.control.spool.folder.exists()


def spooled(desk: Desk, file: str, way: str = SPOOL_PATH) -> str:
    """Registered as `publish` does it while no broker takes the file; its partition."""
    callset, _ = register_callset(
        file, tenant="t", label=None, settings=ReaderSettings(), ledger=desk.control.ledger, new_id=lambda: "c", way=way
    )
    desk.instance.add_dynamic_partitions("callsets", [str(callset.key)])
    return str(callset.key)


def test_what_waits_in_the_spool_is_run_from_its_file_and_what_was_only_registered_is_not(desk: Desk):
    spooled(desk, desk.made(4), way="batch")
    partition = spooled(desk, desk.made(3))
    (request,) = desk.asked_again()
    assert request.partition_key == partition
    assert desk.run(request).success
    assert desk.state(partition) == "done"
    assert desk.asked_again() == []


def test_a_spooled_callset_whose_file_is_not_here_is_left_to_its_stream(desk: Desk):
    file = Path(desk.made(3))
    spooled(desk, str(file))
    text = file.read_text()
    file.unlink()
    result = desk.tick("reconcile_sensor")
    assert (result.run_requests, result.cursor) == ([], "")
    file.write_text(text)
    assert len(desk.asked_again()) == 1


def test_spooled_and_run_from_its_file_meanwhile_a_callset_is_not_sent_on_any_more(desk: Desk, broker: ScriptedBroker):
    broker.die()
    sent = published(desk.made(3), desk.control.coordinator, desk.folder, settings=ReaderSettings())
    partition = spooled(desk, desk.made(3))
    assert sent.partition == partition
    (request,) = desk.asked_again()
    assert desk.run(request).success
    broker.restart()
    desk.tick("reconcile_sensor")
    assert not desk.control.spool.has_announced()
    assert announcements(desk.control.coordinator) == []
    callset = desk.control.ledger.callset(PartitionKey.parse(partition))
    assert callset is not None
    assert (callset.state, callset.digest) == ("done", sent.digest)
