"""Calls to providers: reserved before they leave, settled when they end, and what each tenant's day has cost.

Whole micro-USD. A row of ai_days is the sum of its day's calls, kept in the same transaction. Not here: whether a call
may be made (domain/annotation/spending.py); answers (answers.py); the transaction (books.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.answers import Gone
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.annotation.spending import Grant, Reserve, Settle, Standing, decide

_REAPED_EVERY_S = 1.0


@dataclass(frozen=True)
class Usage:
    """Calls of a tenant, day and model. unknown_microusd: reserved for calls of which nobody knows what they cost.

    settled, unknown, free, open: how many calls ended so, or are under way.
    """

    tenant: str
    day: str
    provider: str
    model: str
    calls: int
    settled: int
    unknown: int
    free: int
    open: int
    input_tokens: int
    output_tokens: int
    cost_microusd: int
    unknown_microusd: int
    latency_ms: int


class Calls:
    """Part of `Ledger`: what a person asks of the books."""

    database: Database

    def usage(self, tenant: str | None = None, *, since: str | None = None, until: str | None = None) -> list[Usage]:
        """By tenant, day (UTC, ISO) and model, the newest day first. since, until: days, both included.

        Calls of processes that are gone are counted as unknown first. latency_ms: mean of the settled.
        """
        with self.database.writing() as connection:
            lock(connection)
            reap(connection, Gone(), self.database.now(connection))
        table = schema.ai_calls
        keys = (table.c.tenant, table.c.day, table.c.provider, table.c.model)

        def counted(state: str, value: Any = 1) -> Any:
            return sa.func.sum(sa.case((table.c.state == state, value), else_=0))

        asked = sa.select(
            *keys,
            sa.func.count().label("calls"),
            *(counted(state).label(state) for state in ("settled", "unknown", "free", "open")),
            sa.func.sum(table.c.input_tokens).label("input_tokens"),
            sa.func.sum(table.c.output_tokens).label("output_tokens"),
            counted("settled", table.c.cost_microusd).label("cost_microusd"),
            counted("unknown", table.c.reserved_microusd).label("unknown_microusd"),
            counted("settled", table.c.latency_ms).label("latency_ms"),
        ).group_by(*keys)
        if tenant is not None:
            asked = asked.where(table.c.tenant == tenant)
        if since is not None:
            asked = asked.where(table.c.day >= since)
        if until is not None:
            asked = asked.where(table.c.day <= until)
        with self.database.reading() as connection:
            rows = [_usage(row._mapping) for row in connection.execute(asked)]
        rows.sort(key=lambda row: (row.tenant, row.provider, row.model))
        return sorted(rows, key=lambda row: row.day, reverse=True)

    def spent_today(self, tenant: str) -> int:
        """Micro-USD of the tenant's day that are gone or reserved."""
        table = schema.ai_days
        with self.database.reading() as connection:
            day = _day(self.database.now(connection))
            row = connection.execute(sa.select(table).where(table.c.tenant == tenant, table.c.day == day)).one_or_none()
        return 0 if row is None else int(row.gone_microusd + row.open_microusd)


class Reservations:
    """Calls within one transaction: read at once, decided in order, written at once."""

    def __init__(self, connection: sa.Connection, me: Holder, gone: Gone, reaped_at: list[float], now: float) -> None:
        self._connection, self._me, self._gone, self._now = connection, me, gone, now
        self._reaped_at = reaped_at
        self._day = _day(now)
        self._ids: list[str] = []
        self._tenants: set[str] = set()
        self._providers: set[str] = set()
        self._counted: set[str] = set()
        self._calls: dict[str, Any] = {}
        self._days: dict[tuple[str, str], list[int]] = {}
        self._changed_days: set[tuple[str, str]] = set()
        self._known_days: set[tuple[str, str]] = set()
        self._open: dict[str, int] = {}
        self._minute: dict[str, int] = {}
        self._new: list[dict[str, Any]] = []
        self._ended: list[dict[str, Any]] = []

    def read(self, reserves: Sequence[Reserve], settles: Iterable[Settle]) -> None:
        if not self._reaped_at:
            # what a process before this one left behind
            self._reap()
        self._ids = [settle.call_id for settle in settles]
        self._tenants = {one.tenant for one in reserves}
        self._providers = {one.provider for one in reserves}
        self._counted = {one.provider for one in reserves if one.bounds.calls_a_minute}
        self._read()

    def _read(self) -> None:
        """What is in the books now of all that this transaction is about."""
        table, days = schema.ai_calls, schema.ai_days
        self._calls, self._days = {}, {}
        if self._ids:
            asked = sa.select(
                *(table.c[name] for name in ("call_id", "tenant", "day", "provider", "state", "reserved_microusd"))
            )
            rows = self._connection.execute(asked.where(table.c.call_id.in_(self._ids)))
            self._calls = {row.call_id: row for row in rows}
        keys = {(row.tenant, row.day) for row in self._calls.values()} | {(one, self._day) for one in self._tenants}
        for tenant, day in keys:
            known = self._connection.execute(
                sa.select(days).where(days.c.tenant == tenant, days.c.day == day)
            ).one_or_none()
            if known is not None:
                self._known_days.add((tenant, day))
            self._days[tenant, day] = [known.gone_microusd, known.open_microusd] if known is not None else [0, 0]
        for provider in self._providers:
            count = sa.select(sa.func.count()).select_from(table).where(table.c.provider == provider)
            self._open[provider] = int(self._connection.execute(count.where(table.c.state == "open")).scalar_one())
            if provider in self._counted:
                recent = count.where(table.c.started_at > self._now - 60)
                self._minute[provider] = int(self._connection.execute(recent).scalar_one())

    def settle(self, settle: Settle) -> None:
        """Once: a call that is settled stays as it is. One that was given up as unknown may still say its cost."""
        row = self._calls.get(settle.call_id)
        if row is None or row.state in ("settled", "free"):
            return
        day = self._days[row.tenant, row.day]
        was_open = row.state == "open"
        if was_open:
            day[1] -= row.reserved_microusd
            if row.provider in self._open:
                self._open[row.provider] -= 1
        else:
            day[0] -= row.reserved_microusd
        day[0] += {"settled": settle.cost_microusd, "unknown": row.reserved_microusd, "free": 0}[settle.ending]
        self._changed_days.add((row.tenant, row.day))
        del self._calls[settle.call_id]
        self._ended.append(
            {
                "the_call": settle.call_id,
                "state": settle.ending,
                "outcome": settle.outcome[:40],
                "cost_microusd": settle.cost_microusd if settle.ending == "settled" else 0,
                "input_tokens": settle.input_tokens,
                "output_tokens": settle.output_tokens,
                "latency_ms": settle.latency_ms,
                "ended_at": self._now,
            }
        )

    def reserve(self, asked: Reserve) -> Grant:
        grant = self._decide(asked)
        if grant in (Grant.FULL, Grant.BUSY) and self._may_reap():
            # perhaps it is a dead process that holds what is missing
            self.write()
            self._reap()
            self._read()
            grant = self._decide(asked)
        if grant is not Grant.GRANTED:
            return grant
        self._days[asked.tenant, self._day][1] += asked.worst_microusd
        self._changed_days.add((asked.tenant, self._day))
        self._open[asked.provider] += 1
        if asked.provider in self._minute:
            self._minute[asked.provider] += 1
        self._new.append(
            {
                "call_id": asked.call_id,
                "tenant": asked.tenant,
                "day": self._day,
                "callset_id": asked.callset_id,
                "subject": asked.subject,
                "provider": asked.provider,
                "model": asked.model,
                "state": "open",
                "outcome": "",
                "reserved_microusd": asked.worst_microusd,
                "cost_microusd": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "latency_ms": 0,
                "holder": self._me.to_text(),
                "started_at": self._now,
                "expires_at": self._now + asked.seconds,
                "ended_at": None,
            }
        )
        return grant

    def _decide(self, asked: Reserve) -> Grant:
        gone, opened = self._days[asked.tenant, self._day]
        standing = Standing(gone, opened, self._open.get(asked.provider, 0), self._minute.get(asked.provider, 0))
        return decide(asked, standing)

    def _may_reap(self) -> bool:
        return not self._reaped_at or time.monotonic() - self._reaped_at[0] >= _REAPED_EVERY_S

    def _reap(self) -> None:
        self._reaped_at[:] = [time.monotonic()]
        reap(self._connection, self._gone, self._now)

    def write(self) -> None:
        table = schema.ai_calls
        if self._new:
            self._connection.execute(sa.insert(table), self._new)
        if self._ended:
            names = ("state", "outcome", "cost_microusd", "input_tokens", "output_tokens", "latency_ms", "ended_at")
            self._connection.execute(
                sa.update(table)
                .where(table.c.call_id == sa.bindparam("the_call"))
                .values({name: sa.bindparam(name) for name in names}),
                self._ended,
            )
        days = schema.ai_days
        for key in self._changed_days:
            gone, opened = self._days[key]
            values = {"gone_microusd": gone, "open_microusd": opened}
            if key in self._known_days:
                self._connection.execute(
                    sa.update(days).where(days.c.tenant == key[0], days.c.day == key[1]).values(**values)
                )
            else:
                self._connection.execute(sa.insert(days).values(tenant=key[0], day=key[1], **values))
                self._known_days.add(key)
        self._new, self._ended, self._changed_days = [], [], set()


def _usage(row: Mapping[Any, Any]) -> Usage:
    # Postgres sums integers as decimals
    values: dict[str, Any] = {name: value if isinstance(value, str) else int(value) for name, value in row.items()}
    usage = Usage(**values)
    return replace(usage, latency_ms=round(usage.latency_ms / usage.settled) if usage.settled else 0)


def reap(connection: sa.Connection, gone: Gone, now: float) -> int:
    """Calls whose process is gone, or which should long be over: unknown. Their money stays reserved; how many."""
    table, days = schema.ai_calls, schema.ai_days
    rows = connection.execute(
        sa.select(
            *(table.c[name] for name in ("call_id", "tenant", "day", "reserved_microusd", "holder", "expires_at"))
        ).where(table.c.state == "open")
    ).all()
    lost = [row for row in rows if row.expires_at < now or gone.is_gone(row.holder)]
    if not lost:
        return 0
    connection.execute(
        sa.update(table)
        .where(table.c.call_id == sa.bindparam("the_call"))
        .values(state="unknown", outcome="process gone", ended_at=now),
        [{"the_call": row.call_id} for row in lost],
    )
    sums: dict[tuple[str, str], int] = {}
    for row in lost:
        sums[row.tenant, row.day] = sums.get((row.tenant, row.day), 0) + row.reserved_microusd
    for (tenant, day), reserved in sums.items():
        connection.execute(
            sa.update(days)
            .where(days.c.tenant == tenant, days.c.day == day)
            .values(gone_microusd=days.c.gone_microusd + reserved, open_microusd=days.c.open_microusd - reserved)
        )
    return len(lost)


def lock(connection: sa.Connection) -> None:
    """One writer of the books at a time; SQLite's transactions are so from their start."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7205759403792793)"))


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
