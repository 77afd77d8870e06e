"""What no rerun cures is not tried again: Dagster's two kinds of retry do not look at an error's meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from vcf_pipeline.domain.errors import (
    ChangedWhileRead,
    InputRefused,
    NotFound,
    PermanentError,
    PipelineError,
    StoreUnavailable,
    Superseded,
)
from vcf_pipeline.stages import notify
from vcf_pipeline.stages.complete import earlier_result
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset

# Three more tries, a second or two apart, for what may pass by itself: a lease, a busy store, a broker.
TRANSIENT_RETRIES = dg.RetryPolicy(max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL)


# The file is not where it was, which says nothing about what was in it.
NOT_ABOUT_THE_INPUT = (NotFound, ChangedWhileRead)


@contextmanager
def final_if_permanent(control: Control) -> Iterator[None]:
    """Keep what a stage raised, as our own error, and let a PermanentError leave as a failure that allows no retry."""
    try:
        yield
    except PipelineError as error:
        control.errors.append(error)
        if isinstance(error, PermanentError):
            raise dg.Failure(
                description=str(error),
                metadata={"code": error.code, "where": error.where, "repair": error.repair},
                allow_retries=False,
            ) from error
        raise


@contextmanager
def told_in_ledger(
    control: Control, callset: Callset, *, is_last_try: bool, counts: bool, run_id: str = ""
) -> Iterator[None]:
    """Record in the ledger what went wrong, and let a PermanentError leave as a failure that allows no retry.

    An InputRefused makes the callset *refused*, or leaves an earlier result of it as it was, another error *failed*; a
    Superseded changes nothing, since the callset has another owner by then. Transient errors pass, for the retry
    policy, and are recorded when it is exhausted (is_last_try): one run is one attempt. counts: whether this one is
    still to be counted.
    """
    try:
        with final_if_permanent(control):
            try:
                yield
            except PipelineError as error:
                is_final = isinstance(error, PermanentError) or is_last_try
                if is_final and not isinstance(error, Superseded):
                    _record(control, callset, error, counts=counts, run_id=run_id)
                raise
    except (dg.Failure, PipelineError):
        raise
    except Exception as error:
        if is_last_try:
            _record(control, callset, _unexpected(callset, error), counts=counts, run_id=run_id)
        raise


def _record(control: Control, callset: Callset, error: PipelineError, *, counts: bool, run_id: str) -> None:
    key, generation = callset.key, callset.generation
    refused = isinstance(error, InputRefused) and not isinstance(error, NOT_ABOUT_THE_INPUT)
    permanent = isinstance(error, PermanentError)
    try:
        stands = earlier_result(callset, ledger=control.ledger, tables=control.tables) if refused else None
        if stands:
            error.add_sentence(stands)
        elif refused:
            control.ledger.mark_refused(key, str(error), error.code, generation=generation)
        else:
            control.ledger.mark_failed(
                key, str(error), error.code, permanent=permanent, generation=generation, counts=counts
            )
    except (Superseded, StoreUnavailable):
        # Forgotten meanwhile, or the ledger itself is what fails: the first error still has to be told.
        return
    control.notices.tell(notify.failed(callset, run_id, error, permanent=permanent, refused=refused))


def _unexpected(callset: Callset, error: Exception) -> PipelineError:
    return PipelineError(
        where=f"callset {callset.key}",
        got=f"{type(error).__name__}: {error}"[:500],
        repair="The Dagster UI shows the run and where it stopped.",
        code="UNEXPECTED",
    )
