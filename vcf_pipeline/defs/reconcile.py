"""What a lost run, cursor or database left undone: the ledger and the manifests know, Dagster is made to agree.

Not here: the decision (domain/stream/run_plan.py); what callset_sensor hears by itself (sensors.py).
"""

import time
from datetime import datetime

import dagster as dg

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.defs.holder import fail_dead_runs
from vcf_pipeline.defs.jobs import variants_job
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.defs.runs_in_progress import partitions_in_progress
from vcf_pipeline.defs.sensors import run_request
from vcf_pipeline.domain.stream.run_plan import Standing, plan_reconcile
from vcf_pipeline.wiring import Control


@dg.sensor(
    name="reconcile_sensor",
    job=variants_job,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone, rebuilds partitions, asks again for what was announced and not done.",
)
def reconcile_sensor(context: dg.SensorEvaluationContext, control: dg.ResourceParam[Control]) -> dg.SensorResult:
    """A few lines around `plan_reconcile`. Nothing is computed here, and nothing twice."""
    for run_id in fail_dead_runs(context.instance):
        context.log.warning(f"Run {run_id}: its process is gone; reported as failed.")
    partitions = context.instance.get_dynamic_partitions("callsets")
    in_progress = partitions_in_progress(context.instance, partitions)
    callsets = control.ledger.callsets()
    standings = [_standing(callset, str(callset.key) in in_progress) for callset in callsets]
    plan = plan_reconcile(standings, time.time(), partitions)
    gone = {str(one.key) for one in callsets if one.state in ("forgotten", "refused")} & set(partitions)
    if plan.given_up:
        context.log.error(
            f"{len(plan.given_up)} callsets are left failed: {', '.join(plan.given_up[:10])}. "
            "`vcf-pipeline callsets show` says why; `vcf-pipeline run` or a materialisation tries again."
        )
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if plan.partition_keys:
        requests.append(CALLSETS.build_add_request(list(plan.partition_keys)))
    if gone:
        requests.append(CALLSETS.build_delete_request(sorted(gone)))
    return dg.SensorResult(
        dynamic_partitions_requests=requests,
        run_requests=[run_request(run) for run in plan.runs],
        skip_reason=None if plan.runs else dg.SkipReason(f"{len(callsets)} callsets, nothing to ask for again."),
    )


def _standing(callset: Callset, has_run: bool) -> Standing:
    return Standing(
        key=callset.key,
        state=callset.state,
        generation=callset.generation,
        digest=callset.digest or "",
        path=callset.path,
        correlation_id=callset.correlation_id,
        attempts=callset.attempts,
        since=_seconds(callset.updated_at),
        has_run=has_run,
        is_permanent=callset.is_permanent,
    )


def _seconds(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else moment
