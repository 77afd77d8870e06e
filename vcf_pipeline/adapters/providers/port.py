"""What a provider of explanations promises, and what the router asks of whoever keeps the books.

Not here: which provider is asked (router.py); where the books are kept (adapters/ledger), which knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vcf_pipeline.domain.annotation.prompts import Message


@dataclass(frozen=True)
class Reply:
    """What a provider answered. Tokens as it counts them. latency_ms: from sending to the last byte."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    latency_ms: int


class Provider(Protocol):
    """One vendor's account and model. Its methods belong to the loop that it was first used in."""

    @property
    def name(self) -> str:
        """openai, claude or ollama."""
        ...

    @property
    def model(self) -> str: ...

    async def ask(self, messages: Sequence[Message], *, max_output_tokens: int, timeout_s: float) -> Reply:
        """One call, never retried here.

        Raises ProviderUnavailable (not reached, 408, 429, 5xx, or no answer within timeout_s; with retry_after and
        may_be_billed) and ProviderRefused (400, 401, 403, 404, 422).
        """
        ...

    async def close(self) -> None:
        """Give connections back; nothing may be asked after it."""
        ...
