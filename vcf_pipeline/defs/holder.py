"""Who holds a run: the process that executes it, so that a run whose process is gone never keeps a place.

Dagster's default launcher does not notice a killed run; the tag written here lets `run`, the reconcile sensor and
`doctor` see it. Not here: leases (adapters/ledger/leases.py), which guard tables and stores by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from vcf_pipeline.adapters.ledger.holder import Holder

HOLDER_TAG = "vcf_pipeline/holder"
IN_PROGRESS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
UNFINISHED = [*IN_PROGRESS, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def holder_tags() -> dict[str, str]:
    """The tag that names this process."""
    return {HOLDER_TAG: Holder.of_this_process().to_text()}


def is_gone(tags: Mapping[str, str]) -> bool:
    """True when the process that the tag names has surely ended; False for another host, or no tag."""
    return HOLDER_TAG in tags and Holder.from_text(tags[HOLDER_TAG]).is_surely_gone()


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every run in progress whose process is gone as failed; the run ids.

    Run retries then start it again where the daemon runs, since no step of it failed.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_PROGRESS)):
        if is_gone(run.tags):
            instance.report_run_failed(run, "The process of this run is gone; its tables are as they were before it.")
            ended.append(run.run_id)
    return ended
