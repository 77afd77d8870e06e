"""Leases: the right to write something, for a time, with a fence. A dead holder keeps nobody waiting.

A dead pid on the same host is taken over at once, any other holder once its lease has expired by the database's
clock. Whoever writes checks between parts, and replaces what readers see inside `guard`. Not here: what is guarded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.errors import LeaseHeld, PipelineError, Superseded, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey

EXPIRY_SECONDS = 15.0
RENEWAL_SECONDS = 5.0
POLL_SECONDS = 0.05


class Lease:
    """A lease that is held. fence: grows with every holder; what an older one writes is refused."""

    def __init__(self, database: Database, name: str, fence: int) -> None:
        self._database = database
        self.name, self.fence = name, fence

    def check(self) -> None:
        """Raises Superseded when somebody else holds it by now, or its callset is forgotten."""
        with self._database.reading() as connection:
            self.verify(connection)
            self._verify_callset(connection)

    def guard(self, replace: Callable[[], None]) -> None:
        """Run `replace` inside a transaction that holds the fence, so that nobody can take over meanwhile.

        Raises Superseded, before `replace` has run.
        """
        with self._database.writing() as connection:
            self.verify(connection)
            self._verify_callset(connection)
            replace()

    def verify(self, connection: sa.Connection) -> None:
        """`check` within the caller's transaction."""
        table = schema.leases
        row = connection.execute(
            sa.select(table.c.fence, table.c.is_held).where(table.c.name == self.name)
        ).one_or_none()
        if row is None or row.fence != self.fence or not row.is_held:
            raise Superseded(
                where=f"lease {self.name}",
                expected=f"fence {self.fence}",
                got="none" if row is None else f"fence {row.fence}{'' if row.is_held else ', released'}",
                repair="Another process has taken over, or the callset was forgotten; nothing of this one counts.",
            )

    def _verify_callset(self, connection: sa.Connection) -> None:
        # A run that waited for the lease while its callset was forgotten gets a good fence for work nobody wants.
        try:
            key = PartitionKey.parse(self.name.partition("/")[2])
        except UnknownPartition:
            return  # a lease of a whole tenant's store
        table = schema.callsets
        mine = (table.c.tenant == key.tenant) & (table.c.callset_id == key.callset_id)
        if connection.execute(sa.select(table.c.state).where(mine)).scalar_one_or_none() == "forgotten":
            raise Superseded(
                where=f"lease {self.name}",
                expected="a callset",
                got="a forgotten one",
                repair="Register or publish its file to have it again; nothing of this attempt counts.",
            )

    def _renew(self) -> bool:
        """False once it is lost."""
        table = schema.leases
        with self._database.writing() as connection:
            expires = self._database.now(connection) + EXPIRY_SECONDS
            renewed = connection.execute(
                sa.update(table)
                .where(table.c.name == self.name, table.c.fence == self.fence, table.c.is_held)
                .values(expires_at=expires)
            )
            return renewed.rowcount == 1

    def _release(self) -> None:
        table = schema.leases
        with self._database.writing() as connection:
            connection.execute(
                sa.update(table).where(table.c.name == self.name, table.c.fence == self.fence).values(is_held=False)
            )


@contextmanager
def lease(
    database: Database, name: str, *, wait_seconds: float, on_wait: Callable[[str], None] | None = None
) -> Iterator[Lease]:
    """Hold the lease; wait for it up to wait_seconds, telling `on_wait` once who has it.

    Raises LeaseHeld(holder). Within one process too, a lease is held once.
    """
    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        fence, held_by = _try(database, name)
        if fence:
            break
        if on_wait is not None and not told:
            told = True
            on_wait(held_by)
        if time.monotonic() >= deadline:
            raise LeaseHeld(
                where=f"lease {name}",
                expected="a free one",
                got=f"one that {held_by} holds",
                repair="Try again when it has ended.",
                holder=held_by,
            )
        time.sleep(POLL_SECONDS)
    held = Lease(database, name, fence)
    ended = threading.Event()
    renewer = threading.Thread(target=_keep, args=(held, ended), daemon=True, name=f"lease {name}")
    renewer.start()
    try:
        yield held
    finally:
        ended.set()
        renewer.join()
        held._release()


def _try(database: Database, name: str) -> tuple[int, str]:
    """(the fence, "") when it is ours now, else (0, who has it)."""
    table = schema.leases
    me = Holder.of_this_process()
    with database.reading() as connection:
        row = connection.execute(sa.select(table).where(table.c.name == name)).one_or_none()
        if row is not None and not _is_free(row, database.now(connection)):
            return 0, str(Holder.from_text(row.holder))
    with database.writing() as connection:
        now = database.now(connection)
        row = connection.execute(sa.select(table).where(table.c.name == name)).one_or_none()
        values = {"is_held": True, "holder": me.to_text(), "expires_at": now + EXPIRY_SECONDS}
        if row is None:
            connection.execute(sa.insert(table).values(name=name, fence=1, **values))
            return 1, ""
        if not _is_free(row, now):
            return 0, str(Holder.from_text(row.holder))
        connection.execute(sa.update(table).where(table.c.name == name).values(fence=row.fence + 1, **values))
        return row.fence + 1, ""


def _is_free(row: sa.Row[tuple[object, ...]], now: float) -> bool:
    return not row.is_held or row.expires_at < now or Holder.from_text(row.holder).is_surely_gone()


def _keep(held: Lease, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL_SECONDS):
        try:
            if not held._renew():
                return
        except PipelineError:
            # The database may answer again before the lease expires; if not, check() and guard() say so.
            continue
