"""How far the annotation of each callset is, where somebody asked for it: requested → running → explained → done.

It is a matter apart from the callset's own state: a callset is done and searchable whatever becomes of its annotation.
A row is written before the event that asks for the work is sent, so that a lost event is found. A batch run does all
by itself and asks nobody: it leaves a row once it has ended, and none before.
Not here: what is annotated (stages/annotate.py); who asks again (defs/reconcile.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.domain.identity import PartitionKey

AnalysisState = Literal["requested", "running", "explained", "done", "failed"]
WAITING: tuple[AnalysisState, ...] = ("requested", "running", "failed")
"""States in which the alleles are still to be explained."""
NEVER_AGAIN = 1_000
"""attempts of a failure that no rerun cures."""


@dataclass(frozen=True)
class Analysis:
    """digest: of the triage that is to be explained, or was. attempts: failed tries of what is due now.

    explained: the table is written, and both stores are still to be loaded from it. reason: of the last failure.
    updated_at: seconds since 1970.
    """

    tenant: str
    callset_id: str
    generation: int
    digest: str
    state: AnalysisState
    attempts: int
    reason: str | None
    updated_at: float

    @property
    def key(self) -> PartitionKey:
        return PartitionKey(self.tenant, self.callset_id)

    @property
    def is_permanent(self) -> bool:
        return self.state == "failed" and self.attempts >= NEVER_AGAIN


class Analyses:
    """Part of `Ledger`."""

    database: Database

    def analysis(self, key: PartitionKey) -> Analysis | None:
        with self.database.reading() as connection:
            return _get(connection, key)

    def analyses(self, states: Sequence[str] | None = None) -> list[Analysis]:
        """Of every tenant, the longest unchanged first."""
        table = schema.analyses
        query = sa.select(table).order_by(table.c.updated_at, table.c.callset_id)
        if states is not None:
            query = query.where(table.c.state.in_(states))
        with self.database.reading() as connection:
            return [Analysis(**row._mapping) for row in connection.execute(query)]

    def request_analysis(self, key: PartitionKey, generation: int, digest: str) -> None:
        """Somebody wants this triage explained. What is asked for already, or done, stays as it is; a failed one is
        asked for again.
        """
        with self.database.writing() as connection:
            found = _get(connection, key)
            is_same = found is not None and (found.generation, found.digest) == (generation, digest)
            if not is_same or (found is not None and found.state == "failed"):
                self._put(connection, key, generation=generation, digest=digest, state="requested", attempts=0)

    def begin_analysis(self, key: PartitionKey, generation: int) -> None:
        """A run is at it. Nothing where nobody asked."""
        self._move(key, generation, WAITING, state="running")

    def put_back_analysis(self, key: PartitionKey, generation: int) -> None:
        """Its run was stopped on purpose: it waits as before."""
        self._move(key, generation, ("running",), state="requested")

    def end_analysis(self, key: PartitionKey, generation: int, digest: str, *, loads_are_due: bool) -> None:
        """The triage as it is now is explained, and the table written. loads_are_due: others will load it, and are
        asked to; else this run does.
        """
        with self.database.writing() as connection:
            found = _get(connection, key)
            is_same = found is not None and (found.generation, found.digest) == (generation, digest)
            if found is not None and is_same and found.state in ("explained", "done"):
                return
            state = "explained" if loads_are_due else "done"
            self._put(connection, key, generation=generation, digest=digest, state=state, attempts=0)

    def end_loads(self, key: PartitionKey, generation: int) -> None:
        """Both stores have what was explained."""
        self._move(key, generation, ("explained",), state="done", attempts=0, reason=None)

    def fail_analysis(
        self, key: PartitionKey, generation: int, reason: str, *, permanent: bool, counts: bool = True
    ) -> None:
        """A try has failed; one more attempt unless reconciling has counted it. Nothing where nobody asked."""
        attempts = sa.literal(NEVER_AGAIN) if permanent else schema.analyses.c.attempts + int(counts)
        self._move(key, generation, WAITING, state="failed", reason=reason[:2000], attempts=attempts)
        self._move(key, generation, ("explained",), reason=reason[:2000], attempts=attempts)

    def note_analysis_attempt(self, key: PartitionKey, generation: int) -> bool:
        """Reconciling asks for a run again; False where there is nothing left to ask for."""
        attempts = schema.analyses.c.attempts + 1
        return self._move(key, generation, (*WAITING, "explained"), attempts=attempts)

    def _move(self, key: PartitionKey, generation: int, states: Sequence[str], **values: Any) -> bool:
        table = schema.analyses
        with self.database.writing() as connection:
            changed = connection.execute(
                sa.update(table)
                .where(
                    table.c.tenant == key.tenant,
                    table.c.callset_id == key.callset_id,
                    table.c.generation == generation,
                    table.c.state.in_(states),
                )
                .values(updated_at=self.database.now(connection), **values)
            )
        return changed.rowcount == 1

    def _put(self, connection: sa.Connection, key: PartitionKey, **values: Any) -> None:
        table = schema.analyses
        mine = (table.c.tenant == key.tenant) & (table.c.callset_id == key.callset_id)
        connection.execute(sa.delete(table).where(mine))
        now = self.database.now(connection)
        whose = {"tenant": key.tenant, "callset_id": key.callset_id}
        connection.execute(sa.insert(table).values(**whose, **values, reason=None, updated_at=now))


def _get(connection: sa.Connection, key: PartitionKey) -> Analysis | None:
    table = schema.analyses
    mine = (table.c.tenant == key.tenant) & (table.c.callset_id == key.callset_id)
    row = connection.execute(sa.select(table).where(mine)).one_or_none()
    return None if row is None else Analysis(**row._mapping)
