"""What a lost run, cursor, broker or database left undone: the ledger, the manifests and the spool know, and Dagster
and the brokers are made to agree.

Not here: the decision (domain/stream/run_plan.py); what callset_sensor hears by itself (sensors.py).
"""

import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.defs.callset_step import ATTEMPT_TAG
from vcf_pipeline.defs.holder import fail_dead_runs
from vcf_pipeline.defs.jobs import FOR_ANNOTATIONS, annotation_loads_job, annotations_job, variants_job
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.defs.reconcile_annotations import annotations_to_ask_for
from vcf_pipeline.defs.runs_in_progress import lost_partitions, partitions_in_progress
from vcf_pipeline.domain.errors import PipelineError, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import SPOOL_PATH, RunPlanned, Standing, plan_reconcile
from vcf_pipeline.stages.forward import forward_spooled
from vcf_pipeline.wiring import Control

MAX_RETRIES_TAG = "dagster/max_retries"
FINAL = ("done", "refused", "forgotten")
_SHOWN = 10
FORWARD_SECONDS = 2.0
"""What a tick gives to the spool at most, a stretch more or less: the rest of reconciling waits for so long."""


@dg.sensor(
    name="reconcile_sensor",
    jobs=[variants_job, annotations_job, annotation_loads_job],
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone, rebuilds partitions, asks again for what was announced and not done, "
    "sends on what waits in this home's spool.",
)
def reconcile_sensor(context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]) -> dg.SensorResult:
    """A few lines around `plan_reconcile`. Nothing is computed here, and nothing twice."""
    for run_id in fail_dead_runs(context.instance):
        context.log.warning(f"Run {run_id}: its process is gone; reported as failed.")
    spooled = _send_on(context, control)  # before the ledger is asked, which then knows of what was sent
    partitions = context.instance.get_dynamic_partitions("callsets")
    in_progress = partitions_in_progress(context.instance, partitions, other_than=FOR_ANNOTATIONS)
    lost = lost_partitions(context.instance, other_than=FOR_ANNOTATIONS)
    in_progress |= lost.due
    callsets = control.ledger.callsets()
    standings = [
        _standing(control, callset, str(callset.key) in in_progress, is_lost=lost.is_passed_over(callset))
        for callset in callsets
    ]
    plan = plan_reconcile(standings, time.time(), partitions)
    gone = {str(one.key) for one in callsets if one.state in ("forgotten", "refused")} & set(partitions)
    annotations, unexplained = annotations_to_ask_for(context.instance, control, callsets, partitions, time.time())
    undone = " ".join(filter(None, [_given_up(plan.given_up), _given_up(unexplained, "unexplained"), spooled]))
    if undone and undone != context.cursor:
        context.log.error(undone)
    generations = {str(callset.key): callset.generation for callset in callsets}
    asked = [
        request for run in plan.runs if (request := _ask_again(control, run, generations[run.members[0]])) is not None
    ]
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if plan.partition_keys:
        requests.append(CALLSETS.build_add_request(list(plan.partition_keys)))
    if gone:
        requests.append(CALLSETS.build_delete_request(sorted(gone)))
    return dg.SensorResult(
        dynamic_partitions_requests=requests,
        run_requests=[*asked, *annotations],
        skip_reason=None
        if asked or annotations
        else dg.SkipReason(undone or f"{len(callsets)} callsets, nothing to ask for."),
        cursor=undone,
    )


def _send_on(context: dg.SensorEvaluationContext, control: Control) -> str:
    """Send on what waits in this home's spool; what the UI shows while some is left, "" else. Never raises."""
    try:
        if not control.spool.has_announced():
            return ""
        drained = forward_spooled(control.coordinator, control.ledger, FORWARD_SECONDS)
    except PipelineError as problem:
        return f"The spool cannot be sent on: {problem.message}"
    except Exception as problem:
        # whatever else a vendor's client does: what was announced must be asked for all the same
        context.log.exception("The spool was not sent on.")
        return f"The spool cannot be sent on: {type(problem).__name__}."
    if drained.forwarded or drained.done:
        context.log.info(f"Spool: {len(drained.forwarded)} sent on, {len(drained.done)} done by batch meanwhile.")
    return f"{drained.left} wait in the spool: {drained.reason}" if drained.left else ""


def _given_up(keys: Sequence[str], how: str = "failed") -> str:
    """What the UI shows at every tick and the log says once; "" where nothing was given up."""
    if not keys:
        return ""
    shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    return (
        f"{len(keys)} left {how}: {shown}. `vcf-pipeline callsets show` says why; "
        "`vcf-pipeline run`, a materialisation, or the file published once more tries again."
    )


def _ask_again(control: Control, run: RunPlanned, generation: int) -> dg.RunRequest | None:
    """The request, counted before it leaves: a run that is killed, or never launched, counts itself nowhere.

    None when the callset was forgotten meanwhile. Dagster does not retry it by itself: that is done here.
    """
    try:
        control.ledger.note_attempt(PartitionKey.parse(run.members[0]), generation=generation)
    except Superseded:
        return None
    attempt = run.key.rpartition("-")[2]
    return dg.RunRequest(
        run_key=run.key,
        job_name=variants_job.name,
        partition_key=run.members[0],
        tags={**run.tags, ATTEMPT_TAG: attempt, MAX_RETRIES_TAG: "0"},
    )


def _standing(control: Control, callset: Callset, has_run: bool, *, is_lost: bool) -> Standing:
    digest, path = callset.digest or "", callset.path
    if path == SPOOL_PATH:
        digest = callset.settings_fingerprint
        if not Path(callset.uri).is_file():
            path = "batch"  # of another machine, or gone: its stream brings it, and a run would only fail
    if callset.path == "stream" and callset.state not in FINAL and not digest:
        announced = control.ledger.announcement(callset.key)
        digest = announced.digest if announced is not None else ""
    return Standing(
        key=callset.key,
        state=callset.state,
        generation=callset.generation,
        digest=digest,
        path=path,
        correlation_id=callset.correlation_id,
        attempts=callset.attempts,
        since=callset.updated_at,
        has_run=has_run,
        is_lost=is_lost,
        is_permanent=callset.is_permanent,
    )
