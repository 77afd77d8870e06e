"""Start a run and wait for it: the CLI's one door to Dagster. Not here: what is printed (cli/), what a run does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from sqlalchemy.exc import SQLAlchemyError

from vcf_pipeline.defs.callset_step import FORCE_TAG
from vcf_pipeline.defs.holder import fail_dead_runs, holder_tags
from vcf_pipeline.defs.instance_storage import make_instance_storage
from vcf_pipeline.defs.jobs import ANNOTATION_ASSETS, CALLSET_ASSETS, FOR_ANNOTATIONS
from vcf_pipeline.defs.partitions import missing_partitions
from vcf_pipeline.domain.errors import InputRefused, PipelineError, StoreUnavailable, Superseded, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import PATH_TAG
from vcf_pipeline.settings import dagster_environment
from vcf_pipeline.stages.complete import ANNOTATIONS, STORES, complete_callset, stale_annotations, stale_assets
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.domain.tables.manifest import Manifest

ATTACH_POLL_SECONDS = 0.2
# Daemons write a heartbeat every 30 s; twice that without one means that none runs.
HEARTBEAT_SECONDS = 60.0
RUNNING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class Annotations:
    """rows: alleles by status. reasons: by code. calls, cost_microusd, cache_hits: of this run, 0 where it reused."""

    rows: dict[str, int]
    reasons: dict[str, int]
    cache_hits: int
    calls: int
    cost_microusd: int


@dataclass(frozen=True)
class RunOutcome:
    """stores: rows of this callset in each. tiers: always "1" to "4" and "unknown". attached: another run did it.

    annotations: None where none were asked for.
    """

    callset: Callset
    reused: bool
    attached: bool
    run_id: str | None
    stores: dict[str, int]
    tiers: dict[str, int]
    seconds: float
    annotations: Annotations | None = None


@contextmanager
def dagster_instance(control: Control) -> Iterator[dg.DagsterInstance]:
    """The one instance of this checkout and HOME. Raises StoreUnavailable where its books cannot be read or written."""
    os.environ.update(dagster_environment(control.settings))
    try:
        make_instance_storage(control.home)
        with dg.DagsterInstance.get() as instance:
            yield instance
    except SQLAlchemyError as error:
        said = [known for known in control.errors if isinstance(known, StoreUnavailable)]
        if said:
            # a stage met the same full disk before Dagster could write down that it had
            raise said[-1] from error
        cause = getattr(error, "orig", None) or error
        raise StoreUnavailable(
            where=f"Dagster's books under {control.home}",
            expected="a disk that takes what is written",
            got=f"{type(cause).__name__}: {cause}"[:300],
            repair="Make room, or give this user the right to write there; then do the same again.",
        ) from error


def add_partition(control: Control, key: PartitionKey) -> None:
    """So that a registered callset is seen in the UI at once."""
    with dagster_instance(control) as instance:
        instance.add_dynamic_partitions("callsets", missing_partitions(instance, [key]))


def forget_partition(control: Control, key: PartitionKey) -> list[str]:
    """Cancel what runs for the partition and take it away; the ids of the cancelled runs."""
    with dagster_instance(control) as instance:
        running = _runs_of(instance, key, [*RUNNING, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED])
        for run in running:
            # The fence has stopped its writing already; this ends its waiting.
            instance.report_run_canceling(run)
            instance.report_run_canceled(run)
        if str(key) in instance.get_dynamic_partitions("callsets"):
            instance.delete_dynamic_partition("callsets", str(key))
        return [run.run_id for run in running]


def daemon_is_running(control: Control) -> bool:
    with dagster_instance(control) as instance:
        beats = instance.get_daemon_heartbeats().values()
        return any(time.time() - beat.timestamp < HEARTBEAT_SECONDS for beat in beats)


def run_callset(
    control: Control,
    key: PartitionKey,
    *,
    force: bool = False,
    annotate: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> RunOutcome:
    """The assets that make the callset searchable, in this process; or the wait for the run that is at it already.

    annotate: the alleles that matter are explained too, and loaded, in the same run. Progress goes to control.progress.
    A callset that is done is returned as reused, unless `force`.
    Raises UnknownPartition, what a stage raised, or KeyboardInterrupt on SIGINT and SIGTERM.
    """
    started = time.monotonic()
    with dagster_instance(control) as instance:
        fail_dead_runs(instance)
        callset = control.ledger.callset(key)
        if callset is None or callset.state == "forgotten":
            raise UnknownPartition(
                where=f"partition {key}",
                expected="a registered callset",
                got="one that the ledger does not know",
                repair="`vcf-pipeline register FILE` makes it known.",
            )
        instance.add_dynamic_partitions("callsets", missing_partitions(instance, [key]))
        attached = False
        before = control.tables.manifest(key.tenant, key.callset_id, ANNOTATIONS)
        while other := _runs_of(instance, key, RUNNING, other_than=() if annotate else FOR_ANNOTATIONS):
            attached = True
            if on_wait is not None:
                on_wait(other[0].run_id)
            _wait_for(instance, other[0].run_id)
        if not force and callset.state in ("done", "running") and _is_complete(control, key, annotate=annotate):
            outcome = _outcome(control, key, not attached, attached, None, started)
            return replace(outcome, annotations=_annotations(control, key, before)) if annotate else outcome
        run_id = str(uuid4())
        try:
            _execute(control, instance, key, run_id, force=force, annotate=annotate)
        except (KeyboardInterrupt, SQLAlchemyError):
            # a signal between two steps has met no step that would do this, nor has a disk too full for Dagster's books
            with suppress(PipelineError):
                control.ledger.put_back(key, run_id)
            raise
    outcome = _outcome(control, key, reused=False, attached=False, run_id=run_id, started=started)
    return replace(outcome, annotations=_annotations(control, key, before)) if annotate else outcome


def _is_complete(control: Control, key: PartitionKey, *, annotate: bool) -> bool:
    callset = control.ledger.callset(key)
    thresholds = control.settings.triage.to_thresholds()
    if callset is None or stale_assets(callset, ledger=control.ledger, tables=control.tables, thresholds=thresholds):
        return False
    if annotate and stale_annotations(
        key,
        ledger=control.ledger,
        tables=control.tables,
        wanted=control.wanted(key.tenant),
        embedder_name=control.embedder(key.tenant).name,
        at=time.time(),
    ):
        return False
    return complete_callset(key, ledger=control.ledger, tables=control.tables)


def _annotations(control: Control, key: PartitionKey, before: Manifest | None) -> Annotations:
    """What was explained, and what it cost in this run: nothing where the table is the one that was there before."""
    written = control.tables.manifest(key.tenant, key.callset_id, ANNOTATIONS)
    if written is None:
        return Annotations(rows={}, cache_hits=0, calls=0, cost_microusd=0, reasons={})
    is_new = before is None or (before.created_at, before.parts) != (written.created_at, written.parts)
    extra = written.extra
    return Annotations(
        rows=dict(extra["rows"]),
        cache_hits=int(extra["cache_hits"]) if is_new else 0,
        calls=int(extra["calls"]) if is_new else 0,
        cost_microusd=int(extra["cost_microusd"]) if is_new else 0,
        reasons=dict(extra["reasons"]),
    )


def _execute(
    control: Control, instance: dg.DagsterInstance, key: PartitionKey, run_id: str, *, force: bool, annotate: bool
) -> None:
    from vcf_pipeline.definitions import definitions

    tags = {**holder_tags(run_id), PATH_TAG: "batch"}
    if force:
        tags[FORCE_TAG] = "true"
    selection = {dg.AssetKey(name) for name in _assets(control, key, force=force, annotate=annotate)}
    # cut before it is run: execute_in_process takes a selection or resources of its own, not both
    job = definitions.resolve_job_def("vcf_batch").get_subset(asset_selection=selection)
    control.is_stopped = False
    control.errors.clear()
    try:
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=str(key),
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            resources={"control": control},
            raise_on_error=False,
        )
    except DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    if not result.success:
        if control.is_stopped or _was_interrupted(result):
            raise KeyboardInterrupt
        if control.errors:
            error = control.errors[-1]
            callset = control.ledger.callset(key)
            if isinstance(error, InputRefused) and callset is not None and callset.state == "refused":
                # of what is refused nothing stays but the ledger's row; where a daemon runs it, reconciling does this
                instance.delete_dynamic_partition("callsets", str(key))
            raise error
        raise PipelineError(
            where=f"run {result.run_id}",
            expected="materialised assets",
            got=_failure_text(result),
            repair="The Dagster UI shows the run; `vcf-pipeline doctor` checks what it needs.",
            code="RUN_FAILED",
        )


def _assets(control: Control, key: PartitionKey, *, force: bool, annotate: bool) -> tuple[str, ...]:
    """What the run makes: without annotations the four of the callset; of a callset that is whole the others alone."""
    if not annotate:
        return CALLSET_ASSETS
    is_whole = not force and _is_complete(control, key, annotate=False)
    return ANNOTATION_ASSETS if is_whole else (*CALLSET_ASSETS, *ANNOTATION_ASSETS)


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """A signal between two steps: Dagster's own code met it, not a stage."""
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name == "DagsterExecutionInterruptedError" for error in failures)


def _failure_text(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            return event.step_failure_data.error.message.strip().splitlines()[0]
    if any(run_event.event_type_value == "PIPELINE_CANCELED" for run_event in result.all_events):
        raise KeyboardInterrupt
    return "a failed run"


def _runs_of(
    instance: dg.DagsterInstance,
    key: PartitionKey,
    statuses: list[dg.DagsterRunStatus],
    *,
    other_than: Collection[str] = (),
) -> list[dg.DagsterRun]:
    """Runs of this partition alone, newest first, but those of some jobs. Range runs are left to the leases: their end
    is not this one's.
    """
    wanted = dg.RunsFilter(statuses=statuses, tags={"dagster/partition": str(key)})
    return [run for run in instance.get_runs(filters=wanted) if run.job_name not in other_than]


def _wait_for(instance: dg.DagsterInstance, run_id: str) -> None:
    """Until the run has ended, or its process is gone."""
    while True:
        fail_dead_runs(instance)
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        time.sleep(ATTACH_POLL_SECONDS)


def _outcome(
    control: Control, key: PartitionKey, reused: bool, attached: bool, run_id: str | None, started: float
) -> RunOutcome:
    callset = control.ledger.callset(key)
    triaged = control.tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    if callset is None or callset.state == "forgotten" or triaged is None:
        raise Superseded(
            where=f"callset {key}",
            expected="the result of its run",
            got="a forgotten callset",
            repair="It was forgotten meanwhile; publish or register it to have it again.",
        )
    loads = {store: control.ledger.current_load(store, key) for store in STORES}
    return RunOutcome(
        callset=callset,
        reused=reused,
        attached=attached,
        run_id=run_id,
        stores={store: load.rows if load is not None else 0 for store, load in loads.items()},
        tiers=dict(triaged.extra["tiers"]),
        seconds=time.monotonic() - started,
    )
