"""Which partitions have a run that is not finished: single runs, and runs over a range."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from vcf_pipeline.defs.holder import UNFINISHED

PARTITION, RANGE_START, RANGE_END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
WILL_RETRY, RETRIED_BY = "dagster/will_retry", "dagster/auto_retry_run_id"
# The daemon's retries look every few seconds.
RETRY_IS_DUE_SECONDS = 60.0


def partitions_in_progress(
    instance: dg.DagsterInstance, partitions: Sequence[str], *, other_than: Collection[str] = (), only: str = ""
) -> set[str]:
    """Keys with a queued or running run. partitions: the list of keys in Dagster's order, which ranges follow.

    other_than: jobs whose runs do not count; only: the one job whose runs do.
    """
    keys: set[str] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED, job_name=only or None)):
        if run.job_name in other_than:
            continue
        if PARTITION in run.tags:
            keys.add(run.tags[PARTITION])
        elif RANGE_START in run.tags:
            keys.update(range_members(partitions, run.tags[RANGE_START], run.tags[RANGE_END]))
    return keys


def partitions_to_be_retried(
    instance: dg.DagsterInstance, *, other_than: Collection[str] = (), only: str = ""
) -> set[str]:
    """Keys whose run was lost a moment ago, and which Dagster is about to run again by itself.

    Only for a while: where the daemon that retries is stopped, they are not waited for. Jobs as above.
    """
    lost = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        job_name=only or None,
        tags={WILL_RETRY: "true"},
        updated_after=datetime.now(UTC) - timedelta(seconds=RETRY_IS_DUE_SECONDS),
    )
    return {
        run.tags[PARTITION]
        for run in instance.get_runs(filters=lost)
        if PARTITION in run.tags and RETRIED_BY not in run.tags and run.job_name not in other_than
    }


def range_members(partitions: Sequence[str], first: str, last: str) -> list[str]:
    """Keys from first to last in list order; none where an end is gone or the range is reversed."""
    if first not in partitions or last not in partitions:
        return []
    return list(partitions[partitions.index(first) : partitions.index(last) + 1])
