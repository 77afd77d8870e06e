"""Schedules: files of the inbox become callsets; the nightly backfill of what misses an asset or is stale."""

from collections.abc import Sequence

import dagster as dg
from uuid_utils import uuid7

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.defs.jobs import ANNOTATION_ASSETS, CALLSET_ASSETS, vcf_batch
from vcf_pipeline.defs.partitions import missing_partitions
from vcf_pipeline.defs.runs_in_progress import partitions_in_progress
from vcf_pipeline.domain.errors import InputRefused, PermanentError
from vcf_pipeline.domain.stream.run_plan import CORRELATION_TAG, PATH_TAG
from vcf_pipeline.wiring import Control

# One tick registers so many at most; the rest follows a minute later.
FILES_PER_TICK = 50


@dg.schedule(
    name="inbox_schedule",
    cron_schedule="* * * * *",
    job=vcf_batch,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="New VCF and BCF files under the inbox folder (VCF_PIPELINE_INBOX) become callsets and are run.",
)
def inbox_schedule(
    context: dg.ScheduleEvaluationContext, control: dg.ResourceParam[Control]
) -> list[dg.RunRequest] | dg.SkipReason:
    from vcf_pipeline.stages.inbox import Inbox
    from vcf_pipeline.stages.register import register_callset

    folder = control.settings.inbox_folder
    if not folder.is_dir():
        return dg.SkipReason(f"There is no inbox: {folder}")
    inbox = Inbox(folder, control.home / "inbox.json")
    requests, looked_at = [], []
    for file in inbox.waiting(context.scheduled_execution_time.timestamp())[:FILES_PER_TICK]:
        try:
            callset, _ = register_callset(
                str(file.path),
                tenant=control.settings.tenant,
                label=None,
                settings=control.settings.reader.to_reader_settings(),
                ledger=control.ledger,
                new_id=lambda: str(uuid7()),
            )
        except InputRefused as refused:
            context.log.error(str(refused))
        else:
            if callset.state == "registered":
                requests.append(_request(context.instance, callset, "inbox"))
        looked_at.append(file)
    for file in looked_at:
        inbox.remember(file)
    return requests or dg.SkipReason(f"Nothing new in {folder}")


@dg.schedule(
    name="backfill_schedule",
    cron_schedule="0 2 * * *",
    job=vcf_batch,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Nightly: every callset that misses an asset, or whose tables older code, settings or inputs made; "
    "annotations where there are some already.",
)
def backfill_schedule(
    context: dg.ScheduleEvaluationContext, control: dg.ResourceParam[Control]
) -> list[dg.RunRequest] | dg.SkipReason:
    from vcf_pipeline.stages.annotate import is_annotated
    from vcf_pipeline.stages.complete import stale_assets

    in_progress = partitions_in_progress(context.instance, context.instance.get_dynamic_partitions("callsets"))
    night = context.scheduled_execution_time.date().isoformat()
    thresholds = control.settings.triage.to_thresholds()
    living = control.ledger.callsets(states=["registered", "announced", "running", "failed", "done"])
    requests = []
    for callset in living:
        if str(callset.key) in in_progress or callset.is_permanent:
            continue
        stale = stale_assets(callset, ledger=control.ledger, tables=control.tables, thresholds=thresholds)
        # a re-triage makes annotations stale in the same run; where there are none, nobody asked for them
        annotated = is_annotated(callset.key, control.tables)
        if stale or (annotated and _are_annotations_old(context, control, callset)):
            wanted = [*CALLSET_ASSETS, *(ANNOTATION_ASSETS if annotated else ())]
            requests.append(_request(context.instance, callset, f"backfill/{night}", wanted))
    return requests or dg.SkipReason(f"Nothing to do for {len(living)} callsets.")


def _are_annotations_old(context: dg.ScheduleEvaluationContext, control: Control, callset: Callset) -> bool:
    """False, and a line in the tick's log, where the settings of whoever explains or makes vectors cannot be used:
    that is for a person to mend, and no reason to leave the other callsets as they are.
    """
    from vcf_pipeline.stages.complete import stale_annotations

    try:
        stale = stale_annotations(
            callset.key,
            ledger=control.ledger,
            tables=control.tables,
            wanted=control.wanted(callset.tenant),
            embedder_name=control.embedder(callset.tenant).name,
            at=context.scheduled_execution_time.timestamp(),
        )
    except PermanentError as problem:
        context.log.error(str(problem))
        return False
    return bool(stale)


def _request(
    instance: dg.DagsterInstance, callset: Callset, why: str, assets: Sequence[str] | None = None
) -> dg.RunRequest:
    """assets: of the job's, those to make; all where none are named."""
    # A schedule cannot add partitions with its answer as a sensor can, and a request for an unknown one fails.
    instance.add_dynamic_partitions("callsets", missing_partitions(instance, [callset.key]))
    return dg.RunRequest(
        run_key=f"{why}/{callset.key}/{callset.generation}",
        partition_key=str(callset.key),
        asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
        tags={PATH_TAG: "batch", CORRELATION_TAG: callset.correlation_id},
    )
