"""Calls to providers: reserved before they leave, settled when they end, and what each tenant's day has cost.

Whole micro-USD. A row of ai_days is the sum of its day's calls, kept in the same transaction. Not here: whether a call
may be made (domain/annotation/spending.py); answers (answers.py); the transaction (books.py).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.answers import read_answers
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.annotation.spending import (
    Bought,
    Entry,
    Grant,
    Look,
    Reserve,
    Settle,
    Standing,
    Told,
    Wanted,
    decide,
)

_GONE_FOR_S = 0.5
_TABLE, _BY_DAY = schema.ai_calls, schema.ai_days
_OF_A_CALL = (
    *("call_id", "tenant", "day", "subject", "provider", "state", "reserved_microusd", "owner", "holder"),
    "expires_at",
)
# Statements are made once: making one costs as much as running it.
_OPEN_CALLS = sa.select(*(_TABLE.c[name] for name in _OF_A_CALL)).where(_TABLE.c.state == "open")
_UNKNOWN_CALL = sa.select(*(_TABLE.c[name] for name in _OF_A_CALL)).where(
    _TABLE.c.call_id == sa.bindparam("the_call"), _TABLE.c.state == "unknown"
)
_CALLS_SINCE = (
    sa.select(sa.func.count())
    .select_from(_TABLE)
    .where(_TABLE.c.provider == sa.bindparam("the_provider"), _TABLE.c.started_at > sa.bindparam("since"))
)
_NEW_CALLS = sa.insert(_TABLE)
_ENDINGS = ("state", "outcome", "cost_microusd", "input_tokens", "output_tokens", "latency_ms", "ended_at")
_ENDED_CALLS = (
    sa.update(_TABLE)
    .where(_TABLE.c.call_id == sa.bindparam("the_call"))
    .values({name: sa.bindparam(name) for name in _ENDINGS})
)
_DAYS = sa.select(_BY_DAY).where(
    _BY_DAY.c.tenant.in_(sa.bindparam("tenants", expanding=True)),
    _BY_DAY.c.day.in_(sa.bindparam("days", expanding=True)),
)
_NEW_DAY = sa.insert(_BY_DAY).values(
    tenant=sa.bindparam("the_tenant"),
    day=sa.bindparam("the_day"),
    gone_microusd=sa.bindparam("gone"),
    open_microusd=sa.bindparam("open"),
)
_CHANGED_DAY = (
    sa.update(_BY_DAY)
    .where(_BY_DAY.c.tenant == sa.bindparam("the_tenant"), _BY_DAY.c.day == sa.bindparam("the_day"))
    .values(gone_microusd=sa.bindparam("gone"), open_microusd=sa.bindparam("open"))
)
_LOCK = sa.text("SELECT pg_advisory_xact_lock(7205759403792793)")


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
            now = self.database.now(connection)
            calls = Reservations(connection, "", "", Gone(), now)
            calls.read([])
            calls.write()
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
        return sum(self._today(tenant))

    def gone_today(self, tenant: str) -> int:
        """Micro-USD of the tenant's day that do not come back, whatever becomes of the calls under way."""
        return self._today(tenant)[0]

    def _today(self, tenant: str) -> tuple[int, int]:
        table = schema.ai_days
        with self.database.reading() as connection:
            day = _day(self.database.now(connection))
            row = connection.execute(sa.select(table).where(table.c.tenant == tenant, table.c.day == day)).one_or_none()
        return (0, 0) if row is None else (int(row.gone_microusd), int(row.open_microusd))


class Reservations:
    """Calls within one transaction: read at once, decided in order, written at once.

    An open call is also the claim on its subject: while it is open, no other owner is granted one about it.
    """

    def __init__(self, connection: sa.Connection, owner: str, me: str, gone: Gone, now: float) -> None:
        self._connection, self._owner, self._me, self._now = connection, owner, me, now
        self._day = _day(now)
        self._days: dict[tuple[str, str], list[int]] = {}
        self._known_days: set[tuple[str, str]] = set()
        self._changed_days: set[tuple[str, str]] = set()
        self._bought: dict[tuple[str, str, str], list[Bought]] = {}
        self._minute: dict[str, int] = {}
        self._new: list[dict[str, Any]] = []
        self._ended: list[dict[str, Any]] = []
        rows = connection.execute(_OPEN_CALLS).all()
        self._open = {row.call_id: row for row in rows}
        self._lost = [row for row in rows if row.expires_at < now or gone.is_gone(row.holder)]
        self._at_a_time = Counter(row.provider for row in rows)
        self._askers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for row in rows:
            self._askers[row.tenant, row.subject][row.owner] += 1

    def read(self, entries: Sequence[Entry]) -> None:
        """What is in the books of all that these entries are about. Calls of processes that are gone end here."""
        reserves = [one for one in entries if isinstance(one, Reserve)]
        self._read_answers(one.wanted for one in entries if isinstance(one, Reserve | Look) and one.wanted is not None)
        ended = [self._call(one.call_id) for one in entries if isinstance(one, Settle)]
        days = {(row.tenant, row.day) for row in (*ended, *self._lost) if row is not None}
        self._read_days(days | {(one.tenant, self._day) for one in reserves})
        for provider in {one.provider for one in reserves if one.bounds.calls_a_minute}:
            minute = {"the_provider": provider, "since": self._now - 60}
            self._minute[provider] = int(self._connection.execute(_CALLS_SINCE, minute).scalar_one())
        for row in self._lost:
            self.settle(Settle(row.call_id, "unknown", "process gone"))

    def _read_answers(self, wanted: Iterable[Wanted]) -> None:
        subjects: dict[tuple[str, str], set[str]] = {}
        for one in wanted:
            subjects.setdefault((one.tenant, one.prompt_version), set()).add(one.subject)
        for (tenant, version), about in subjects.items():
            for bought in read_answers(self._connection, tenant, sorted(about), version):
                self.note(bought)

    def _read_days(self, keys: set[tuple[str, str]]) -> None:
        self._days = {key: [0, 0] for key in keys}
        if not keys:
            return
        named = {"tenants": sorted({key[0] for key in keys}), "days": sorted({key[1] for key in keys})}
        for row in self._connection.execute(_DAYS, named):
            if (row.tenant, row.day) in keys:
                self._days[row.tenant, row.day] = [row.gone_microusd, row.open_microusd]
                self._known_days.add((row.tenant, row.day))

    def _call(self, call_id: str) -> Any:
        """An open call, or one that was given up as unknown; None when its end is known."""
        if call_id not in self._open:
            row = self._connection.execute(_UNKNOWN_CALL, {"the_call": call_id}).one_or_none()
            if row is None:
                return None
            self._open[call_id] = row
        return self._open[call_id]

    def note(self, bought: Bought) -> None:
        """An answer that is there, or will be when this transaction is over."""
        self._bought.setdefault((bought.tenant, bought.subject, bought.prompt_version), []).append(bought)

    def look(self, wanted: Wanted) -> Told:
        """What is there, and whether another owner is asking."""
        found = {
            (one.provider, one.model): one
            for one in self._bought.get((wanted.tenant, wanted.subject, wanted.prompt_version), [])
        }
        bought = tuple(found[model] for model in wanted.models if model in found)
        if len(bought) >= wanted.answers:
            return Told(Grant.BOUGHT, bought)
        askers = self._askers[wanted.tenant, wanted.subject]
        is_taken = any(calls for owner, calls in askers.items() if owner != self._owner)
        return Told(Grant.TAKEN if is_taken else Grant.FREE, bought)

    def settle(self, settle: Settle) -> None:
        """Once: a call whose end is known stays as it is. One that was given up as unknown may still say its cost."""
        row = self._open.pop(settle.call_id, None)
        if row is None:
            return
        day = self._days[row.tenant, row.day]
        if row.state == "open":
            day[1] -= row.reserved_microusd
            self._at_a_time[row.provider] -= 1
            self._askers[row.tenant, row.subject][row.owner] -= 1
        else:
            day[0] -= row.reserved_microusd
        day[0] += {"settled": settle.cost_microusd, "unknown": row.reserved_microusd, "free": 0}[settle.ending]
        self._changed_days.add((row.tenant, row.day))
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

    def reserve(self, asked: Reserve) -> Told:
        seen = self.look(asked.wanted) if asked.wanted is not None else Told(Grant.FREE)
        if seen.grant is not Grant.FREE:
            return seen
        tenant, subject, provider = asked.tenant, asked.subject, asked.provider
        gone, opened = self._days[tenant, self._day]
        grant = decide(asked, Standing(gone, opened, self._at_a_time[provider], self._minute.get(provider, 0)))
        if grant is not Grant.GRANTED:
            return Told(grant, seen.bought)
        self._days[tenant, self._day][1] += asked.worst_microusd
        self._changed_days.add((tenant, self._day))
        self._at_a_time[provider] += 1
        self._minute[provider] = self._minute.get(provider, 0) + 1
        self._askers[tenant, subject][self._owner] += 1
        self._new.append(
            {
                "call_id": asked.call_id,
                "tenant": tenant,
                "day": self._day,
                "callset_id": asked.callset_id,
                "subject": subject,
                "provider": provider,
                "model": asked.model,
                "state": "open",
                "outcome": "",
                "reserved_microusd": asked.worst_microusd,
                "cost_microusd": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "latency_ms": 0,
                "owner": self._owner,
                "holder": self._me,
                "started_at": self._now,
                "expires_at": self._now + asked.seconds,
                "ended_at": None,
            }
        )
        return Told(grant, seen.bought)

    def write(self) -> None:
        if self._new:
            self._connection.execute(_NEW_CALLS, self._new)
        if self._ended:
            self._connection.execute(_ENDED_CALLS, self._ended)
        for key in self._changed_days:
            values = {"gone": self._days[key][0], "open": self._days[key][1], "the_tenant": key[0], "the_day": key[1]}
            self._connection.execute(_CHANGED_DAY if key in self._known_days else _NEW_DAY, values)


class Gone:
    """Which holders are surely gone, asked of the system twice a second at most. The gone stay gone."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, bool]] = {}

    def is_gone(self, holder: str) -> bool:
        now = time.monotonic()
        asked_at, is_gone = self._known.get(holder, (-1.0, False))
        if is_gone or now - asked_at < _GONE_FOR_S:
            return is_gone
        is_gone = Holder.from_text(holder).is_surely_gone()
        self._known[holder] = (now, is_gone)
        return is_gone


def _usage(row: Mapping[Any, Any]) -> Usage:
    # Postgres sums integers as decimals
    values: dict[str, Any] = {name: value if isinstance(value, str) else int(value) for name, value in row.items()}
    usage = Usage(**values)
    return replace(usage, latency_ms=round(usage.latency_ms / usage.settled) if usage.settled else 0)


def lock(connection: sa.Connection) -> None:
    """One writer of the books at a time; SQLite's transactions are so from their start."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)


def _day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
