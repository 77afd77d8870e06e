"""Answers that were bought, to be found again, and the right to buy one about a subject.

Not here: what calls cost (calls.py); the transaction that both are part of (books.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.spending import Bought, Claim, Claimed, Release

_GONE_FOR_S = 0.5
_SUBJECTS_AT_A_TIME = 500


@dataclass(frozen=True)
class CacheShare:
    """Answers of one model and prompt: how many, how often used again, bytes of text, what they had cost."""

    tenant: str
    provider: str
    model: str
    prompt_version: str
    answers: int
    hits: int
    size_bytes: int
    cost_microusd: int
    last_used_at: float


class Answers:
    """Part of `Ledger`: what a person asks of the cache."""

    database: Database

    def find_answers(
        self, tenant: str, subjects: Sequence[str], models: Sequence[tuple[str, str]], prompt_version: str
    ) -> dict[str, list[Bought]]:
        """By subject, of the (provider, model) alone, in their order; subjects without one are not in it."""
        found: dict[str, list[Bought]] = {}
        with self.database.reading() as connection:
            for at in range(0, len(subjects), _SUBJECTS_AT_A_TIME):
                part = subjects[at : at + _SUBJECTS_AT_A_TIME]
                for one in read_answers(connection, tenant, part, prompt_version):
                    if (one.provider, one.model) in models:
                        found.setdefault(one.subject, []).append(one)
        for bought in found.values():
            bought.sort(key=lambda one: models.index((one.provider, one.model)))
        return found

    def cache_shares(self, tenant: str | None = None) -> list[CacheShare]:
        """By tenant and model, the most answers first; of all tenants where none is named."""
        table = schema.ai_answers
        keys = (table.c.tenant, table.c.provider, table.c.model, table.c.prompt_version)
        asked = sa.select(
            *keys,
            sa.func.count().label("answers"),
            sa.func.sum(table.c.hits).label("hits"),
            sa.func.sum(sa.func.length(table.c.answer)).label("size_bytes"),
            sa.func.sum(table.c.cost_microusd).label("cost_microusd"),
            sa.func.max(table.c.used_at).label("last_used_at"),
        ).group_by(*keys)
        if tenant is not None:
            asked = asked.where(table.c.tenant == tenant)
        with self.database.reading() as connection:
            rows = [CacheShare(**_whole(row)) for row in connection.execute(asked)]
        return sorted(rows, key=lambda row: -row.answers)

    def clear_answers(
        self, tenant: str | None = None, *, model: str | None = None, older_than_s: float | None = None
    ) -> int:
        """Forget answers; how many. older_than_s: those that nobody has used for so long alone."""
        table = schema.ai_answers
        gone = sa.delete(table)
        if tenant is not None:
            gone = gone.where(table.c.tenant == tenant)
        if model is not None:
            gone = gone.where(table.c.model == model)
        with self.database.writing() as connection:
            if older_than_s is not None:
                gone = gone.where(table.c.used_at < self.database.now(connection) - older_than_s)
            return connection.execute(gone).rowcount


def _whole(row: sa.Row[Any]) -> dict[str, Any]:
    # Postgres sums integers as decimals
    return {name: int(value) if name in _SUMS else value for name, value in row._mapping.items()}


_SUMS = {"answers", "hits", "size_bytes", "cost_microusd"}


def read_answers(connection: sa.Connection, tenant: str, subjects: Sequence[str], prompt_version: str) -> list[Bought]:
    table = schema.ai_answers
    rows = connection.execute(
        sa.select(table).where(
            table.c.tenant == tenant, table.c.prompt_version == prompt_version, table.c.subject.in_(subjects)
        )
    )
    return [_bought(row) for row in rows]


def store_answers(connection: sa.Connection, bought: Sequence[Bought], now: float) -> None:
    """A second one of the same subject, model and prompt takes the place of the first."""
    if not bought:
        return
    table = schema.ai_answers
    rows = {
        (one.tenant, one.subject, one.model, one.prompt_version): {
            "tenant": one.tenant,
            "subject": one.subject,
            "model": one.model,
            "prompt_version": one.prompt_version,
            "provider": one.provider,
            "answer": _to_text(one.answer),
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
            "cost_microusd": one.cost_microusd,
            "latency_ms": one.latency_ms,
            "hits": 0,
            "created_at": now,
            "used_at": now,
        }
        for one in bought
    }
    names = ("tenant", "subject", "model", "prompt_version")
    mine = sa.and_(*(table.c[name] == sa.bindparam(f"the_{name}") for name in names))
    connection.execute(
        sa.delete(table).where(mine), [{f"the_{name}": row[name] for name in names} for row in rows.values()]
    )
    connection.execute(sa.insert(table), list(rows.values()))


def add_hits(connection: sa.Connection, found: dict[tuple[str, str, str, str], int], now: float) -> None:
    """found: uses by (tenant, subject, model, prompt_version)."""
    if not found:
        return
    table = schema.ai_answers
    names = ("tenant", "subject", "model", "prompt_version")
    connection.execute(
        sa.update(table)
        .where(sa.and_(*(table.c[name] == sa.bindparam(f"the_{name}") for name in names)))
        .values(hits=table.c.hits + sa.bindparam("more"), used_at=now),
        [{**{f"the_{name}": key[at] for at, name in enumerate(names)}, "more": more} for key, more in found.items()],
    )


class Claims:
    """Claims within one transaction: read at once, decided in order, written at once."""

    def __init__(self, connection: sa.Connection, owner: str, me: Holder, gone: Gone, now: float) -> None:
        self._connection, self._owner, self._me, self._gone, self._now = connection, owner, me, gone, now
        self._held: dict[tuple[str, str], tuple[str, str, float]] = {}
        self._bought: dict[tuple[str, str, str], list[Bought]] = {}
        self._before: set[tuple[str, str]] = set()
        self._changed: set[tuple[str, str]] = set()

    def read(self, claims: Sequence[Claim], releases: Iterable[Release]) -> None:
        table = schema.ai_claims
        wanted: dict[str, set[str]] = {}
        named = [(one.tenant, one.subject) for one in claims] + [(one.tenant, one.subject) for one in releases]
        for tenant, subject in named:
            wanted.setdefault(tenant, set()).add(subject)
        for tenant, subjects in wanted.items():
            rows = self._connection.execute(
                sa.select(table).where(table.c.tenant == tenant, table.c.subject.in_(subjects))
            )
            for row in rows:
                self._held[tenant, row.subject] = (row.owner, row.holder, row.expires_at)
                self._before.add((tenant, row.subject))
        asked: dict[tuple[str, str], set[str]] = {}
        for claim in claims:
            asked.setdefault((claim.tenant, claim.prompt_version), set()).add(claim.subject)
        for (tenant, prompt_version), subjects in asked.items():
            for one in read_answers(self._connection, tenant, sorted(subjects), prompt_version):
                self.note(one)

    def note(self, bought: Bought) -> None:
        """An answer that is there, or will be when this transaction is over."""
        self._bought.setdefault((bought.tenant, bought.subject, bought.prompt_version), []).append(bought)

    def claim(self, claim: Claim) -> Claimed:
        key = (claim.tenant, claim.subject)
        found = {
            (one.provider, one.model): one
            for one in self._bought.get((*key, claim.prompt_version), [])
            if (one.provider, one.model) in claim.models
        }
        bought = tuple(found[model] for model in claim.models if model in found)
        if len(bought) >= claim.wanted:
            return Claimed(False, bought)
        held = self._held.get(key)
        if held is not None and not self.is_mine(claim) and held[2] >= self._now and not self._gone.is_gone(held[1]):
            return Claimed(False)
        self._held[key] = (self._owner, self._me.to_text(), self._now + claim.seconds)
        self._changed.add(key)
        return Claimed(True, bought)

    def is_mine(self, claim: Claim) -> bool:
        held = self._held.get((claim.tenant, claim.subject))
        return held is not None and held[0] == self._owner

    def release(self, release: Release) -> None:
        key = (release.tenant, release.subject)
        if key in self._held and self._held[key][0] == self._owner:
            del self._held[key]
            self._changed.add(key)

    def write(self) -> None:
        table = schema.ai_claims
        # one that was taken and given back within this transaction was never there
        self._changed = {key for key in self._changed if key in self._held or key in self._before}
        old = [{"the_tenant": key[0], "the_subject": key[1]} for key in self._changed & self._before]
        if old:
            mine = (table.c.tenant == sa.bindparam("the_tenant")) & (table.c.subject == sa.bindparam("the_subject"))
            self._connection.execute(sa.delete(table).where(mine), old)
        new = [
            {
                "tenant": key[0],
                "subject": key[1],
                "owner": self._held[key][0],
                "holder": self._held[key][1],
                "claimed_at": self._now,
                "expires_at": self._held[key][2],
            }
            for key in self._changed
            if key in self._held
        ]
        if new:
            self._connection.execute(sa.insert(table), new)


def give_back_claims(connection: sa.Connection, owner: str) -> None:
    table = schema.ai_claims
    connection.execute(sa.delete(table).where(table.c.owner == owner))


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


def _bought(row: sa.Row[Any]) -> Bought:
    said = json.loads(row.answer)
    return Bought(
        tenant=row.tenant,
        subject=row.subject,
        provider=row.provider,
        model=row.model,
        prompt_version=row.prompt_version,
        answer=Answer(said["summary"], tuple(said["cited"]), said["reading"]),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_microusd=row.cost_microusd,
        latency_ms=row.latency_ms,
    )


def _to_text(answer: Answer) -> str:
    return json.dumps({"summary": answer.summary, "cited": answer.cited, "reading": answer.reading})
