"""Answers of several providers to one brief → the one to show, and how far they agree.

They are joined by correlation id and subject, in whatever order they come: a second answer of the same model, one of
another question, and one that comes when the gathering is closed change nothing. Not here: asking (adapters/providers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from vcf_pipeline.domain.annotation.explained import Given


class Arrival(Enum):
    TAKEN = "taken"
    DUPLICATE = "duplicate"
    LATE = "late"
    STRANGER = "stranger"


@dataclass(frozen=True)
class Gathering:
    """Answers to one brief. wanted: of so many providers. given: in order of arrival, one a provider and model."""

    correlation_id: str
    subject: str
    wanted: int = 1
    given: tuple[Given, ...] = ()
    is_closed: bool = False

    @property
    def is_complete(self) -> bool:
        return len(self.given) >= self.wanted

    @property
    def missing(self) -> int:
        return max(self.wanted - len(self.given), 0)

    def with_answer(self, correlation_id: str, subject: str, given: Given) -> tuple[Gathering, Arrival]:
        """The gathering with it, or unchanged and why."""
        if (correlation_id, subject) != (self.correlation_id, self.subject):
            return self, Arrival.STRANGER
        if any((one.provider, one.model) == (given.provider, given.model) for one in self.given):
            return self, Arrival.DUPLICATE
        if self.is_closed or self.is_complete:
            return self, Arrival.LATE
        return replace(self, given=(*self.given, given)), Arrival.TAKEN

    def closed(self) -> Gathering:
        """Nobody is waited for any more: what has come is what there is, whole or partial."""
        return replace(self, is_closed=True)


def agreement(given: Sequence[Given]) -> float | None:
    """Share of the answers with the most frequent reading; None below two, of which nothing can be said."""
    if len(given) < 2:
        return None
    return max(Counter(one.answer.reading for one in given).values()) / len(given)


def shown_first(given: Sequence[Given], preference: Sequence[str]) -> tuple[Given, ...]:
    """The answers, first the one to show: of the most frequent reading, by the most preferred provider.

    preference: names of providers; one that is not among them comes last. The rest follow by preference.
    """
    rank = {name: at for at, name in enumerate(preference)}
    by_preference = sorted(given, key=lambda one: rank.get(one.provider, len(rank)))
    counts = Counter(one.answer.reading for one in by_preference)
    if not by_preference:
        return ()
    best = max(by_preference, key=lambda one: counts[one.answer.reading])
    return (best, *(one for one in by_preference if one is not best))
