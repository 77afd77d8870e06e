"""What is known of a run, and of one brief in it: values that the router changes as it goes.

Not here: what it does with them (router.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from vcf_pipeline.adapters.providers.attempts import Attempt, Member
from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.domain.annotation.consensus import Arrival, Gathering
from vcf_pipeline.domain.annotation.explained import Explained, Given, Rejected
from vcf_pipeline.domain.annotation.provider_choice import Balance
from vcf_pipeline.domain.annotation.spending import Bought


@dataclass(frozen=True)
class Options:
    """How providers are asked; see AiSettings. names: in order of preference, `rules` at its place."""

    names: tuple[str, ...]
    balance: Balance = "preference"
    attempt_timeout_s: float = 10.0
    deadline_s: float = 60.0
    hedge_after_s: float = 0.0
    consensus: int = 1
    fallback_to_rules: bool = True
    budget_microusd: int = 5_000_000


@dataclass
class Run:
    """One callset's briefs being explained. allowed: providers that may see the tenant's facts, in order.

    thirsty: how many of each tier wait for room in the budget, which higher tiers leave to them.
    """

    tenant: str
    callset_id: str
    correlation_id: str
    allowed: tuple[str, ...]
    emit: Callable[[Explained], Awaitable[None]]
    is_stopping: bool = False
    error: BaseException | None = None
    waiting: list[tuple[int, int, Task, Sequence[Bought]]] = field(default_factory=list)
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_read: bool = False
    thirsty: Counter[int] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def stop(self) -> None:
        """No new attempt; what is under way is waited for."""
        self.is_stopping = True


@dataclass
class Gathered:
    """What has come of one brief so far. ends_at: of its deadline, from its first attempt on; 0 before."""

    gathering: Gathering
    tier: int
    running: dict[asyncio.Future[Attempt], Member] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    tries: dict[str, int] = field(default_factory=dict)
    ends_at: float = 0.0
    is_hedging: bool = False
    is_thirsty: bool = False
    calls: int = 0
    cost_microusd: int = 0
    reason: str = ""
    rejected: dict[str, Rejected] = field(default_factory=dict)

    def begin(self, now: float, deadline_s: float) -> float:
        """Seconds that are left; the clock starts with the first attempt."""
        self.ends_at = self.ends_at or now + deadline_s
        return max(self.ends_at - now, 0.0)

    def last_moment(self, now: float, deadline_s: float) -> float:
        return self.ends_at or now + deadline_s

    def thirst(self, run: Run, is_thirsty: bool) -> None:
        """Whether it waits for room in the budget."""
        run.thirsty[self.tier] += is_thirsty - self.is_thirsty
        self.is_thirsty = is_thirsty

    def add(self, member: Member, attempt: Attempt) -> None:
        self.calls += attempt.calls
        self.cost_microusd += attempt.cost_microusd
        if attempt.reason and self.reason != "BAD_ANSWER":
            self.reason = attempt.reason
        if attempt.ended == "answered":
            self.rejected.pop(member.name, None)
        elif attempt.problems:
            text = attempt.text or "(an empty answer)"
            self.rejected[member.name] = Rejected(*member.model, text, attempt.problems)

    def take(self, correlation_id: str, subject: str, given: Given) -> bool:
        """Whether it is one more answer."""
        self.gathering, arrival = self.gathering.with_answer(correlation_id, subject, given)
        return arrival is Arrival.TAKEN
