"""When a broker or provider that failed is tried again: closed, open, half-open, as values without a clock.

Closed: it is used. Open: it failed, and rests for a pause that doubles with every failure in a row. Half-open: the
pause is over and exactly one probe is on its way. Not here: which one is chosen, how one is probed (adapters).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class Pauses:
    """Seconds between a failure and the next probe: the first one, and what it doubles up to."""

    first_s: float = 0.5
    most_s: float = 5.0


PAUSES = Pauses()


@dataclass(frozen=True)
class Breaker:
    """until: open: when a probe may go, in the caller's seconds. failures: in a row."""

    state: State = State.CLOSED
    until: float = 0.0
    failures: int = 0
    pauses: Pauses = PAUSES

    def failed(self, now: float) -> Breaker:
        """Open, from any state: one failure is enough, since the next batch has somewhere else to go."""
        doublings = min(self.failures, 30)
        pause = min(self.pauses.first_s * 2**doublings, self.pauses.most_s)
        return Breaker(State.OPEN, now + pause, self.failures + 1, self.pauses)

    def succeeded(self) -> Breaker:
        return Breaker(pauses=self.pauses)

    def probed(self, now: float) -> Breaker | None:
        """Half-open, for the one who asks first after the pause; None for everybody else."""
        if self.state is State.OPEN and now >= self.until:
            return Breaker(State.HALF_OPEN, self.until, self.failures, self.pauses)
        return None
