"""Which broker the next batch goes to: health-scored, by preference, with calm on the way back.

Pure: values and the caller's seconds. A broker that fails is left with the very next batch. It is taken again, where
it is preferred to the one in use, once it has been well for `failback_after_s` and its score is high again: a broker
that flaps scores low for longer. Not here: finding out how a broker is (coordinator.py, guard.py); the spool, which is
what `choose` answering None means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from vcf_pipeline.domain.breaker import Breaker, Pauses, State

FALL = 0.3
"""A failure leaves this share of the score."""
RISE = 0.25
"""A success closes this share of the gap to 1."""
FIT_SCORE = 0.8
"""From here on a broker may be gone back to: five successes after one failure."""
ENOUGH_SCORE = 0.5
"""What is asked of the one that is gone to in need, while another has it."""


@dataclass(frozen=True)
class Standing:
    """How one broker is. score: 0 to 1. well_since: since when nothing failed; contact: the last answer of any kind.

    latency_ms: of its last success. reason: of its last failure, until it is well again.
    """

    name: str
    breaker: Breaker = field(default_factory=Breaker)
    score: float = 1.0
    well_since: float = float("-inf")
    contact: float = float("-inf")
    latency_ms: float = 0.0
    reason: str = ""

    @property
    def is_usable(self) -> bool:
        return self.breaker.state is State.CLOSED


@dataclass(frozen=True)
class Rules:
    """failback_after_s: how long a broker is well before it is gone back to. look_every_s: how often one is probed
    that is preferred to the one in use.
    """

    failback_after_s: float = 5.0
    look_every_s: float = 1.0
    pauses: Pauses = field(default_factory=Pauses)


@dataclass(frozen=True)
class Routing:
    """standings: in order of preference. current: in use, None before the first choice and while none is usable."""

    standings: tuple[Standing, ...]
    current: str | None = None
    rules: Rules = field(default_factory=Rules)

    @classmethod
    def over(cls, names: Sequence[str], rules: Rules | None = None) -> Routing:
        rules = rules or Rules()
        return cls(tuple(Standing(name, Breaker(pauses=rules.pauses)) for name in names), None, rules)

    def choose(self, now: float) -> Routing:
        """Its `current` is where the next batch goes; None: no broker is left."""
        usable = [standing for standing in self.standings if standing.is_usable]
        if not usable:
            return replace(self, current=None)
        names = [standing.name for standing in usable]
        if self.current not in names:
            return replace(self, current=_in_need(usable).name)
        for standing in usable:
            if standing.name == self.current:
                break
            if standing.score >= FIT_SCORE and now - standing.well_since >= self.rules.failback_after_s:
                return replace(self, current=standing.name)
        return self

    def failed(self, name: str, now: float, reason: str) -> Routing:
        def worse(standing: Standing) -> Standing:
            return replace(
                standing,
                breaker=standing.breaker.failed(now),
                score=standing.score * FALL,
                well_since=float("inf"),
                contact=now,
                reason=reason,
            )

        return self._changed(name, worse)

    def succeeded(self, name: str, now: float, latency_ms: float) -> Routing:
        def better(standing: Standing) -> Standing:
            return replace(
                standing,
                breaker=standing.breaker.succeeded(),
                score=standing.score + (1.0 - standing.score) * RISE,
                well_since=min(standing.well_since, now),
                contact=now,
                latency_ms=latency_ms,
                reason="",
            )

        return self._changed(name, better)

    def probes(self, now: float) -> tuple[Routing, list[str]]:
        """Whom to ask now how it is: each named once, those that rest when their pause is over."""
        asked: list[Standing] = []
        is_preferred = True
        for standing in self.standings:
            is_preferred = is_preferred and standing.name != self.current
            half_open = standing.breaker.probed(now)
            if half_open is not None:
                asked.append(replace(standing, breaker=half_open))
            elif standing.is_usable and is_preferred and now - standing.contact >= self.rules.look_every_s:
                asked.append(replace(standing, contact=now))
        now_asked = {standing.name: standing for standing in asked}
        standings = tuple(now_asked.get(standing.name, standing) for standing in self.standings)
        return replace(self, standings=standings), list(now_asked)

    @property
    def is_settled(self) -> bool:
        """The first choice is in use and nobody rests: there is nothing to find out."""
        return self.current in (None, self.standings[0].name) and all(one.is_usable for one in self.standings)

    def standing(self, name: str) -> Standing:
        return next(standing for standing in self.standings if standing.name == name)

    def _changed(self, name: str, change: Callable[[Standing], Standing]) -> Routing:
        return replace(self, standings=tuple(change(one) if one.name == name else one for one in self.standings))


def _in_need(usable: Sequence[Standing]) -> Standing:
    """The most preferred that is fit enough; where none is, the best scored."""
    fit = [standing for standing in usable if standing.score >= ENOUGH_SCORE]
    return fit[0] if fit else max(usable, key=lambda standing: standing.score)
