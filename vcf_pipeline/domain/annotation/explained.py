"""What became of a brief: answered by whom and at what cost, or why not. Not here: how it was asked (router)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vcf_pipeline.domain.annotation.answer import Answer

Status = Literal["annotated", "skipped", "failed"]


@dataclass(frozen=True)
class Given:
    """An answer that passed, and what the call that brought it was.

    cost_microusd: what the call cost, whenever it was made. is_cached: bought by an earlier call.
    """

    answer: Answer
    provider: str
    model: str
    prompt_version: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost_microusd: int = 0
    latency_ms: int = 0
    is_cached: bool = False


@dataclass(frozen=True)
class Rejected:
    """A bad answer that was paid for, and that no repair made good. problems: what was wrong with it."""

    provider: str
    model: str
    text: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Explained:
    """given: the answers that passed, the one to show first; empty unless annotated.

    reason: of skipped and failed, a code (BUDGET_SPENT, BAD_ANSWER, PROVIDER_UNAVAILABLE, …); of annotated by rules,
    why no provider did, "" where rules were asked for. calls: that left for a provider now, paid or not.
    cost_microusd: of those calls, in millionths of a US dollar. rejected: the last bad answer of each provider that
    gave one, for the dead letters, whoever answered in its place.
    """

    subject: str
    status: Status
    reason: str = ""
    given: tuple[Given, ...] = ()
    calls: int = 0
    cost_microusd: int = 0
    rejected: tuple[Rejected, ...] = ()
