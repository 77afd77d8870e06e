"""Ledger: the small durable facts behind one door. Not here: the parts (callsets, announcements, …)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from vcf_pipeline.adapters.ledger.analyses import Analyses
from vcf_pipeline.adapters.ledger.announcements import Announcements
from vcf_pipeline.adapters.ledger.answers import Answers
from vcf_pipeline.adapters.ledger.books import LedgerBooks
from vcf_pipeline.adapters.ledger.calls import Calls
from vcf_pipeline.adapters.ledger.callsets import Callsets
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.dead_letters import DeadLetters
from vcf_pipeline.adapters.ledger.leases import Lease, lease
from vcf_pipeline.adapters.ledger.loads import Loads
from vcf_pipeline.adapters.ledger.sources import Sources


class Ledger(Callsets, Announcements, Loads, DeadLetters, Analyses, Answers, Calls, Sources):
    """One per process. Every method is one short transaction; any may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def lease(
        self, name: str, *, wait_seconds: float, on_wait: Callable[[str], None] | None = None
    ) -> AbstractContextManager[Lease]:
        """Hold the lease `name` in a `with`; see leases.lease. One of a callset ends in `/tenant/callset_id`."""
        return lease(self.database, name, wait_seconds=wait_seconds, on_wait=on_wait)

    def books(self) -> LedgerBooks:
        """The books of calls and answers, to be closed by who asked for them."""
        return LedgerBooks(self.database)

    def close(self) -> None:
        self.database.close()


def open_ledger(url: str) -> Ledger:
    """The ledger at a SQLAlchemy address, its tables made or migrated. Raises StoreUnavailable."""
    database = Database(url)
    database.migrate()
    return Ledger(database)
