"""Answers that were bought, to be found again.

Not here: what calls cost (calls.py); the transaction that both are part of (books.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.spending import Bought

_SUBJECTS_AT_A_TIME = 500
_TABLE = schema.ai_answers
_KEY = ("tenant", "subject", "provider", "model", "prompt_version")
Key = tuple[str, str, str, str, str]
# Statements are made once: making one costs as much as running it.
_ANSWERS_ABOUT = sa.select(_TABLE).where(
    _TABLE.c.tenant == sa.bindparam("the_tenant"),
    _TABLE.c.prompt_version == sa.bindparam("the_version"),
    _TABLE.c.subject.in_(sa.bindparam("subjects", expanding=True)),
)
_ADD_HITS = (
    sa.update(_TABLE)
    .where(sa.and_(*(_TABLE.c[name] == sa.bindparam(f"the_{name}") for name in _KEY)))
    .values(hits=_TABLE.c.hits + sa.bindparam("more"), used_at=sa.bindparam("now"))
)


@cache
def _upsert(dialect: str) -> Any:
    """Made once; only the dialect in use is imported, the other costs every process a twentieth of a second."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    made = insert(_TABLE)
    replaced = {column.name: made.excluded[column.name] for column in _TABLE.c if column.name not in _KEY}
    return made.on_conflict_do_update(index_elements=list(_KEY), set_=replaced)


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
    rows = connection.execute(
        _ANSWERS_ABOUT, {"the_tenant": tenant, "the_version": prompt_version, "subjects": list(subjects)}
    )
    return [_bought(row) for row in rows]


def key_of(bought: Bought) -> Key:
    """What an answer is kept by: (tenant, subject, provider, model, prompt_version)."""
    return (bought.tenant, bought.subject, bought.provider, bought.model, bought.prompt_version)


def store_answers(connection: sa.Connection, bought: Sequence[Bought], now: float) -> None:
    """A second one of the same subject, provider, model and prompt takes the place of the first."""
    rows = {
        key_of(one): {
            **dict(zip(_KEY, key_of(one), strict=True)),
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
    if rows:
        connection.execute(_upsert(connection.dialect.name), list(rows.values()))


def add_hits(connection: sa.Connection, found: dict[Key, int], now: float) -> None:
    """found: uses of each answer."""
    if not found:
        return
    rows = [{**{f"the_{name}": key[at] for at, name in enumerate(_KEY)}, "more": more} for key, more in found.items()]
    connection.execute(_ADD_HITS, [{**row, "now": now} for row in rows])


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
