"""Who holds a run: the process that executes it, so that a run whose process is gone never keeps a place.

Dagster's default launcher does not notice a killed run; the tag written here lets `run`, the reconcile sensor and
`doctor` see it. Not here: leases (adapters/ledger/leases.py), which guard tables and stores by themselves.
"""

from __future__ import annotations

import dagster as dg

from vcf_pipeline.adapters.ledger.holder import Holder

HOLDER_TAG = "vcf_pipeline/holder"
HELD_RUN_TAG = "vcf_pipeline/held_run"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def holder_tags(run_id: str) -> dict[str, str]:
    """The tags that name this process as the one that executes the run.

    The run is named too: Dagster copies the tags of a run to its retry, which has another process, or none yet.
    """
    return {HOLDER_TAG: Holder.of_this_process().to_text(), HELD_RUN_TAG: run_id}


def is_gone(run: dg.DagsterRun) -> bool:
    """True when the process that the run's own tags name has surely ended; False for another host, or no tags."""
    return run.tags.get(HELD_RUN_TAG) == run.run_id and Holder.from_text(run.tags[HOLDER_TAG]).is_surely_gone()


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every unfinished run whose process is gone as failed; the run ids.

    Run retries then start it again where the daemon runs, since no step of it failed.
    """
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        if is_gone(run):
            instance.report_run_failed(run, "The process of this run is gone; its tables are as they were before it.")
            ended.append(run.run_id)
    return ended
