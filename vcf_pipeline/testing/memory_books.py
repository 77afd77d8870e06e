"""Books of calls in memory: every promise of the port but that they last. For one process, and for what books cost.

Not here: books that last (adapters/ledger/books.py).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence

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
    Written,
    decide,
)


class MemoryBooks:
    """Implements adapters/providers/port.Books. entries: all that was written, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.hits: Counter[str] = Counter()
        self.calls: dict[str, tuple[Reserve, str, int]] = {}
        self._bought: dict[tuple[str, str, str], dict[tuple[str, str], Bought]] = defaultdict(dict)
        self._gone: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self._open: Counter[str] = Counter()

    async def find(
        self, tenant: str, subjects: Sequence[str], models: Sequence[tuple[str, str]], prompt_version: str
    ) -> dict[str, list[Bought]]:
        found = {subject: self._of(tenant, subject, prompt_version, models) for subject in subjects}
        return {subject: bought for subject, bought in found.items() if bought}

    def write(self, *entries: Entry) -> asyncio.Future[list[Written]]:
        future: asyncio.Future[list[Written]] = asyncio.get_running_loop().create_future()
        future.set_result([self._written(entry) for entry in entries])
        return future

    def count_hits(self, found: Sequence[Bought]) -> None:
        self.hits.update(one.subject for one in found)

    async def close(self) -> None:
        return

    def spent(self, tenant: str) -> int:
        """Micro-USD that are gone or reserved."""
        return self._gone[tenant] + self._reserved[tenant]

    def _of(self, tenant: str, subject: str, prompt_version: str, models: Sequence[tuple[str, str]]) -> list[Bought]:
        found = self._bought.get((tenant, subject, prompt_version), {})
        return [found[model] for model in models if model in found]

    def _written(self, entry: Entry) -> Written:
        self.entries.append(entry)
        match entry:
            case Look():
                return self._look(entry.wanted)
            case Reserve():
                return self._reserve(entry)
            case Settle():
                self._settle(entry)
            case Bought():
                key = (entry.tenant, entry.subject, entry.prompt_version)
                self._bought[key][entry.provider, entry.model] = entry
        return None

    def _look(self, wanted: Wanted) -> Told:
        bought = tuple(self._of(wanted.tenant, wanted.subject, wanted.prompt_version, wanted.models))
        return Told(Grant.BOUGHT if len(bought) >= wanted.answers else Grant.FREE, bought)

    def _reserve(self, asked: Reserve) -> Told:
        seen = self._look(asked.wanted) if asked.wanted is not None else Told(Grant.FREE)
        tenant = asked.tenant
        if seen.grant is not Grant.FREE:
            return seen
        grant = decide(asked, Standing(self._gone[tenant], self._reserved[tenant], self._open[asked.provider]))
        if grant is Grant.GRANTED:
            self._reserved[tenant] += asked.worst_microusd
            self._open[asked.provider] += 1
            self.calls[asked.call_id] = (asked, "open", 0)
        return Told(grant, seen.bought)

    def _settle(self, settle: Settle) -> None:
        reserve, state, _ = self.calls[settle.call_id]
        if state != "open":
            return
        self._open[reserve.provider] -= 1
        self._reserved[reserve.tenant] -= reserve.worst_microusd
        cost = {"settled": settle.cost_microusd, "unknown": reserve.worst_microusd, "free": 0}[settle.ending]
        self._gone[reserve.tenant] += cost
        self.calls[settle.call_id] = (reserve, settle.ending, cost)
