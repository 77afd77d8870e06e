"""What every asset does around its stage: find the callset, name the process, keep errors honest, sum up a range.

Not here: what a stage does (vcf_pipeline/stages), what is shown of it (metadata.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from vcf_pipeline.defs.failures import TRANSIENT_RETRIES
from vcf_pipeline.defs.holder import holder_tags
from vcf_pipeline.defs.kept_state import CALLSET, KeptState
from vcf_pipeline.defs.metadata import summed
from vcf_pipeline.defs.runs_in_progress import RANGE_END, RANGE_START
from vcf_pipeline.domain.errors import PipelineError, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import PATH_TAG
from vcf_pipeline.domain.stream.stage_events import StageEvent
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset

FORCE_TAG = "vcf_pipeline/force"
# On a run that reconciling asked for, which has counted it already.
ATTEMPT_TAG = "vcf_pipeline/attempt"
# A run of a callset that another run is working on waits for it, and then finds the work done.
LEASE_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class CheckOutcome:
    """One check of one callset; facts: numbers that a person compares."""

    name: str
    passed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepOutcome:
    """What a stage did to one callset. digest: of what is in the table or store now. events: told if checks pass."""

    digest: str
    metadata: Mapping[str, Any]
    checks: list[CheckOutcome] = field(default_factory=list)
    events: Sequence[StageEvent] = ()


def materialize(
    context: dg.AssetExecutionContext,
    control: Control,
    stage: Callable[[Callset], StepOutcome],
    kept: KeptState = CALLSET,
) -> dg.MaterializeResult[Any]:
    """Run the stage for each partition of this run, in order; the first that fails ends the run.

    kept: whose state it is that begins, ends or fails.
    """
    if control.is_stopped:
        # Dagster still begins the other store's load, which does not wait for the one that was stopped.
        raise dg.Failure(description="Stopped by a signal.", allow_retries=False)
    try:
        return _materialize(context, control, stage, kept)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        # Under a retry policy Dagster begins an interrupted step again, and Ctrl-C would end nothing.
        control.is_stopped = True
        with suppress(PipelineError):  # being stopped is what has to be told
            kept.put_back(control, context.partition_keys, context.run.run_id)
        raise dg.Failure(description="Stopped by a signal.", allow_retries=False) from error


def _materialize(
    context: dg.AssetExecutionContext, control: Control, stage: Callable[[Callset], StepOutcome], kept: KeptState
) -> dg.MaterializeResult[Any]:
    run = context.run
    context.instance.add_run_tags(run.run_id, holder_tags(run.run_id))
    is_last_try = context.retry_number >= TRANSIENT_RETRIES.max_retries
    outcomes: list[StepOutcome] = []
    if not context.partition_keys:
        raise dg.Failure(
            description=f"No partition lies in this run's range, {run.tags.get(RANGE_START)} to "
            f"{run.tags.get(RANGE_END)}, any more: its callsets are asked for one by one.",
            allow_retries=False,
        )
    for text in context.partition_keys:
        callset = _callset(control, text)
        kept.begin(control, callset, run.run_id, context.asset_key.to_user_string())
        counts = ATTEMPT_TAG not in run.tags
        with kept.watch(control, callset, run.run_id, is_last_try=is_last_try, counts=counts):
            outcome = stage(callset)
            if failed := [check for check in outcome.checks if not check.passed]:
                reason = "; ".join(f"{check.name}: {dict(check.facts)}" for check in failed)
                kept.checks_failed(control, callset, reason, run.run_id)
            else:
                news = kept.done(control, callset)
                for event in [*outcome.events, *news]:
                    control.notices.tell(event, run.tags.get(PATH_TAG, ""))
        outcomes.append(outcome)
    return dg.MaterializeResult(
        metadata=summed([outcome.metadata for outcome in outcomes]),
        # A run over a range has one result for all its partitions, and no version is the version of each.
        data_version=dg.DataVersion(outcomes[0].digest) if len(outcomes) == 1 else None,
        check_results=_check_results(outcomes),
    )


def _callset(control: Control, text: str) -> Callset:
    try:
        key = PartitionKey.parse(text)
        found = control.ledger.callset(key)
        if found is None or found.state == "forgotten":
            raise UnknownPartition(
                where=f"partition {text}",
                expected="a registered or announced callset",
                got="one that the ledger does not know" if found is None else "a forgotten one",
                repair="Register or publish its file again.",
            )
    except UnknownPartition as error:
        control.errors.append(error)
        raise dg.Failure(description=str(error), allow_retries=False) from error
    return found


def _check_results(outcomes: list[StepOutcome]) -> list[dg.AssetCheckResult]:
    by_name: dict[str, list[CheckOutcome]] = {}
    for outcome in outcomes:
        for check in outcome.checks:
            by_name.setdefault(check.name, []).append(check)
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=all(check.passed for check in checks),
            metadata=summed([check.facts for check in checks]),
        )
        for name, checks in by_name.items()
    ]
