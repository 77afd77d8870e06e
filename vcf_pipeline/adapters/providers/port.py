"""What a provider of explanations promises, and what the router asks of whoever keeps the books.

Not here: which provider is asked (router.py); where the books are kept (adapters/ledger), which knows nothing of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vcf_pipeline.domain.annotation.brief import Brief
from vcf_pipeline.domain.annotation.prompts import Message
from vcf_pipeline.domain.annotation.spending import Bought, Entry, Written


@dataclass(frozen=True)
class Reply:
    """What a provider answered. Tokens as it counts them. latency_ms: from sending to the last byte.

    kept_tokens: those of input_tokens that it kept for reuse and bills as such.
    """

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    latency_ms: int
    kept_tokens: int = 0


@dataclass(frozen=True)
class Task:
    """A brief to be explained. tier: 1–4, the lower the earlier."""

    brief: Brief
    tier: int


class Provider(Protocol):
    """One vendor's account and model. Its methods belong to the loop that it was first used in."""

    @property
    def name(self) -> str:
        """openai, claude or ollama."""
        ...

    @property
    def model(self) -> str: ...

    @property
    def extra_bytes(self) -> int:
        """Of what goes with the messages of every question and may be billed, as the schema of the answer."""
        ...

    async def ask(self, messages: Sequence[Message], *, max_output_tokens: int, timeout_s: float) -> Reply:
        """One call, never retried here.

        Raises ProviderUnavailable (not reached, 408, 429, 5xx, or no answer within timeout_s; with retry_after and
        may_be_billed) and ProviderRefused (400, 401, 403, 404, 422).
        """
        ...

    async def close(self) -> None:
        """Give connections back; nothing may be asked after it."""
        ...


class Books(Protocol):
    """Durable, shared by all processes: what was bought, what is under way, what it cost. Used from one loop.

    Any method may raise StoreUnavailable.
    """

    async def find(
        self, tenant: str, subjects: Sequence[str], models: Sequence[tuple[str, str]], prompt_version: str
    ) -> dict[str, list[Bought]]:
        """Answers by subject that were bought before from one of the (provider, model); none for the others."""
        ...

    def write(self, *entries: Entry) -> asyncio.Future[list[Written]]:
        """All or none of them, in this order, after all that was asked for before; what became of each, in order.

        Durable when the future is done; written whether anybody waits for it or not.
        """
        ...

    def count_hits(self, found: Sequence[Bought]) -> None:
        """These were used again; written when there is time."""
        ...

    async def close(self) -> None:
        """What is waiting is written."""
        ...
