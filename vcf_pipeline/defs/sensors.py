"""Sensors of the control topics, one per topic, so that an operator can stop one alone.

Not here: what a message means (domain/stream/events.py), which runs follow (domain/stream/run_plan.py), what a lost
run or cursor left undone (reconcile.py).
"""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from vcf_pipeline.defs.jobs import variants_job
from vcf_pipeline.defs.runs_in_progress import RANGE_END, RANGE_START, partitions_in_progress
from vcf_pipeline.domain.errors import PermanentError, UnreadableMessage
from vcf_pipeline.domain.stream import topics
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import Heard, heard
from vcf_pipeline.domain.stream.run_plan import Limits, Progress, RunPlanned, View, plan_runs
from vcf_pipeline.stages.notify import standing
from vcf_pipeline.wiring import Control


@dg.sensor(
    name="callset_sensor",
    job=variants_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Listens on vcf-callsets: every announced callset becomes a partition and a run of variants_job.",
)
def callset_sensor(context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]) -> dg.SensorResult:
    """A few lines around `plan_runs`: listen, ask what to do, note what was accepted, answer."""
    cursor = Cursor.from_json(context.cursor)
    messages = heard(control.coordinator.wait([topics.CALLSETS], cursor, control.settings.sensor.hold_seconds))
    _announce_ended(context, control, messages)
    sensor = control.settings.sensor
    limits = Limits(burst=sensor.burst_from, max_range=sensor.burst_limit)
    view = _view(context.instance, control, messages)
    plan = plan_runs(messages, view, cursor, limits)
    if plan.partition_keys:
        # Added here and read back, not left to the daemon: another sensor may add them meanwhile in another order,
        # and a range follows the order in which they stand.
        context.instance.add_dynamic_partitions("callsets", list(plan.partition_keys))
        known = context.instance.get_dynamic_partitions("callsets")
        plan = plan_runs(messages, replace(view, partitions=known), cursor, limits)
    _answer_what_has_ended(control, messages)
    for letter in plan.dead_letters:
        context.log.error(f"{letter.place}: {letter.reason}")
        control.coordinator.dead_letter(
            letter.body, origin=str(letter.place), reason=letter.reason, code=UnreadableMessage.code
        )
    return dg.SensorResult(
        run_requests=[run_request(run) for run in plan.runs],
        skip_reason=None if plan.runs else dg.SkipReason(f"{len(messages)} messages, nothing new to run."),
        cursor=plan.cursor.to_json(),
    )


def _announce_ended(context: dg.SensorEvaluationContext, control: Control, messages: list[Heard[Announcement]]) -> None:
    """A foreign producer's ends become announcements, heard at the next tick; what is no callset is a dead letter."""
    for message in messages:
        if message.ended is None:
            continue
        from vcf_pipeline.stages.announce_records import announce_ended

        created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            announce_ended(message.ended, control.coordinator, message.place.broker, created_at)
        except PermanentError as problem:
            context.log.error(f"{message.place}: {problem}")
            control.coordinator.dead_letter(
                message.body,
                origin=str(message.place),
                reason=str(problem),
                code=problem.code,
                tenant=message.ended.tenant,
            )


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
    in_progress = partitions_in_progress(instance, partitions)
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
