"""Callsets: what is registered or announced, how far each is, and forgetting.

States: registered or announced → running → done; failed, refused, forgotten; what is stopped on purpose goes back from
running. Every change names the generation it is about, so that work begun before a `forget` cannot write its end.
Not here: announcements (announcements.py), tables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.domain.errors import AmbiguousCallset, Superseded, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import LIMITS, SPOOL_PATH

State = Literal["registered", "announced", "running", "done", "failed", "refused", "forgotten"]
_SHOWN = 60


@dataclass(frozen=True)
class Callset:
    """A row of the ledger. path: how it came, "batch", "stream", or "spool" for what waits there and is run by
    batch meanwhile. digest, records, alleles, rejected: once done.

    attempts: failed tries of this generation. reason, code: of the last failure or refusal; is_permanent: whether a
    rerun may cure it. created_at, updated_at: seconds since 1970.
    """

    tenant: str
    callset_id: str
    generation: int
    state: State
    label: str
    uri: str
    sha256: str
    size_bytes: int
    assembly: str | None
    reader_settings: dict[str, Any]
    settings_fingerprint: str
    correlation_id: str
    path: str
    records: int | None
    alleles: int | None
    rejected: int | None
    digest: str | None
    reason: str | None
    code: str | None
    is_permanent: bool
    attempts: int
    run_id: str | None
    created_at: float
    updated_at: float

    @property
    def key(self) -> PartitionKey:
        return PartitionKey(self.tenant, self.callset_id)

    @property
    def is_given_up(self) -> bool:
        """Failed, and nothing tries it again by itself: it waits for a person, or for another publication."""
        return self.state == "failed" and (self.is_permanent or self.attempts >= LIMITS.max_attempts)


FRESH: dict[str, Any] = {
    "records": None,
    "alleles": None,
    "rejected": None,
    "digest": None,
    "reason": None,
    "code": None,
    "is_permanent": False,
    "attempts": 0,
    "run_id": None,
}
"""What a callset starts with, and starts again with when its settings change or it comes back."""


def from_row(row: sa.Row[Any]) -> Callset:
    values = dict(row._mapping)
    values["reader_settings"] = json.loads(values["reader_settings"])
    return Callset(**values)


class Callsets:
    """Part of `Ledger`."""

    database: Database

    def register(
        self,
        tenant: str,
        callset_id: str,
        *,
        label: str,
        uri: str,
        sha256: str,
        size_bytes: int,
        assembly: str | None,
        reader_settings: dict[str, Any],
        settings_fingerprint: str,
        correlation_id: str,
        path: str = "batch",
    ) -> tuple[Callset, bool]:
        """The callset, and whether this made it or brought it back. The same bytes are the same callset.

        Other reader settings make a callset stale, not another one: it is registered again and keeps its label.
        One that was refused is looked at again: the program may have learned to read it. path "spool": one that was
        registered for batch, or failed, is asked for anew.
        """
        table = schema.callsets
        key = PartitionKey(tenant, callset_id)
        with self.database.writing() as connection:
            now = self.database.now(connection)
            found = get(connection, key)
            given = {
                "uri": uri,
                "reader_settings": json.dumps(reader_settings),
                "settings_fingerprint": settings_fingerprint,
                "updated_at": now,
            }
            if found is None:
                values = {
                    "tenant": tenant,
                    "callset_id": callset_id,
                    "generation": 0,
                    "state": "registered",
                    "label": label,
                    "sha256": sha256,
                    "size_bytes": size_bytes,
                    "assembly": assembly,
                    "correlation_id": correlation_id,
                    "path": path,
                    "created_at": now,
                }
                connection.execute(sa.insert(table).values(**values, **given, **FRESH))
            elif found.state in ("forgotten", "refused"):
                given |= {
                    "state": "registered",
                    "label": label,
                    "correlation_id": correlation_id,
                    "path": path,
                }
                update(connection, key, **given, **FRESH)
            elif found.settings_fingerprint != settings_fingerprint:
                given |= {"path": path} if path == SPOOL_PATH else {}
                update(connection, key, state="registered", **given, **FRESH)
            elif path == SPOOL_PATH and found.state in ("registered", "failed"):
                update(connection, key, state="registered", path=path, **given, attempts=0, is_permanent=False)
            elif found.uri != uri:
                update(connection, key, uri=uri)
            registered = get(connection, key)
        assert registered is not None  # noqa: S101 - written above, in the same transaction
        return registered, found is None or found.state == "forgotten"

    def callset(self, key: PartitionKey) -> Callset | None:
        with self.database.reading() as connection:
            return get(connection, key)

    def callsets(self, tenant: str | None = None, states: Sequence[str] | None = None) -> list[Callset]:
        """In the order in which they came; of every tenant where none is named."""
        table = schema.callsets
        query = sa.select(table).order_by(table.c.created_at, table.c.callset_id)
        if tenant is not None:
            query = query.where(table.c.tenant == tenant)
        if states is not None:
            query = query.where(table.c.state.in_(states))
        with self.database.reading() as connection:
            return [from_row(row) for row in connection.execute(query)]

    def tenants(self) -> list[str]:
        """Every tenant that has, or had, a callset."""
        column = schema.callsets.c.tenant
        with self.database.reading() as connection:
            return list(connection.execute(sa.select(column).distinct().order_by(column)).scalars())

    def resolve(self, tenant: str, text: str) -> Callset:
        """What a person means: a partition key, a callset_id, a prefix of one, or a label; of this tenant alone.

        Raises UnknownPartition, or AmbiguousCallset(candidates).
        """
        wanted = text.removeprefix(f"{tenant}/")
        known = [one for one in self.callsets(tenant) if one.state != "forgotten"]
        exact = [one for one in known if one.callset_id == wanted]
        found = exact or [one for one in known if one.label == text]
        if not found and wanted:
            found = [one for one in known if one.callset_id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        shown = repr(text[:_SHOWN])
        if not found:
            raise UnknownPartition(
                where=f"tenant {tenant}",
                expected="a callset: a partition key, an id, the start of one, or a label",
                got=shown,
                repair="`vcf-pipeline callsets list` shows the ones there are.",
            )
        candidates = [str(one.key) for one in found]
        raise AmbiguousCallset(
            where=f"tenant {tenant}",
            expected="one callset",
            got=f"{shown}, which is {len(found)} of them",
            repair=f"Name one of {', '.join(candidates[:5])}.",
            candidates=candidates,
        )

    def mark_running(self, key: PartitionKey, run_id: str, *, generation: int) -> None:
        """Raises Superseded, as every mark does, when the callset was forgotten since."""
        self._mark(key, generation, state="running", run_id=run_id)

    def put_back(self, key: PartitionKey, run_id: str) -> None:
        """A run was stopped on purpose: the callset is what it was before. Nothing where another run has it by now.

        What it was can still be read in its row: a reason stays from a failure, a digest from a result.
        """
        table = schema.callsets
        with self.database.writing() as connection:
            found = get(connection, key)
            if found is None or found.state != "running" or found.run_id != run_id:
                return
            waiting: State = "announced" if found.path == "stream" else "registered"
            before: State = "failed" if found.reason is not None else "done" if found.digest is not None else waiting
            mine = (table.c.tenant == key.tenant) & (table.c.callset_id == key.callset_id)
            now = self.database.now(connection)
            connection.execute(sa.update(table).where(mine).values(state=before, run_id=None, updated_at=now))

    def mark_done(
        self,
        key: PartitionKey,
        *,
        records: int,
        alleles: int,
        rejected: int,
        digest: str,
        generation: int,
        made_with: tuple[dict[str, Any], str] | None = None,
    ) -> None:
        """made_with: reader settings and their fingerprint, where an earlier result stands and others were tried."""
        values = {**FRESH, "records": records, "alleles": alleles, "rejected": rejected, "digest": digest}
        if made_with is not None:
            values |= {"reader_settings": json.dumps(made_with[0]), "settings_fingerprint": made_with[1]}
        self._mark(key, generation, state="done", **{name: v for name, v in values.items() if name != "run_id"})

    def mark_failed(
        self, key: PartitionKey, reason: str, code: str, *, permanent: bool, generation: int, counts: bool = True
    ) -> None:
        """Counts the attempt, unless reconciling has done so when it asked for it (counts=False)."""
        attempts = schema.callsets.c.attempts + int(counts)
        self._mark(
            key,
            generation,
            state="failed",
            reason=reason,
            code=code,
            is_permanent=permanent,
            attempts=attempts,
        )

    def mark_refused(self, key: PartitionKey, reason: str, code: str, *, generation: int) -> None:
        """Final: the input cannot become a callset."""
        self._mark(key, generation, state="refused", reason=reason, code=code, is_permanent=True)

    def note_attempt(self, key: PartitionKey, *, generation: int) -> None:
        """Reconciling has asked for a run again."""
        self._mark(key, generation, attempts=schema.callsets.c.attempts + 1)

    def forget(self, key: PartitionKey) -> int:
        """Raise the generation, end every lease of the callset, mark its loads dead; the new generation.

        One transaction: whoever still works on it is fenced out from here on. Raises UnknownPartition.
        """
        with self.database.writing() as connection:
            found = get(connection, key)
            if found is None:
                raise UnknownPartition(
                    where=f"partition {key}",
                    expected="a callset of the ledger",
                    got="an unknown one",
                    repair="`vcf-pipeline callsets list` shows the ones there are.",
                )
            update(
                connection,
                key,
                state="forgotten",
                # A file's name can be a patient's: neither it nor the label outlives the callset.
                label="",
                uri="",
                generation=found.generation + 1,
                updated_at=self.database.now(connection),
                **FRESH,
            )
            leases, loads, queue = schema.leases, schema.loads, schema.graph_queue
            told = schema.announcements
            connection.execute(
                sa.update(told)
                .where(told.c.tenant == key.tenant, told.c.callset_id == key.callset_id)
                .values(body="{}", is_accepted=False)
            )
            connection.execute(
                sa.update(leases)
                .where(leases.c.name.endswith(f"/{key}", autoescape=True))
                .values(fence=leases.c.fence + 1, is_held=False)
            )
            mine = (loads.c.tenant == key.tenant) & (loads.c.callset_id == key.callset_id)
            stores = connection.execute(sa.select(loads.c.store).where(mine).distinct()).scalars().all()
            connection.execute(sa.update(loads).where(mine).values(state="dead"))
            for store in stores:
                raise_store_version(connection, store, key.tenant)
            asked = schema.analyses
            connection.execute(
                sa.delete(asked).where(asked.c.tenant == key.tenant, asked.c.callset_id == key.callset_id)
            )
            connection.execute(
                sa.delete(queue).where(queue.c.tenant == key.tenant, queue.c.callset_id == key.callset_id)
            )
        return found.generation + 1

    def _mark(self, key: PartitionKey, generation: int, **values: Any) -> None:
        table = schema.callsets
        with self.database.writing() as connection:
            changed = connection.execute(
                sa.update(table)
                .where(
                    table.c.tenant == key.tenant,
                    table.c.callset_id == key.callset_id,
                    table.c.generation == generation,
                    table.c.state != "forgotten",
                )
                .values(updated_at=self.database.now(connection), **values)
            )
            if changed.rowcount != 1:
                raise Superseded(
                    where=f"callset {key}",
                    expected=f"generation {generation}",
                    got="a newer one, or none",
                    repair="The callset was forgotten or published anew meanwhile; `callsets show` says how it stands.",
                )


def get(connection: sa.Connection, key: PartitionKey) -> Callset | None:
    """The callset, within the caller's transaction."""
    table = schema.callsets
    row = connection.execute(
        sa.select(table).where(table.c.tenant == key.tenant, table.c.callset_id == key.callset_id)
    ).one_or_none()
    return None if row is None else from_row(row)


def update(connection: sa.Connection, key: PartitionKey, **values: Any) -> None:
    table = schema.callsets
    connection.execute(
        sa.update(table).where(table.c.tenant == key.tenant, table.c.callset_id == key.callset_id).values(**values)
    )


def raise_store_version(connection: sa.Connection, store: str, tenant: str) -> int:
    """The tenant's next version of a store: what tells a reader that its list of hidden loads is old."""
    table = schema.store_versions
    mine = (table.c.store == store) & (table.c.tenant == tenant)
    version = (connection.execute(sa.select(table.c.version).where(mine)).scalar_one_or_none() or 0) + 1
    if version == 1:
        connection.execute(sa.insert(table).values(store=store, tenant=tenant, version=1))
    else:
        connection.execute(sa.update(table).where(mine).values(version=version))
    return version
