"""What is written in the books about calls, and whether one more may be made. Values and decisions; no database.

Each entry is a line that the router asks to have written; entries of one group are one transaction. Not here: where
the books lie (adapters/ledger/calls.py); what a call costs (prices.py); whom to ask (provider_choice.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from vcf_pipeline.domain.annotation.answer import Answer

Ending = Literal["settled", "unknown", "free"]
"""settled: paid, cost known. unknown: it had left, and may be billed. free: surely not billed."""


@dataclass(frozen=True)
class Bounds:
    """Of the tenant's day in micro-USD, of the provider's calls at a time and a minute, over all processes.

    budget_microusd 0: nobody may be asked, not even for nothing. calls_a_minute 0: no bound.
    """

    budget_microusd: int
    calls_at_a_time: int
    calls_a_minute: int = 0


@dataclass(frozen=True)
class Wanted:
    """Answers about a subject: so many, of (provider, model) that may be used, to this version of the question."""

    tenant: str
    subject: str
    models: tuple[tuple[str, str], ...]
    prompt_version: str
    answers: int = 1


@dataclass(frozen=True)
class Reserve:
    """May this call be made? worst_microusd: what it cannot cost more than. seconds: it is over by then.

    wanted: where given, answers that were bought by another call serve as well, and while another process asks about
    the subject the call may not be made.
    """

    call_id: str
    tenant: str
    callset_id: str
    subject: str
    provider: str
    model: str
    worst_microusd: int
    bounds: Bounds
    seconds: float
    wanted: Wanted | None = None


@dataclass(frozen=True)
class Look:
    """Is somebody else still at it, and what is there?"""

    wanted: Wanted


@dataclass(frozen=True)
class Settle:
    """How a call ended. cost_microusd: of a settled one; the others cost what was reserved, or nothing."""

    call_id: str
    ending: Ending
    outcome: str
    cost_microusd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: int = 0


@dataclass(frozen=True)
class Bought:
    """An answer that passed, to be found again by (tenant, subject, provider, model, prompt_version)."""

    tenant: str
    subject: str
    provider: str
    model: str
    prompt_version: str
    answer: Answer
    input_tokens: int
    output_tokens: int
    cost_microusd: int
    latency_ms: int


Entry = Reserve | Settle | Bought | Look


class Grant(Enum):
    """What became of a Reserve, or what a Look sees: FREE, BOUGHT or TAKEN.

    BOUGHT: the answers are there. TAKEN: another process is asking about the subject. SPENT: the budget of today has
    no room, whatever becomes of what is under way. FULL: it may have, once calls that are under way have ended. BUSY:
    as many calls at a time as there may be. RATE: as many in this minute.
    """

    GRANTED = "granted"
    FREE = "free"
    BOUGHT = "bought"
    TAKEN = "taken"
    SPENT = "spent"
    FULL = "full"
    BUSY = "busy"
    RATE = "rate"


@dataclass(frozen=True)
class Standing:
    """What a decision rests on. gone_microusd: settled and unknown of the tenant's day. open_microusd: reserved by
    calls under way. open_calls, calls_in_minute: of the provider.
    """

    gone_microusd: int = 0
    open_microusd: int = 0
    open_calls: int = 0
    calls_in_minute: int = 0


def decide(asked: Reserve, standing: Standing) -> Grant:
    """Never over the budget, to the micro-USD. A call that costs nothing passes a spent one, but a budget of 0 none."""
    bounds, worst = asked.bounds, asked.worst_microusd
    if not bounds.budget_microusd:
        return Grant.SPENT
    if worst and standing.gone_microusd + worst > bounds.budget_microusd:
        return Grant.SPENT
    if worst and standing.gone_microusd + standing.open_microusd + worst > bounds.budget_microusd:
        return Grant.FULL
    if standing.open_calls >= bounds.calls_at_a_time:
        return Grant.BUSY
    if bounds.calls_a_minute and standing.calls_in_minute >= bounds.calls_a_minute:
        return Grant.RATE
    return Grant.GRANTED


@dataclass(frozen=True)
class Told:
    """What came of a Reserve or a Look. bought: answers that are there, all that were wanted or some of them."""

    grant: Grant
    bought: tuple[Bought, ...] = ()


Written = Told | None
"""What comes back for an entry; nothing for Settle and Bought."""
