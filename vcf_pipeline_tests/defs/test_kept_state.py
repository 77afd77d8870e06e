"""What a run writes down of a callset's state as it goes from step to step."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages import notify
from vcf_pipeline_tests.defs.conftest import Desk


@pytest.fixture
def announced(desk: Desk) -> str:
    return desk.publish()


@pytest.fixture
def found(desk: Desk, announced: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The state that each step finds when it begins."""
    states: list[str] = []
    told = notify.running

    def running(*given: Any) -> Any:
        states.append(desk.state(announced))
        return told(*given)

    monkeypatch.setattr(notify, "running", running)
    return states


def test_a_callset_that_is_made_anew_is_running_until_all_of_it_is_there(
    desk: Desk, announced: str, found: list[str]
) -> None:
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    assert found == ["announced", "running", "running", "running"]
    assert desk.state(announced) == "done"


def test_a_callset_whose_run_died_at_its_very_end_is_done_from_the_next_runs_first_step_on(
    desk: Desk, announced: str, found: list[str]
) -> None:
    (request,) = desk.tick("callset_sensor").run_requests
    assert desk.run(request).success
    key = PartitionKey.parse(announced)
    made = desk.control.ledger.callset(key)
    assert made is not None
    desk.control.ledger.mark_running(key, "dead", generation=made.generation)
    found.clear()
    assert desk.run(dg.RunRequest(partition_key=announced)).success
    assert found == ["running", "done", "done", "done"]
    assert desk.state(announced) == "done"
