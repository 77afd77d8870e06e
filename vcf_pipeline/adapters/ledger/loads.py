"""Loads of the stores: pending → current → dead; and the versions of the graph, which never change once published.

A reader of a store hides what is pending or dead, and looks at the store's version before and after: so it never
sees half a load, a double or a gap. Not here: the stores themselves (adapters/stores).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from uuid_utils import uuid7

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.callsets import raise_store_version
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.domain.errors import Superseded
from vcf_pipeline.domain.identity import PartitionKey

GRAPH = "kuzu"
EXPLANATIONS = "kuzu_annotations"
"""Explanations in the graph: loads of their own, published with the versions of the graph."""


@dataclass(frozen=True)
class Load:
    """The current load of a callset in a store. digest: of what was loaded. rows: as the store counted them."""

    load_id: str
    digest: str
    rows: int


@dataclass(frozen=True)
class GraphVersion:
    """path: below DATA. n_callsets: how many are in it."""

    version: int
    path: str
    n_callsets: int


class Loads:
    """Part of `Ledger`."""

    database: Database

    def begin_load(self, held: Lease, store: str, key: PartitionKey, digest: str) -> str:
        """A new load_id, pending: its rows are hidden until `finish_load`. Raises Superseded."""
        load_id = str(uuid7())
        with self.database.writing() as connection:
            held.verify(connection)
            if key.callset_id in _forgotten(connection, key.tenant):
                raise Superseded(
                    where=f"load of {key}",
                    expected="a callset",
                    got="a forgotten one",
                    repair="Register or publish its file to have it again; nothing of this attempt counts.",
                )
            connection.execute(
                sa.insert(schema.loads).values(
                    load_id=load_id,
                    store=store,
                    tenant=key.tenant,
                    callset_id=key.callset_id,
                    digest=digest,
                    state="pending",
                    rows=0,
                    fence=held.fence,
                    started_at=self.database.now(connection),
                )
            )
            # A reader that looked before this began must look again: it does not know what to hide.
            raise_store_version(connection, store, key.tenant)
        return load_id

    def finish_load(self, held: Lease, load_id: str, rows: int) -> list[str]:
        """Make it current and the older ones dead, in one step; the dead ones, to be deleted. Raises Superseded."""
        table = schema.loads
        with self.database.writing() as connection:
            held.verify(connection)
            row = connection.execute(sa.select(table).where(table.c.load_id == load_id)).one_or_none()
            if row is None or row.state != "pending":
                raise Superseded(
                    where=f"load {load_id}",
                    expected="a pending load",
                    got="none" if row is None else f"a {row.state} one",
                    repair="The callset was forgotten or loaded by another process meanwhile.",
                )
            siblings = _siblings(row.store, PartitionKey(row.tenant, row.callset_id))
            connection.execute(sa.update(table).where(siblings, table.c.load_id != load_id).values(state="dead"))
            connection.execute(sa.update(table).where(table.c.load_id == load_id).values(state="current", rows=rows))
            raise_store_version(connection, row.store, row.tenant)
            dead = sa.select(table.c.load_id).where(siblings, table.c.state == "dead")
            return list(connection.execute(dead).scalars())

    def abandon_stale_loads(self, held: Lease, store: str, key: PartitionKey) -> list[str]:
        """Mark what earlier holders left pending as dead; all dead ones of the callset, to be deleted."""
        table = schema.loads
        with self.database.writing() as connection:
            held.verify(connection)
            siblings = _siblings(store, key)
            stale = connection.execute(
                sa.update(table).where(siblings, table.c.state == "pending").values(state="dead")
            )
            if stale.rowcount:
                raise_store_version(connection, store, key.tenant)
            dead = sa.select(table.c.load_id).where(siblings, table.c.state == "dead")
            return list(connection.execute(dead).scalars())

    def drop_loads(self, store: str, load_ids: list[str]) -> None:
        """Their rows are deleted: nothing has to hide them any more."""
        table = schema.loads
        with self.database.writing() as connection:
            connection.execute(
                sa.delete(table).where(table.c.store == store, table.c.load_id.in_(load_ids), table.c.state == "dead")
            )

    def current_load(self, store: str, key: PartitionKey) -> Load | None:
        table = schema.loads
        with self.database.reading() as connection:
            row = connection.execute(
                sa.select(table).where(_siblings(store, key), table.c.state == "current")
            ).one_or_none()
        return None if row is None else Load(row.load_id, row.digest, row.rows)

    def hidden_loads(self, store: str, tenant: str) -> tuple[int, list[str]]:
        """(the store's version for this tenant, the load_ids that a reader must not see)."""
        loads, versions = schema.loads, schema.store_versions
        with self.database.reading() as connection:
            # The version first: a load that begins between the two reads raises it, and the reader looks again.
            version = connection.execute(
                sa.select(versions.c.version).where(versions.c.store == store, versions.c.tenant == tenant)
            ).scalar_one_or_none()
            hidden = connection.execute(
                sa.select(loads.c.load_id)
                .where(loads.c.store == store, loads.c.tenant == tenant, loads.c.state != "current")
                .order_by(loads.c.load_id)
            ).scalars()
            return version or 0, list(hidden)

    def pending_loads(self, store: str, tenant: str) -> dict[str, str]:
        """callset_id → digest of what waits to be loaded, or was given up by somebody who died."""
        table = schema.loads
        with self.database.reading() as connection:
            rows = connection.execute(
                sa.select(table).where(table.c.store == store, table.c.tenant == tenant, table.c.state == "pending")
            )
            return {row.callset_id: row.digest for row in rows}

    def current_loads(self, store: str, tenant: str) -> tuple[int, dict[str, Load]]:
        """(the store's version for this tenant, callset_id → its current load)."""
        loads, versions = schema.loads, schema.store_versions
        with self.database.reading() as connection:
            # The version first, as in hidden_loads.
            version = connection.execute(
                sa.select(versions.c.version).where(versions.c.store == store, versions.c.tenant == tenant)
            ).scalar_one_or_none()
            rows = connection.execute(
                sa.select(loads).where(loads.c.store == store, loads.c.tenant == tenant, loads.c.state == "current")
            )
            return version or 0, {row.callset_id: Load(row.load_id, row.digest, row.rows) for row in rows}

    def dead_loads(self, store: str, key: PartitionKey) -> list[str]:
        """What a forget left to be deleted."""
        table = schema.loads
        with self.database.reading() as connection:
            dead = sa.select(table.c.load_id).where(_siblings(store, key), table.c.state == "dead")
            return list(connection.execute(dead).scalars())

    def graph_version(self, tenant: str) -> GraphVersion | None:
        """The one that readers open."""
        table = schema.graph_versions
        query = sa.select(table).where(table.c.tenant == tenant).order_by(table.c.version.desc()).limit(1)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else GraphVersion(row.version, row.path, row.n_callsets)

    def queue_graph_load(self, key: PartitionKey, digest: str) -> None:
        """Ask that the next version of the graph has this callset as its tables are now."""
        table = schema.graph_queue
        with self.database.writing() as connection:
            _unqueue(connection, key.tenant, [key.callset_id])
            connection.execute(sa.insert(table).values(tenant=key.tenant, callset_id=key.callset_id, digest=digest))

    def graph_queue(self, tenant: str) -> list[tuple[str, str]]:
        """(callset_id, digest) of what waits for the next version."""
        table = schema.graph_queue
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(table).where(table.c.tenant == tenant).order_by(table.c.callset_id))
            return [(row.callset_id, row.digest) for row in rows]

    def graph_loads(self, tenant: str) -> dict[str, Load]:
        """callset_id → what of it the published version holds."""
        return self.current_loads(GRAPH, tenant)[1]

    def publish_graph(
        self,
        held: Lease,
        tenant: str,
        expected_version: int,
        path: str,
        loaded: Mapping[str, tuple[str, int]],
        explained: Mapping[str, tuple[str, int]] | None = None,
    ) -> GraphVersion:
        """Compare and swap: the next version, with `loaded` callset_id → (digest, rows) made current.

        explained: likewise of explanations; a callset that was loaded without any has none in this version.

        Raises Superseded when the published version is not `expected_version` (0: none yet). A callset that was
        forgotten since it was queued is in the file but not current: the next version is built without it.
        """
        versions, loads = schema.graph_versions, schema.loads
        with self.database.writing() as connection:
            held.verify(connection)
            now = self.database.now(connection)
            mine = versions.c.tenant == tenant
            last = connection.execute(sa.select(sa.func.max(versions.c.version)).where(mine)).scalar_one() or 0
            if last != expected_version:
                raise Superseded(
                    where=f"graph of {tenant}",
                    expected=f"version {expected_version}",
                    got=f"version {last}",
                    repair="Another process has published one meanwhile; load again.",
                )
            gone = _forgotten(connection, tenant)
            told = dict(explained or {})
            for callset_id in {**loaded, **told}:
                of_this = _siblings(EXPLANATIONS, PartitionKey(tenant, callset_id))
                # one that waits for other explanations than these waits on
                is_served = (loads.c.state != "pending") | (loads.c.digest == told.get(callset_id, ("", 0))[0])
                connection.execute(sa.delete(loads).where(of_this, is_served))
            for callset_id in loaded:
                connection.execute(sa.delete(loads).where(_siblings(GRAPH, PartitionKey(tenant, callset_id))))
            made = [(GRAPH, *entry) for entry in loaded.items()] + [(EXPLANATIONS, *entry) for entry in told.items()]
            for store, callset_id, (digest, rows) in made:
                if callset_id in gone:
                    continue
                connection.execute(
                    sa.insert(loads).values(
                        load_id=str(uuid7()),
                        store=store,
                        tenant=tenant,
                        callset_id=callset_id,
                        digest=digest,
                        state="current",
                        rows=rows,
                        fence=held.fence,
                        started_at=now,
                    )
                )
                if store == GRAPH:
                    _unqueue(connection, tenant, [callset_id], digest)
            held_callsets = sa.select(sa.func.count()).where(
                loads.c.store == GRAPH, loads.c.tenant == tenant, loads.c.state == "current"
            )
            n_callsets = connection.execute(held_callsets).scalar_one()
            connection.execute(
                sa.insert(versions).values(
                    tenant=tenant, version=last + 1, path=path, n_callsets=n_callsets, published_at=now
                )
            )
            raise_store_version(connection, GRAPH, tenant)
        return GraphVersion(last + 1, path, n_callsets)

    def old_graph_versions(self, tenant: str, keep: int = 2) -> list[GraphVersion]:
        """All but the last `keep`, oldest first."""
        table = schema.graph_versions
        query = sa.select(table).where(table.c.tenant == tenant).order_by(table.c.version.desc()).offset(keep)
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        return [GraphVersion(row.version, row.path, row.n_callsets) for row in reversed(rows)]

    def drop_graph_version(self, tenant: str, version: int) -> None:
        """Its file is deleted."""
        table = schema.graph_versions
        with self.database.writing() as connection:
            connection.execute(sa.delete(table).where(table.c.tenant == tenant, table.c.version == version))


def _siblings(store: str, key: PartitionKey) -> sa.ColumnElement[bool]:
    table = schema.loads
    return (table.c.store == store) & (table.c.tenant == key.tenant) & (table.c.callset_id == key.callset_id)


def _unqueue(connection: sa.Connection, tenant: str, callset_ids: list[str], digest: str | None = None) -> None:
    table = schema.graph_queue
    query = sa.delete(table).where(table.c.tenant == tenant, table.c.callset_id.in_(callset_ids))
    connection.execute(query if digest is None else query.where(table.c.digest == digest))


def _forgotten(connection: sa.Connection, tenant: str) -> set[str]:
    table = schema.callsets
    query = sa.select(table.c.callset_id).where(table.c.tenant == tenant, table.c.state == "forgotten")
    return set(connection.execute(query).scalars())
