"""What a call costs: prices by model with their date, the worst case before it, the actual cost after it.

Whole numbers of micro-USD alone (a millionth of a US dollar), rounded up, so that no sum of ours is below the bill.
Not here: which model is asked (adapters/providers/profiles.py); how much may be spent (spending.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vcf_pipeline.domain.annotation.prompts import Message
from vcf_pipeline.domain.errors import UnknownPrice

MTOK = 1_000_000
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
_OVERHEAD_TOKENS = 64
_TOKENS_PER_MESSAGE = 16


@dataclass(frozen=True)
class Price:
    """Micro-USD for a million tokens: of questions, of answers, and of questions that the vendor keeps for reuse.

    since: the day from which a public source says so, ISO; "" where a setting says it.
    """

    question: int
    answer: int
    kept_question: int
    since: str = ""

    @classmethod
    def of_usd(cls, question: float, answer: float, *, kept: float | None = None, since: str = "") -> Price:
        """From US dollars for a million tokens. kept: default: as any question."""
        return cls(
            round(question * MTOK), round(answer * MTOK), round((question if kept is None else kept) * MTOK), since
        )

    def cost(self, input_tokens: int, output_tokens: int, kept_tokens: int = 0) -> int:
        """Micro-USD of a call. kept_tokens: those of input_tokens that the vendor bills as kept.

        Tokens that the vendor bills cheaper, since it had kept them, count in full: never below the bill.
        """
        kept = min(max(kept_tokens, 0), input_tokens)
        total = (input_tokens - kept) * self.question + kept * self.kept_question + output_tokens * self.answer
        return -(-total // MTOK)

    def worst(self, input_tokens: int, output_tokens: int) -> int:
        """What a call of at most these tokens cannot cost more than."""
        total = input_tokens * max(self.question, self.kept_question) + output_tokens * self.answer
        return -(-total // MTOK)


FREE = Price(0, 0, 0)
"""Of a model that runs on the person's own machine."""

PRICES: dict[str, dict[str, Price]] = {
    # Sources: the vendors' pages of models and prices, as public pages showed them between these days and 2026-11-06.
    # OpenAI bills a question that its prompt cache takes in at 1.25 of the price; through Anthropic's
    # OpenAI-compatible endpoint nothing is kept.
    "openai": {
        "gpt-6-luna": Price.of_usd(0.10, 0.50, kept=0.125, since="2026-09-22"),
        "gpt-6-sol": Price.of_usd(2.00, 10.00, kept=2.50, since="2026-09-22"),
        "gpt-6.1-sol": Price.of_usd(2.00, 10.00, kept=2.50, since="2026-09-29"),
        "gpt-6.1-terra": Price.of_usd(1.00, 5.00, kept=1.25, since="2026-10-26"),
        "gpt-6-astra": Price.of_usd(10.00, 50.00, kept=12.50, since="2026-09-03"),
        "gpt-5.6-luna": Price.of_usd(0.20, 1.20, kept=0.25, since="2026-07-30"),
        "gpt-5.6-terra": Price.of_usd(2.00, 12.00, kept=2.50, since="2026-07-30"),
        "gpt-5.6-sol": Price.of_usd(4.00, 20.00, kept=5.00, since="2026-09-07"),
        "gpt-5.4-mini": Price.of_usd(0.75, 4.50, since="2026-03-17"),
        "gpt-5.4": Price.of_usd(2.50, 15.00, since="2026-03-21"),
        "text-embedding-3-small": Price.of_usd(0.02, 0.0, since="2026-04-01"),
        "text-embedding-3-large": Price.of_usd(0.13, 0.0, since="2026-04-01"),
    },
    "claude": {
        "claude-haiku-5-5": Price.of_usd(0.10, 0.50, since="2026-10-07"),
        "claude-sonnet-5-5": Price.of_usd(2.00, 10.00, since="2026-09-28"),
        "claude-opus-5-5": Price.of_usd(4.00, 20.00, since="2026-09-22"),
        "claude-sonnet-5": Price.of_usd(2.00, 10.00, since="2026-09-07"),
        "claude-haiku-4-5": Price.of_usd(1.00, 5.00, since="2026-04-01"),
        "claude-sonnet-4-6": Price.of_usd(3.00, 15.00, since="2026-04-01"),
        "claude-opus-4-7": Price.of_usd(5.00, 25.00, since="2026-04-01"),
    },
}


def price_of(provider: str, model: str, usd_per_mtok: tuple[float | None, float | None] = (None, None)) -> Price:
    """usd_per_mtok: what the settings say of questions and answers; both win over the table.

    Raises UnknownPrice. A model's dated name costs what the name without the date does. Ollama costs nothing.
    """
    question, answer = usd_per_mtok
    if question is not None and answer is not None:
        return Price.of_usd(question, answer)
    known = PRICES.get(provider, {}).get(_DATED.sub("", model))
    if known is not None:
        return known
    if provider == "ollama":
        return FREE
    prefix = f"VCF_PIPELINE_{provider.upper()}"
    raise UnknownPrice(
        where=f"{provider} {model}",
        expected="a price, so that the budget can hold it",
        got="a model that no table of ours knows",
        repair=f"Set {prefix}__USD_PER_MTOK_IN and {prefix}__USD_PER_MTOK_OUT, or another {prefix}__MODEL.",
        provider=provider,
    )


def most_input_tokens(messages: Sequence[Message], extra_bytes: int = 0) -> int:
    """More than any vendor counts for these messages: a token is never less than a byte of UTF-8.

    extra_bytes: of what goes with them, as a JSON schema of the answer.
    """
    size = sum(len(message.text.encode()) for message in messages) + extra_bytes
    return size + len(messages) * _TOKENS_PER_MESSAGE + _OVERHEAD_TOKENS
