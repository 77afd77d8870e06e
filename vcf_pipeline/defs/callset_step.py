"""What every asset does around its stage: find the callset, name the process, keep errors honest, sum up a range.

Not here: what a stage does (vcf_pipeline/stages), what is shown of it (metadata.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from vcf_pipeline.defs.failures import final_if_permanent
from vcf_pipeline.defs.holder import holder_tags
from vcf_pipeline.defs.metadata import summed
from vcf_pipeline.domain.errors import UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages.complete import complete_callset
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset

PATH_TAG = "vcf_pipeline/path"
CORRELATION_TAG = "vcf_pipeline/correlation_id"
FORCE_TAG = "vcf_pipeline/force"
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
    """What a stage did to one callset. digest: of what is in the table or store now."""

    digest: str
    metadata: Mapping[str, Any]
    checks: list[CheckOutcome] = field(default_factory=list)


def materialize(
    context: dg.AssetExecutionContext, control: Control, stage: Callable[[Callset], StepOutcome]
) -> dg.MaterializeResult[Any]:
    """Run the stage for each partition of this run, in order; the first that fails ends the run."""
    try:
        return _materialize(context, control, stage)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        # Under a retry policy Dagster begins an interrupted step again, and Ctrl-C would end nothing.
        control.is_stopped = True
        raise dg.Failure(description="Stopped by a signal.", allow_retries=False) from error


def _materialize(
    context: dg.AssetExecutionContext, control: Control, stage: Callable[[Callset], StepOutcome]
) -> dg.MaterializeResult[Any]:
    context.instance.add_run_tags(context.run_id, holder_tags())
    outcomes: list[StepOutcome] = []
    for text in context.partition_keys:
        callset = _callset(control, text)
        with final_if_permanent(control, callset.key, callset.generation):
            control.ledger.mark_running(callset.key, context.run_id, generation=callset.generation)
            outcomes.append(stage(callset))
            complete_callset(callset.key, ledger=control.ledger, tables=control.tables)
    return dg.MaterializeResult(
        metadata=summed([outcome.metadata for outcome in outcomes]),
        data_version=dg.DataVersion("+".join(outcome.digest for outcome in outcomes)),
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
