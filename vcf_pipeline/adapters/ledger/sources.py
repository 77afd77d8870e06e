"""Registered sources: which version of each is current, where its rows lie, how it was read.

Not here: the rows (adapters/sources.py), reading a file into them (stages/sources.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.domain.errors import UnknownSource


@dataclass(frozen=True)
class Source:
    """A row of the ledger. kind, preset: as domain/triage/presets.py names them. version: 32 hex digits of its bytes
    and of the settings that change its rows. uri: the file it was read from. settings: fields, fasta, and what was
    noticed. path: of its folder, below DATA. created_at, updated_at: seconds since 1970, by the ledger's clock.
    """

    tenant: str
    name: str
    kind: str
    preset: str
    assembly: str
    version: str
    uri: str
    path: str
    rows: int
    settings: dict[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def fields(self) -> tuple[str, ...]:
        """What was asked for beside the preset's own."""
        return tuple(self.settings.get("fields", ()))


def source_lease(tenant: str, name: str) -> str:
    """Who holds it may replace the source. The last word keeps it apart from leases of callsets."""
    return f"source/{tenant}/{name}/rows"


class Sources:
    """Part of `Ledger`."""

    database: Database

    def put_source(self, source: Source, lease: Lease) -> Source | None:
        """Make this version the current one; the one that was, or None. lease: of `source_lease`.

        Raises Superseded where the lease was lost.
        """
        table = schema.sources
        mine = (table.c.tenant == source.tenant) & (table.c.name == source.name)
        values = {
            **{
                name: getattr(source, name) for name in ("kind", "preset", "assembly", "version", "uri", "path", "rows")
            },
            "settings": json.dumps(source.settings),
        }
        with self.database.writing() as connection:
            lease.verify(connection)
            now = self.database.now(connection)
            before = connection.execute(sa.select(table).where(mine)).one_or_none()
            if before is None:
                key = {"tenant": source.tenant, "name": source.name, "created_at": now}
                connection.execute(sa.insert(table).values(**key, **values, updated_at=now))
                return None
            connection.execute(sa.update(table).where(mine).values(**values, updated_at=now))
        return _from_row(before)

    def find_source(self, tenant: str, name: str) -> Source | None:
        table = schema.sources
        mine = (table.c.tenant == tenant) & (table.c.name == name)
        with self.database.reading() as connection:
            row = connection.execute(sa.select(table).where(mine)).one_or_none()
        return None if row is None else _from_row(row)

    def source(self, tenant: str, name: str) -> Source:
        """Raises UnknownSource."""
        found = self.find_source(tenant, name)
        if found is None:
            known = ", ".join(one.name for one in self.sources(tenant))
            raise UnknownSource(
                where=f"tenant {tenant}",
                expected=f"a registered source: {known}" if known else "a registered source, of which there is none",
                got=repr(name[:60]),
                repair="`vcf-pipeline sources add NAME FILE` registers one.",
            )
        return found

    def sources(self, tenant: str) -> list[Source]:
        """By name: also the order in which their claims are heard."""
        table = schema.sources
        query = sa.select(table).where(table.c.tenant == tenant).order_by(table.c.name)
        with self.database.reading() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def drop_source(self, tenant: str, name: str, lease: Lease) -> bool:
        """False where there is none. Raises Superseded."""
        table = schema.sources
        with self.database.writing() as connection:
            lease.verify(connection)
            mine = (table.c.tenant == tenant) & (table.c.name == name)
            return connection.execute(sa.delete(table).where(mine)).rowcount == 1


def _from_row(row: sa.Row[Any]) -> Source:
    values = dict(row._mapping)
    return Source(**{**values, "settings": json.loads(values["settings"])})
