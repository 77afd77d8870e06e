"""Which partitions have a run that is not finished, single or over a range, and which lost theirs a moment ago."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from vcf_pipeline.defs.holder import UNFINISHED
from vcf_pipeline.domain.stream.run_plan import CORRELATION_TAG

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset

PARTITION, RANGE_START, RANGE_END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
WILL_RETRY, RETRIED_BY = "dagster/will_retry", "dagster/auto_retry_run_id"
# The daemon's retries look every few seconds.
RETRY_IS_DUE_SECONDS = 60.0
# Where Dagster's daemon of retries notes the last failure that it has looked at.
RETRIES_CURSOR = f"EVENT_LOG_CONSUMER_CURSOR-{dg.DagsterEventType.RUN_FAILURE.value}"
_EVENTS_LOOKED_BACK = 10_000


@dataclass(frozen=True)
class Lost:
    """Partitions whose run was lost a moment ago.

    due: keys that Dagster is about to run again by itself. passed_over: those that it will not, by the run's
    correlation id, "" where it had none.
    """

    due: frozenset[str]
    passed_over: dict[str, str]

    def is_passed_over(self, callset: Callset) -> bool:
        """Whether it was a run of this callset as it stands: one that was forgotten and came back is another."""
        return self.passed_over.get(str(callset.key)) == callset.correlation_id


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


def lost_partitions(instance: dg.DagsterInstance, *, other_than: Collection[str] = (), only: str = "") -> Lost:
    """What Dagster has said it will run again, and has not yet. Jobs as above.

    Only for a while: where the daemon that retries is stopped, they are not waited for.
    """
    lost = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        job_name=only or None,
        tags={WILL_RETRY: "true"},
        updated_after=datetime.now(UTC) - timedelta(seconds=RETRY_IS_DUE_SECONDS),
    )
    if not instance.get_runs(filters=lost, limit=1):
        return Lost(frozenset(), {})
    looked_at = _failures_looked_at(instance)  # before its retries are looked for: they are noted in the other order
    due, passed_over = set(), {}
    for run in instance.get_runs(filters=lost):
        if PARTITION not in run.tags or RETRIED_BY in run.tags or run.job_name in other_than:
            continue
        if run.run_id in looked_at:
            passed_over[run.tags[PARTITION]] = run.tags.get(CORRELATION_TAG, "")
        else:
            due.add(run.tags[PARTITION])
    return Lost(frozenset(due), passed_over)


def _failures_looked_at(instance: dg.DagsterInstance) -> set[str]:
    """Runs whose failure Dagster's daemon of retries has dealt with.

    Dagster (1.13) stores a failure first and marks the run as failed afterwards. A daemon that looks in between takes
    the run for one that goes on, passes it over, and never comes back to it.
    """
    cursor = instance.daemon_cursor_storage.get_cursor_values({RETRIES_CURSOR}).get(RETRIES_CURSOR, "")
    if not cursor.isdecimal():
        return set()
    last = int(cursor)
    failures = instance.event_log_storage.get_logs_for_all_runs_by_log_id(
        after_cursor=max(-1, last - _EVENTS_LOOKED_BACK), dagster_event_type=dg.DagsterEventType.RUN_FAILURE
    )
    return {event.run_id for at, event in failures.items() if at <= last}


def range_members(partitions: Sequence[str], first: str, last: str) -> list[str]:
    """Keys from first to last in list order; none where an end is gone or the range is reversed."""
    if first not in partitions or last not in partitions:
        return []
    return list(partitions[partitions.index(first) : partitions.index(last) + 1])
