"""Sensors of the control topics, one per topic, so that an operator can stop one alone.

Not here: what a message means (domain/stream/events.py), which runs follow (domain/stream/run_plan.py), what a lost
run or cursor left undone (reconcile.py).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from vcf_pipeline.defs.jobs import FOR_ANNOTATIONS, annotation_loads_job, annotations_job, variants_job
from vcf_pipeline.defs.runs_in_progress import RANGE_END, RANGE_START, partitions_in_progress
from vcf_pipeline.domain.errors import PermanentError, TransientError, UnreadableMessage
from vcf_pipeline.domain.stream import topics
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.events import Heard, StageEventKind, before, heard, heard_events
from vcf_pipeline.domain.stream.run_plan import Limits, Plan, Progress, RunPlanned, View, plan_runs, stage_progress
from vcf_pipeline.domain.stream.stage_events import AnalysisRequested, StageEvent, WriteRequested
from vcf_pipeline.settings import seconds_of_a_tick
from vcf_pipeline.stages.complete import ANNOTATIONS, are_annotations_loaded
from vcf_pipeline.stages.notify import standing
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.broker.port import Message

ANALYSIS_STAGE, LOADS_STAGE = "analysis", "annotation_loads"
"""The first part of the run_keys of what these sensors ask for."""
ENDS_SECONDS = 5.0
"""After so long a tick begins no further end: meanwhile no announcement is heard."""


@dg.sensor(
    name="callset_sensor",
    job=variants_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Listens on vcf-callsets: every announced callset becomes a partition and a run of variants_job.",
)
def callset_sensor(context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]) -> dg.SensorResult:
    """A few lines around `plan_runs`: listen, ask what to do, note what was accepted, answer."""
    waited, cursor = _waited(context, control, topics.CALLSETS)
    messages = heard(waited)
    messages = _announce_ended(context, control, messages)
    limits = _limits(control)
    view = _view(context.instance, control, messages)
    plan = plan_runs(messages, view, cursor, limits)
    if plan.partition_keys:
        # Added here and read back, not left to the daemon: another sensor may add them meanwhile in another order,
        # and a range follows the order in which they stand.
        context.instance.add_dynamic_partitions("callsets", list(plan.partition_keys))
        known = context.instance.get_dynamic_partitions("callsets")
        plan = plan_runs(messages, replace(view, partitions=known), cursor, limits)
    _answer_what_has_ended(control, messages)
    return _answer(context, control, plan, len(messages))


@dg.sensor(
    name="analysis_request_sensor",
    job=annotations_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Listens on ai-analysis-requests: alleles that matter are explained. Stop it to switch that off.",
)
def analysis_request_sensor(context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]) -> dg.SensorResult:
    """What was asked for is in the ledger before the cursor moves, so that reconciling finds what a lost run left."""
    waited, cursor = _waited(context, control, topics.ANALYSIS_REQUESTS)
    messages = heard_events(AnalysisRequested, waited)
    running = _running(context.instance, annotations_job.name) if messages else set()
    view = _stage_view(context.instance, messages, lambda event: _analysis_progress(control, event, running))
    plan = plan_runs(messages, view, cursor, _limits(control), stage=ANALYSIS_STAGE)
    for event in plan.accepted:
        control.ledger.request_analysis(event.key, event.generation, event.digest)
    return _answer(context, control, plan, len(messages))


@dg.sensor(
    name="database_write_sensor",
    job=annotation_loads_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Listens on database-writes: explained alleles go into both stores.",
)
def database_write_sensor(context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]) -> dg.SensorResult:
    """The manifest that the event names, and the loads of both stores, say whether anything is to be done."""
    waited, cursor = _waited(context, control, topics.DATABASE_WRITES)
    messages = heard_events(WriteRequested, waited)
    running = _running(context.instance, annotation_loads_job.name) if messages else set()
    view = _stage_view(context.instance, messages, lambda event: _loads_progress(control, event, running))
    plan = plan_runs(messages, view, cursor, _limits(control), stage=LOADS_STAGE)
    return _answer(context, control, plan, len(messages))


def _waited(
    context: dg.SensorEvaluationContext, control: Control, topic: topics.Topic
) -> "tuple[list[Message], Cursor]":
    """What was heard after the sensor's cursor, and the cursor that it came after: not the same for a topic that has
    to be read again from its start.
    """
    return control.coordinator.hear([topic], Cursor.from_json(context.cursor), control.settings.sensor.hold_seconds)


def _limits(control: Control) -> Limits:
    sensor = control.settings.sensor
    return Limits(burst=sensor.burst_from, max_range=sensor.burst_limit)


def _answer(context: dg.SensorEvaluationContext, control: Control, plan: Plan[Any], n_messages: int) -> dg.SensorResult:
    """The runs that were planned; what could not be read becomes a dead letter."""
    for letter in plan.dead_letters:
        context.log.error(f"{letter.place}: {letter.reason}")
        control.coordinator.dead_letter(
            letter.body, origin=str(letter.place), reason=letter.reason, code=UnreadableMessage.code
        )
    return dg.SensorResult(
        run_requests=[run_request(run) for run in plan.runs],
        skip_reason=None if plan.runs else dg.SkipReason(f"{n_messages} messages, nothing new to run."),
        cursor=plan.cursor.to_json(),
    )


def _running(instance: dg.DagsterInstance, job: str) -> set[str]:
    """Partitions that a run of this job is at, or will be; a run that tells of work is not the one that does it."""
    return partitions_in_progress(instance, instance.get_dynamic_partitions("callsets"), only=job)


def _stage_view(
    instance: dg.DagsterInstance,
    messages: list[Heard[StageEventKind]],
    progress_of: Callable[[StageEventKind], Progress],
) -> View:
    if not messages:
        return View()
    events = [message.event for message in messages if message.event is not None]
    progress = {event.id: progress_of(event) for event in events}
    known = list(instance.get_dynamic_partitions("callsets"))
    # a partition that is gone is reconcile_sensor's to bring back; a run of it would fail
    absent = {event.id: Progress("forgotten") for event in events if str(event.key) not in known}
    return View({**progress, **absent}, known)


def _analysis_progress(control: Control, event: AnalysisRequested, running: set[str]) -> Progress:
    triaged = control.tables.manifest(event.tenant, event.callset_id, "triaged_variants")
    stored = control.tables.manifest(event.tenant, event.callset_id, ANNOTATIONS)
    asked = control.ledger.analysis(event.key)
    return stage_progress(
        event,
        generation=_generation(control, event),
        current=triaged.digest if triaged is not None else "",
        done=stored.inputs.get("triaged_variants", "") if stored is not None else "",
        has_run=str(event.key) in running,
        attempts=asked.attempts if asked is not None and asked.digest == event.digest else 0,
    )


def _loads_progress(control: Control, event: WriteRequested, running: set[str]) -> Progress:
    stored = (
        control.tables.manifest(event.tenant, event.callset_id, event.asset) if event.asset == ANNOTATIONS else None
    )
    asked = control.ledger.analysis(event.key)
    is_loaded = are_annotations_loaded(event.key, ledger=control.ledger, tables=control.tables)
    return stage_progress(
        event,
        generation=_generation(control, event),
        current=stored.digest if stored is not None else "",
        done=stored.digest if stored is not None and is_loaded else "",
        has_run=str(event.key) in running,
        attempts=asked.attempts if asked is not None and asked.state == "explained" else 0,
    )


def _generation(control: Control, event: StageEvent) -> int | None:
    callset = control.ledger.callset(event.key)
    return None if callset is None or callset.state in ("forgotten", "refused") else callset.generation


def _announce_ended(
    context: dg.SensorEvaluationContext, control: Control, messages: list[Heard[Announcement]]
) -> list[Heard[Announcement]]:
    """A foreign producer's ends become announcements, heard at the next tick; what is no callset is a dead letter.

    Returns what this tick has dealt with, and the cursor may pass: without the ends that there was no time for, or
    whose broker did not answer, and what lies behind them.
    """
    left: dict[tuple[str, int], Place] = {}
    begun_at: float | None = None
    for message in messages:
        where = (message.place.broker, message.place.partition)
        if message.ended is None or where in left:
            continue
        if begun_at is not None and time.monotonic() - begun_at >= ENDS_SECONDS:
            left[where] = message.place
            continue
        from vcf_pipeline.stages.announce_records import announce_ended

        begun_at = time.monotonic() if begun_at is None else begun_at
        created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            announce_ended(
                message.ended,
                control.coordinator,
                message.place.broker,
                created_at,
                seconds=_end_seconds(control),
                clock=time.monotonic,
            )
        except TransientError as problem:
            context.log.warning(f"{message.place} is tried again: {problem}")
            left[where] = message.place
        except PermanentError as problem:
            context.log.error(f"{message.place}: {problem}")
            control.coordinator.dead_letter(
                message.body,
                origin=str(message.place),
                reason=str(problem),
                code=problem.code,
                tenant=message.ended.tenant,
            )
    return before(messages, left.values())


def _end_seconds(control: Control) -> float:
    """How long one end may take. Dagster repeats a tick that it waited for in vain, and would for ever: a quarter of
    its patience is left for what else the tick does.
    """
    patience = 0.75 * seconds_of_a_tick() - control.settings.sensor.hold_seconds - ENDS_SECONDS
    return max(ENDS_SECONDS, patience)


def _answer_what_has_ended(control: Control, messages: list[Heard[Announcement]]) -> None:
    """A sender that announces what is done, or refused, waits for a receipt like the one who was first."""
    for message in messages:
        if message.event is not None and (ended := standing(message.event.key, control.ledger)) is not None:
            control.notices.tell(ended)


def run_request(run: RunPlanned) -> dg.RunRequest:
    """A run over one partition, or over a range of them in one run."""
    if not run.is_range:
        return dg.RunRequest(run_key=run.key, partition_key=run.partition_keys[0], tags=dict(run.tags))
    first, last = run.partition_keys
    return dg.RunRequest(run_key=run.key, tags={**run.tags, RANGE_START: first, RANGE_END: last})


def _view(instance: dg.DagsterInstance, control: Control, messages: list[Heard[Announcement]]) -> View:
    """The ledger's answer to each announcement, which it records in the same step: the first complete one wins.

    Recorded before the cursor moves, so that a tick that dies loses nothing and repeats nothing.
    """
    if not messages:
        return View()
    partitions = instance.get_dynamic_partitions("callsets")
    in_progress = partitions_in_progress(instance, partitions, other_than=FOR_ANNOTATIONS)
    progress: dict[str, Progress] = {}
    for message in messages:
        announced = message.event
        if announced is None:
            continue
        verdict = control.ledger.record_announcement(announced, str(message.place))
        callset = control.ledger.callset(announced.key)
        if verdict == "superseded" or callset is None:
            progress[announced.id] = Progress("forgotten")
        elif callset.state == "refused":
            progress[announced.id] = Progress("refused", callset.generation)
        elif callset.state == "done":
            progress[announced.id] = Progress("done", callset.generation, callset.digest or "")
        elif str(announced.key) in in_progress:
            progress[announced.id] = Progress("in_flight", callset.generation)
        elif callset.state in ("running", "failed"):
            # It was tried and has no run: in a range again, it could fail the others once more.
            progress[announced.id] = Progress("range_failed", callset.generation, attempts=callset.attempts)
        else:
            progress[announced.id] = Progress("none", callset.generation)
    return View(progress, partitions)
