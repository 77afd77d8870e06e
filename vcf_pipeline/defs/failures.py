"""What no rerun cures is not tried again: Dagster's two kinds of retry do not look at an error's meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from vcf_pipeline.domain.errors import InputRefused, PermanentError, PipelineError, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.wiring import Control

# Three more tries, a second or two apart, for what may pass by itself: a lease, a busy store, a broker.
TRANSIENT_RETRIES = dg.RetryPolicy(max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL)


@contextmanager
def final_if_permanent(control: Control, key: PartitionKey, generation: int) -> Iterator[None]:
    """Record in the ledger what went wrong, and let a PermanentError leave as a failure that allows no retry.

    An InputRefused makes the callset *refused*, another error *failed*; a Superseded changes nothing, since the
    callset has another owner by then. Transient errors pass, for the retry policy.
    """
    try:
        yield
    except PipelineError as error:
        control.errors.append(error)
        if not isinstance(error, Superseded):
            _record(control, key, generation, error)
        if isinstance(error, PermanentError):
            raise dg.Failure(
                description=str(error),
                metadata={"code": error.code, "where": error.where, "repair": error.repair},
                allow_retries=False,
            ) from error
        raise


def _record(control: Control, key: PartitionKey, generation: int, error: PipelineError) -> None:
    try:
        if isinstance(error, InputRefused):
            control.ledger.mark_refused(key, str(error), error.code, generation=generation)
        else:
            permanent = isinstance(error, PermanentError)
            control.ledger.mark_failed(key, str(error), error.code, permanent=permanent, generation=generation)
    except Superseded:
        # Forgotten meanwhile: there is no row left to write to, and the first error still has to be told.
        return
