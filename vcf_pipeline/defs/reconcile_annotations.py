"""What a lost event or run left unexplained, or explained and not loaded: asked for again, three times at most.

Only where somebody asked: a callset that was run by batch without annotations has no row to find. Not here: the
decision (domain/stream/run_plan.py), and callsets themselves (reconcile.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus

from vcf_pipeline.adapters.ledger.analyses import WAITING, Analysis
from vcf_pipeline.defs.callset_step import ATTEMPT_TAG
from vcf_pipeline.defs.jobs import annotation_loads_job, annotations_job
from vcf_pipeline.defs.runs_in_progress import lost_partitions, partitions_in_progress
from vcf_pipeline.defs.sensors import ANALYSIS_STAGE, LOADS_STAGE, analysis_request_sensor, database_write_sensor
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import RunPlanned, Standing, plan_reconcile
from vcf_pipeline.stages.complete import are_annotations_loaded

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.wiring import Control


@dataclass(frozen=True)
class _Stage:
    """name: of its run_keys. states: of the analyses that wait for it."""

    name: str
    job: str
    sensor: str
    states: tuple[str, ...]


STAGES = (
    _Stage(ANALYSIS_STAGE, annotations_job.name, analysis_request_sensor.name, WAITING),
    _Stage(LOADS_STAGE, annotation_loads_job.name, database_write_sensor.name, ("explained",)),
)


def annotations_to_ask_for(
    instance: dg.DagsterInstance, control: Control, callsets: Sequence[Callset], partitions: Sequence[str], now: float
) -> tuple[list[dg.RunRequest], list[str]]:
    """(requests, each counted before it leaves; partitions that were given up). now: seconds since 1970.

    A stage whose sensor an operator has stopped is not asked for.
    """
    living = {one.key: one for one in callsets if one.state not in ("forgotten", "refused")}
    requests: list[dg.RunRequest] = []
    given_up: list[str] = []
    for stage in STAGES:
        waiting = [one for one in control.ledger.analyses(stage.states) if one.key in living]
        if not waiting or _is_stopped(instance, stage.sensor):
            continue
        in_progress = partitions_in_progress(instance, partitions, only=stage.job)
        lost = lost_partitions(instance, only=stage.job)
        in_progress |= lost.due
        standings = [
            _standing(one, living[one.key], str(one.key) in in_progress, is_lost=lost.is_passed_over(living[one.key]))
            for one in waiting
            if stage.name != LOADS_STAGE or not _are_loaded(control, one)
        ]
        plan = plan_reconcile(standings, now, partitions, stage=stage.name)
        given_up += plan.given_up
        generations = {str(one.key): one.generation for one in waiting}
        requests += [
            _request(run, stage.job)
            for run in plan.runs
            if control.ledger.note_analysis_attempt(PartitionKey.parse(run.members[0]), generations[run.members[0]])
        ]
    return requests, given_up


def _are_loaded(control: Control, one: Analysis) -> bool:
    """Whether the loads were made, and only the word of it was lost."""
    is_loaded = are_annotations_loaded(one.key, ledger=control.ledger, tables=control.tables)
    if is_loaded:
        control.ledger.end_loads(one.key, one.generation)
    return is_loaded


def _standing(one: Analysis, callset: Callset, has_run: bool, *, is_lost: bool) -> Standing:
    return Standing(
        key=one.key,
        state=one.state,
        generation=one.generation,
        digest=one.digest,
        path="stream",
        correlation_id=callset.correlation_id,
        attempts=one.attempts,
        since=one.updated_at,
        has_run=has_run,
        is_lost=is_lost,
        is_permanent=one.is_permanent,
    )


def _request(run: RunPlanned, job: str) -> dg.RunRequest:
    attempt = run.key.rpartition("-")[2]
    return dg.RunRequest(
        run_key=run.key,
        job_name=job,
        partition_key=run.members[0],
        tags={**run.tags, ATTEMPT_TAG: attempt, "dagster/max_retries": "0"},
    )


def _is_stopped(instance: dg.DagsterInstance, sensor: str) -> bool:
    if instance.schedule_storage is None:
        return False  # an instance without one has no daemon whose sensors could be stopped
    return any(
        state.instigator_name == sensor
        for state in instance.all_instigator_state(
            instigator_type=InstigatorType.SENSOR, instigator_statuses={InstigatorStatus.STOPPED}
        )
    )
