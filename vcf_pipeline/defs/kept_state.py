"""What a run writes down of how far it is: of the callset itself, or of its annotation, each in a state of its own.

A callset is done and searchable whatever becomes of its annotation: an asset of the second sort never marks the callset
running or failed, and what it fails of is told by its run and by reconciling. Not here: the steps (callset_step.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import dagster as dg

from vcf_pipeline.defs.failures import final_if_permanent, told_in_ledger
from vcf_pipeline.domain.errors import PermanentError, PipelineError, StoreUnavailable, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages import notify
from vcf_pipeline.stages.complete import are_annotations_loaded, complete_callset

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.domain.stream.stage_events import StageEvent
    from vcf_pipeline.wiring import Control


class KeptState(Protocol):
    """Of one run's assets. Every method is about one callset."""

    def begin(self, control: Control, callset: Callset, run_id: str, asset: str) -> None:
        """Somebody is at it."""
        ...

    def watch(
        self, control: Control, callset: Callset, run_id: str, *, is_last_try: bool, counts: bool
    ) -> AbstractContextManager[None]:
        """Around the stage: what goes wrong is written down, and what no rerun cures is not tried again."""
        ...

    def done(self, control: Control, callset: Callset) -> list[StageEvent]:
        """The stage is over and its checks passed; what there is to tell."""
        ...

    def checks_failed(self, control: Control, callset: Callset, reason: str, run_id: str) -> None:
        """A check counts what is on the disk, and no rerun makes it count otherwise: a person has to look."""
        ...

    def put_back(self, control: Control, keys: Sequence[str], run_id: str) -> None:
        """The run was stopped on purpose."""
        ...


class OfCallset:
    """States of the ledger's callsets: what `callsets list` shows and a sender waits for."""

    def begin(self, control: Control, callset: Callset, run_id: str, asset: str) -> None:
        control.notices.tell(notify.running(callset, run_id, asset))

    @contextmanager
    def watch(
        self, control: Control, callset: Callset, run_id: str, *, is_last_try: bool, counts: bool
    ) -> Iterator[None]:
        with told_in_ledger(control, callset, is_last_try=is_last_try, counts=counts, run_id=run_id):
            # One store has failed in this run and the other is loaded all the same: that is no news of the first. And
            # what this run has found done, as it is after a kill that came late, stays so while it looks at the rest.
            if callset.run_id != run_id or callset.state not in ("failed", "refused", "done"):
                control.ledger.mark_running(callset.key, run_id, generation=callset.generation)
            yield

    def done(self, control: Control, callset: Callset) -> list[StageEvent]:
        """What is wanted next is asked for once the callset is searchable, not once it is triaged: the run that
        explains it would take a core from the loads that people wait for.
        """
        if not complete_callset(callset.key, ledger=control.ledger, tables=control.tables):
            return []
        news = notify.standing(callset.key, control.ledger)
        wanted = notify.analysis_requested(callset, control.tables)
        return [event for event in (news, wanted) if event is not None]

    def checks_failed(self, control: Control, callset: Callset, reason: str, run_id: str) -> None:
        control.ledger.mark_failed(
            callset.key, reason, "CHECK_FAILED", permanent=True, generation=callset.generation, counts=False
        )
        problem = PipelineError(where=f"callset {callset.key}", got=reason, code="CHECK_FAILED")
        control.notices.tell(notify.failed(callset, run_id, problem, permanent=True, refused=False))

    def put_back(self, control: Control, keys: Sequence[str], run_id: str) -> None:
        for text in keys:
            control.ledger.put_back(PartitionKey.parse(text), run_id)


class OfAnnotation:
    """States of the ledger's analyses, where somebody asked for one; nothing of the callset's own."""

    def begin(self, control: Control, callset: Callset, run_id: str, asset: str) -> None:
        del run_id, asset
        control.ledger.begin_analysis(callset.key, callset.generation)

    @contextmanager
    def watch(
        self, control: Control, callset: Callset, run_id: str, *, is_last_try: bool, counts: bool
    ) -> Iterator[None]:
        del run_id
        try:
            with final_if_permanent(control):
                yield
        except (dg.Failure, PipelineError) as left:
            error = left.__cause__ if isinstance(left, dg.Failure) else left
            permanent = isinstance(error, PermanentError)
            if (permanent or is_last_try) and not isinstance(error, Superseded):
                self._note(control, callset, str(error), permanent=permanent, counts=counts)
            raise
        except Exception as error:
            if is_last_try:
                self._note(control, callset, f"{type(error).__name__}: {error}", permanent=False, counts=counts)
            raise

    def done(self, control: Control, callset: Callset) -> list[StageEvent]:
        if are_annotations_loaded(callset.key, ledger=control.ledger, tables=control.tables):
            control.ledger.end_loads(callset.key, callset.generation)
        return []

    def checks_failed(self, control: Control, callset: Callset, reason: str, run_id: str) -> None:
        del run_id
        self._note(control, callset, reason, permanent=True, counts=False)

    def put_back(self, control: Control, keys: Sequence[str], run_id: str) -> None:
        del run_id
        for text in keys:
            callset = control.ledger.callset(PartitionKey.parse(text))
            if callset is not None:
                control.ledger.put_back_analysis(callset.key, callset.generation)

    @staticmethod
    def _note(control: Control, callset: Callset, reason: str, *, permanent: bool, counts: bool) -> None:
        try:
            control.ledger.fail_analysis(callset.key, callset.generation, reason, permanent=permanent, counts=counts)
        except StoreUnavailable:
            return  # the ledger itself is what fails: the first error still has to be told


CALLSET: KeptState = OfCallset()
ANNOTATION: KeptState = OfAnnotation()
