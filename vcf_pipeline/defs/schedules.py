"""Schedules: files of the inbox become callsets; the nightly backfill of what misses an asset or is stale."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from uuid_utils import uuid7

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.defs.jobs import vcf_batch
from vcf_pipeline.defs.partitions import missing_partitions
from vcf_pipeline.defs.runs_in_progress import partitions_in_progress
from vcf_pipeline.domain.errors import InputRefused
from vcf_pipeline.wiring import Control

VCF_ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz", ".vcf.bgzf", ".bcf")
# A file is taken when it has not changed for so long: whoever copies it in may still be writing.
SETTLED_SECONDS = 30
# One tick registers so much at most, so that it ends before the next; the rest follows a minute later.
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
    from vcf_pipeline.stages.register import register_callset

    inbox = control.settings.inbox_folder
    if not inbox.is_dir():
        return dg.SkipReason(f"There is no inbox: {inbox}")
    now = context.scheduled_execution_time.timestamp()
    requests = []
    known = {callset.uri: callset for callset in control.ledger.callsets()}
    for path in _waiting(inbox, now, known):
        try:
            callset, _ = register_callset(
                str(path),
                tenant=control.settings.tenant,
                label=None,
                settings=control.settings.reader.to_reader_settings(),
                ledger=control.ledger,
                new_id=lambda: str(uuid7()),
            )
        except InputRefused as refused:
            context.log.error(str(refused))
            continue
        if callset.state == "registered":
            requests.append(_request(context.instance, callset, "inbox"))
        if len(requests) == FILES_PER_TICK:
            break
    return requests or dg.SkipReason(f"Nothing new in {inbox}")


@dg.schedule(
    name="backfill_schedule",
    cron_schedule="0 2 * * *",
    job=vcf_batch,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Nightly: every registered callset that misses an asset, or whose tables older code or settings made.",
)
def backfill_schedule(
    context: dg.ScheduleEvaluationContext, control: dg.ResourceParam[Control]
) -> list[dg.RunRequest] | dg.SkipReason:
    from vcf_pipeline.stages.complete import complete_callset
    from vcf_pipeline.stages.parse import is_current

    in_progress = partitions_in_progress(context.instance, context.instance.get_dynamic_partitions("callsets"))
    night = context.scheduled_execution_time.date().isoformat()
    wanted = control.ledger.callsets(states=["registered", "announced", "running", "failed", "done"])
    requests = [
        _request(context.instance, callset, f"backfill/{night}")
        for callset in wanted
        if str(callset.key) not in in_progress
        and not (
            is_current(callset, control.tables)
            and complete_callset(callset.key, ledger=control.ledger, tables=control.tables)
        )
    ]
    return requests or dg.SkipReason(f"All {len(wanted)} callsets are current.")


def _waiting(inbox: Path, now: float, known: dict[str, Callset]) -> Iterator[Path]:
    """Settled files that the ledger has not seen in their present form, oldest first."""
    found = [
        (path.stat().st_mtime, path)
        for path in inbox.rglob("*")
        if path.is_file() and path.name.endswith(VCF_ENDINGS) and not path.name.startswith(".")
    ]
    for changed, path in sorted(found):
        seen = known.get(str(path))
        if now - changed >= SETTLED_SECONDS and (seen is None or seen.size_bytes != path.stat().st_size):
            yield path


def _request(instance: dg.DagsterInstance, callset: Callset, why: str) -> dg.RunRequest:
    # A schedule cannot add partitions with its answer as a sensor can, and a request for an unknown one fails.
    instance.add_dynamic_partitions("callsets", missing_partitions(instance, [callset.key]))
    return dg.RunRequest(
        run_key=f"{why}/{callset.key}/{callset.generation}",
        partition_key=str(callset.key),
        tags={"vcf_pipeline/path": "batch", "vcf_pipeline/correlation_id": callset.correlation_id},
    )
