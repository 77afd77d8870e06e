"""Whom to ask next: preference, turns or least load, over the providers that can be asked. Values without a clock.

Not here: asking (adapters/providers); what a breaker is (domain/breaker.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from vcf_pipeline.domain.breaker import Breaker, Pauses, State

Balance = Literal["preference", "round_robin", "least_loaded"]

PAUSES = Pauses(first_s=0.5, most_s=30.0)
TOLERATED = 3
"""Errors in a row of a provider that still answers, before it rests; one that cannot be reached rests at once."""
BAD_IN_A_ROW = 20
"""Briefs in a row whose answers, repaired too, could not be used, before a provider is asked no more in the run."""
COOLING_S = 1.0
"""After a 429 that names no time; doubled with each in a row."""
MOST_COOLING_S = 300.0
TRIES_A_PROVIDER = 3
"""Times that one provider is asked about a brief that it fails at; each is a question, and at most one repair."""
PATIENCE_S = 10.0
"""One that has failed for so long is not waited for: a brief does without, until a probe finds it back."""


@dataclass(frozen=True)
class ProviderState:
    """One provider as this process knows it, in the caller's seconds.

    cool_until: it asked to be left alone until then. open_calls: under way now. given: calls ever, for turns.
    bad_answers: in a row. unusable: why it is out for the run; "" where it is not.
    """

    name: str
    weight: int = 1
    breaker: Breaker = field(default_factory=lambda: Breaker(pauses=PAUSES))
    errors: int = 0
    failing_since: float | None = None
    cool_until: float = 0.0
    coolings: int = 0
    open_calls: int = 0
    given: int = 0
    bad_answers: int = 0
    unusable: str = ""

    def free_at(self) -> float | None:
        """When it may be asked: now or earlier, later, or None: not in this run, or not before its probe is back."""
        if self.unusable:
            return None
        if self.breaker.state is State.HALF_OPEN:
            return None
        rests_until = self.breaker.until if self.breaker.state is State.OPEN else 0.0
        return max(rests_until, self.cool_until)

    def is_free(self, now: float) -> bool:
        at = self.free_at()
        return at is not None and at <= now

    def begun(self, now: float) -> ProviderState:
        """A call has left. The first after a rest is the probe: nobody else goes until it is back."""
        breaker = self.breaker.probed(now) or self.breaker
        return replace(self, breaker=breaker, open_calls=self.open_calls + 1, given=self.given + 1)

    def ended(self) -> ProviderState:
        return replace(self, open_calls=self.open_calls - 1)

    def answered(self) -> ProviderState:
        """Anything that proves it alive and willing: an answer, good or bad, or a refusal of one question."""
        return replace(self, breaker=self.breaker.succeeded(), errors=0, failing_since=None, coolings=0)

    def answered_well(self) -> ProviderState:
        return replace(self.answered(), bad_answers=0)

    def answered_badly(self) -> ProviderState:
        """After its repair, too. Each costs money and brings nothing: after many in a row it is out."""
        bad = self.bad_answers + 1
        state = replace(self.answered(), bad_answers=bad)
        if bad < BAD_IN_A_ROW or self.unusable:
            return state
        return state.out(f"{self.name}: {bad} answers in a row could not be used (BAD_ANSWER). It is asked no more.")

    def failed(self, now: float, *, is_dead: bool) -> ProviderState:
        """is_dead: not reached, or silent until the deadline."""
        errors = self.errors + 1
        rests = is_dead or errors >= TOLERATED or self.breaker.state is State.HALF_OPEN
        breaker = self.breaker.failed(now) if rests else self.breaker
        since = now if self.failing_since is None else self.failing_since
        return replace(self, errors=errors, breaker=breaker, failing_since=since)

    def cooled(self, now: float, seconds: float | None) -> ProviderState:
        """It asks for a pause (429 or Retry-After): not a failure. A probe that got this is over."""
        wait = seconds if seconds is not None else COOLING_S * 2 ** min(self.coolings, 10)
        until = max(self.cool_until, now + min(max(wait, 0.0), MOST_COOLING_S))
        breaker = self.breaker.succeeded() if self.breaker.state is State.HALF_OPEN else self.breaker
        return replace(self, cool_until=until, coolings=self.coolings + 1, breaker=breaker)

    def paused(self, until: float) -> ProviderState:
        """Our own bound of calls a minute is reached: it is left alone for a moment, and nothing is wrong."""
        return replace(self, cool_until=max(self.cool_until, until))

    def abandoned(self) -> ProviderState:
        """A call ended by ourselves: it says nothing about the provider; a probe has to go again."""
        if self.breaker.state is not State.HALF_OPEN:
            return self
        return replace(self, breaker=replace(self.breaker, state=State.OPEN))

    def out(self, reason: str) -> ProviderState:
        return replace(self, unusable=reason)


def order(
    states: Sequence[ProviderState], balance: Balance, now: float, *, without: Collection[str] = ()
) -> list[ProviderState]:
    """Those that can be asked now, the first to be asked first. states: in order of preference.

    round_robin: turns by weight, whoever is furthest behind its share. least_loaded: fewest calls under way by weight.
    """
    usable = [state for state in states if state.name not in without and state.is_free(now)]
    if balance == "round_robin":
        return sorted(usable, key=lambda state: (state.given + 1) / state.weight)
    if balance == "least_loaded":
        return sorted(usable, key=lambda state: (state.open_calls / state.weight, state.given / state.weight))
    return usable


def next_free(states: Sequence[ProviderState], now: float, *, without: Collection[str] = ()) -> float | None:
    """When the first of those that cannot be asked now may be; None: none that is worth waiting for.

    One whose probe is under way may be free as soon as that is back: now. One that has failed for long is not waited
    for, however soon its next probe is.
    """
    times = []
    for state in states:
        if state.name in without or state.unusable:
            continue
        if state.failing_since is not None and now - state.failing_since > PATIENCE_S:
            continue
        at = state.free_at()
        times.append(now if at is None else at)
    return min(times, default=None)
