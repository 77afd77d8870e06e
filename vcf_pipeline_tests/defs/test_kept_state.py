"""What a run writes down of a callset's state as it goes from step to step."""

from __future__ import annotations

import dagster as dg
import pytest

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages import notify
from vcf_pipeline_tests.defs.conftest import Desk


def test_a_callset_whose_run_died_at_its_very_end_is_done_from_the_next_runs_first_step_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    key = PartitionKey.parse(partition)
    made = desk.control.ledger.callset(key)
    assert made is not None
    desk.control.ledger.mark_running(key, "dead", generation=made.generation)

    seen: list[str] = []
    begun = notify.running
    monkeypatch.setattr(notify, "running", lambda *given: (seen.append(desk.state(partition)), begun(*given))[1])
    assert desk.run(dg.RunRequest(partition_key=partition)).success
    assert seen == ["running", "done", "done", "done"]
    assert desk.state(partition) == "done"


def test_a_callset_that_is_made_anew_is_running_until_all_of_it_is_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = desk.publish()
    (request,) = desk.tick("callset_sensor").run_requests
    seen: list[str] = []
    begun = notify.running
    monkeypatch.setattr(notify, "running", lambda *given: (seen.append(desk.state(partition)), begun(*given))[1])
    assert desk.run(request).success
    assert seen == ["announced", "running", "running", "running"]
    assert desk.state(partition) == "done"
