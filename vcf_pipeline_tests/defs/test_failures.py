"""Each asset made to fail: what no rerun cures is tried once, what may pass four times; the ledger hears of it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from vcf_pipeline.defs.failures import TRANSIENT_RETRIES
from vcf_pipeline.domain.errors import (
    BrokerUnavailable,
    ChangedWhileRead,
    NotAVcf,
    PermanentError,
    StoreUnavailable,
    StreamBroken,
    Superseded,
)
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages import load, parse, receive, triage
from vcf_pipeline_tests.defs.conftest import Desk

STAGES = [(parse, "parse_callset"), (triage, "triage_callset"), (load, "load_lancedb"), (load, "load_kuzu")]
TOLD = {"where": "here", "expected": "this", "got": "that"}


def failing(error: BaseException, seen: list[int]) -> Callable[..., Any]:
    def stage(*args: Any, **given: Any) -> Any:
        seen.append(1)
        raise error

    return stage


def run_of_one(desk: Desk) -> tuple[str, dg.ExecuteInProcessResult]:
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    return partition, desk.run(request)


def ledger_says(desk: Desk, partition: str) -> tuple[str, str | None, bool, int]:
    callset = desk.control.ledger.callset(PartitionKey.parse(partition))
    assert callset is not None
    return callset.state, callset.code, callset.is_permanent, callset.attempts


@pytest.mark.parametrize(("module", "name"), STAGES, ids=lambda part: part if isinstance(part, str) else "")
def test_a_permanent_error_is_tried_once_and_a_transient_one_four_times(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
):
    permanent: list[int] = []
    monkeypatch.setattr(module, name, failing(PermanentError(**TOLD), permanent))
    partition, result = run_of_one(desk)
    assert not result.success
    assert len(permanent) == 1
    assert ledger_says(desk, partition) == ("failed", "FAILED", True, 1)

    transient: list[int] = []
    monkeypatch.setattr(module, name, failing(StoreUnavailable(**TOLD), transient))
    assert not desk.run(dg.RunRequest(partition_key=partition)).success
    assert len(transient) == 1 + TRANSIENT_RETRIES.max_retries == 4
    assert ledger_says(desk, partition) == ("failed", "STORE_UNAVAILABLE", False, 2)


def test_what_passes_at_the_third_try_is_no_failure(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    real, tries = triage.triage_callset, []

    def stage(**given: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise StoreUnavailable(**TOLD)
        return real(**given)

    monkeypatch.setattr(triage, "triage_callset", stage)
    partition, result = run_of_one(desk)
    assert result.success
    assert ledger_says(desk, partition) == ("done", None, False, 0)


def test_an_input_that_is_refused_is_refused_for_good(desk: Desk, monkeypatch: pytest.MonkeyPatch, later: None):
    monkeypatch.setattr(parse, "parse_callset", failing(NotAVcf(**TOLD), []))
    partition, _ = run_of_one(desk)
    assert ledger_says(desk, partition)[:2] == ("refused", "NOT_A_VCF")
    assert desk.tick("reconcile_sensor").run_requests == []


@pytest.mark.parametrize(("module", "name"), STAGES, ids=lambda part: part if isinstance(part, str) else "")
def test_a_step_that_is_interrupted_leaves_the_callset_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
):
    monkeypatch.setattr(module, name, failing(KeyboardInterrupt(), []))
    partition, result = run_of_one(desk)
    assert not result.success
    assert ledger_says(desk, partition) == ("announced", None, False, 0)


def test_a_callset_that_was_forgotten_meanwhile_stays_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def stage(*args: Any, callset: Any, **given: Any) -> Any:
        desk.control.ledger.forget(callset.key)
        raise Superseded(**TOLD)

    monkeypatch.setattr(parse, "parse_callset", stage)
    partition, result = run_of_one(desk)
    assert not result.success
    assert ledger_says(desk, partition)[:2] == ("forgotten", None)


def test_what_nobody_foresaw_is_told_too_and_may_be_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(triage, "triage_callset", failing(ZeroDivisionError("by nought"), []))
    partition, _ = run_of_one(desk)
    assert ledger_says(desk, partition) == ("failed", "UNEXPECTED", False, 1)
    callset = desk.control.ledger.callset(PartitionKey.parse(partition))
    assert callset is not None
    assert "ZeroDivisionError: by nought" in str(callset.reason)


@pytest.mark.parametrize(
    ("stream", "code", "is_permanent"),
    [(StreamBroken, "STREAM_BROKEN", True), (BrokerUnavailable, "BROKER_UNAVAILABLE", False)],
)
def test_without_stream_and_file_the_stream_is_what_is_missed_and_nothing_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, stream: type[Exception], code: str, is_permanent: bool
):
    partition = desk.publish()
    (desk.folder / "with-3" / "made.vcf").unlink()
    monkeypatch.setattr(receive, "open_received", failing(stream(**TOLD), []))
    (request,) = desk.tick("callset_sensor").run_requests
    assert not desk.run(request).success
    assert ledger_says(desk, partition) == ("failed", code, is_permanent, 1)


def test_without_the_stream_the_file_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(receive, "open_received", failing(StreamBroken(**TOLD), []))
    partition, result = run_of_one(desk)
    assert result.success
    assert ledger_says(desk, partition)[0] == "done"


def test_a_file_that_became_another_fails_and_is_not_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    from vcf_pipeline.domain.vcf.batch import ReaderSettings
    from vcf_pipeline.stages.register import register_callset

    path = desk.made(2)
    callset, _ = register_callset(
        path,
        tenant="t",
        label=None,
        settings=ReaderSettings(),
        ledger=desk.control.ledger,
        new_id=lambda: "id",
    )
    with (desk.folder / "with-2" / "made.vcf").open("a") as file:
        file.write("1\t9999\t.\tA\tC\t.\t.\t.\tGT\t0/0\t0/0\n")
    desk.instance.add_dynamic_partitions("callsets", [str(callset.key)])
    assert not desk.run(dg.RunRequest(partition_key=str(callset.key)), "vcf_batch").success
    assert ledger_says(desk, str(callset.key)) == ("failed", ChangedWhileRead.code, True, 1)


def test_a_failed_check_stops_the_loads_and_says_so_in_the_ledger(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    real = desk.control.ledger.announcement
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    loads: list[int] = []
    monkeypatch.setattr(load, "load_lancedb", failing(PermanentError(**TOLD), loads))

    def other_numbers(key: PartitionKey) -> Any:
        announced = real(key)
        return None if announced is None else replace(announced, records=announced.records + 1)

    monkeypatch.setattr(desk.control.ledger, "announcement", other_numbers)
    assert not desk.run(request).success
    assert loads == []
    state, code, is_permanent, _ = ledger_says(desk, partition)
    assert (state, code, is_permanent) == ("failed", "CHECK_FAILED", True)


def test_a_forgotten_partition_is_refused_with_one_sentence(desk: Desk):
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    desk.control.ledger.forget(PartitionKey.parse(partition))
    result = desk.run(request)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "a forgotten one" in str(failure.step_failure_data)
    assert desk.state(partition) == "forgotten"
