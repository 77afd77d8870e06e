"""Texts → vectors by a vendor's embedding model, each call within the tenant's budget and written in the books.

Only what is in an annotation's row is sent, or what a person asks to be compared. Not here: the endpoint and its
errors (whoever gives the client), which texts (domain/projections/annotation_rows.py), where the books lie (ledger).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vcf_pipeline.domain.annotation.prices import Price
from vcf_pipeline.domain.annotation.spending import Bounds, Ending, Grant, Reserve, Settle
from vcf_pipeline.domain.errors import BadAnswer, BudgetSpent, ProviderRefused, ProviderUnavailable

TEXTS_A_CALL = 128
_LONGEST_TEXT = 8_000
_TOKENS_A_TEXT = 16
_BOOKS_FOR_S = 5.0
_PATIENCE_S = 60.0
_POLL_S = 0.2
SUBJECT = "embedding"
"""What the books call such a call's subject."""


class VectorClient(Protocol):
    """One vendor's account. Its methods belong to the loop that it was first used in."""

    @property
    def name(self) -> str: ...

    @property
    def embedding_model(self) -> str: ...

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> tuple[list[list[float]], int]:
        """Vectors in the texts' order, and the tokens that are billed.

        Raises ProviderUnavailable (with may_be_billed) and ProviderRefused.
        """
        ...

    async def close(self) -> None: ...


class Books(Protocol):
    """Of the ledger."""

    def write(self, *entries: Any) -> Awaitable[list[Any]]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Terms:
    """Whose budget, what a token costs, and what holds for every call."""

    tenant: str
    price: Price
    bounds: Bounds
    timeout_s: float = 30.0


class ModelEmbedder:
    """make: a client and the books, both new, for one loop."""

    is_lexical = False

    def __init__(self, name: str, model: str, terms: Terms, make: Callable[[], tuple[VectorClient, Books]]) -> None:
        self.name = f"{name}/{model}"
        self._vendor, self._model, self._terms, self._make = name, model, terms, make

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raises BudgetSpent beside what the port names."""
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        return asyncio.run(self._all([text[:_LONGEST_TEXT] or " " for text in texts]))

    async def _all(self, texts: list[str]) -> NDArray[np.float32]:
        client, books = self._make()
        try:
            parts = [
                await self._asked(client, books, texts[start : start + TEXTS_A_CALL])
                for start in range(0, len(texts), TEXTS_A_CALL)
            ]
        finally:
            await client.close()
            await books.close()
        return self._vectors([vector for part in parts for vector in part], len(texts))

    async def _asked(self, client: VectorClient, books: Books, texts: list[str]) -> list[list[float]]:
        call_id = await self._reserved(books, texts)
        ending: Ending = "unknown"
        outcome, cost, tokens = "given up", 0, 0
        try:
            vectors, tokens = await client.embed(texts, timeout_s=self._terms.timeout_s)
            ending, outcome, cost = "settled", "embedded", self._terms.price.cost(tokens, 0)
        except ProviderUnavailable as error:
            ending, outcome = "unknown" if error.may_be_billed else "free", "unavailable"
            raise
        except ProviderRefused as error:
            ending, outcome = "free", f"refused {error.status}"
            raise
        finally:
            await books.write(Settle(call_id, ending, outcome, cost, tokens))
        return vectors

    async def _reserved(self, books: Books, texts: list[str]) -> str:
        """The id of a call that may be made now. Raises BudgetSpent, ProviderUnavailable where others hold every place.

        A token is never less than a byte of UTF-8, so that no call can cost more than was reserved.
        """
        most = sum(len(text.encode()) + _TOKENS_A_TEXT for text in texts)
        terms, ends_at = self._terms, monotonic() + _PATIENCE_S
        while True:
            reserve = Reserve(
                call_id=str(uuid.uuid4()),
                tenant=terms.tenant,
                callset_id="",
                subject=SUBJECT,
                provider=self._vendor,
                model=self._model,
                worst_microusd=terms.price.worst(most, 0),
                bounds=terms.bounds,
                seconds=terms.timeout_s + _BOOKS_FOR_S,
            )
            (told,) = await books.write(reserve)
            grant = told.grant
            if grant is Grant.GRANTED:
                return reserve.call_id
            if grant is Grant.SPENT:
                budget = terms.bounds.budget_microusd
                raise BudgetSpent(
                    where=f"{self.name}, tenant {terms.tenant}",
                    expected=f"{reserve.worst_microusd:,} micro-USD of today's budget"
                    if budget
                    else "a budget above 0",
                    got=f"less of {budget:,}" if budget else "0, with which no model is asked",
                    repair="Raise VCF_PIPELINE_AI__BUDGET_USD_PER_DAY, or set VCF_PIPELINE_EMBEDDER__NAME=hashing.",
                    provider=self._vendor,
                )
            if monotonic() > ends_at:
                raise ProviderUnavailable(
                    where=self.name,
                    expected="a place for one call",
                    got=f"none in {_PATIENCE_S:g} s ({grant})",
                    repair="Try again later.",
                    provider=self._vendor,
                    retry_after=None,
                    may_be_billed=False,
                )
            await asyncio.sleep(_POLL_S)

    def _vectors(self, vectors: list[list[float]], n_texts: int) -> NDArray[np.float32]:
        """Of length 1. Raises BadAnswer for what is no matrix of numbers."""
        try:
            found = np.array(vectors, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise self._bad("vectors of several lengths, or of other things than numbers") from error
        if found.ndim != 2 or found.shape[0] != n_texts or not found.shape[1] or not np.isfinite(found).all():
            raise self._bad(f"{len(vectors)} vectors for {n_texts} texts, or no numbers in them")
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.where(lengths == 0, 1, lengths)).astype(np.float32)

    def _bad(self, got: str) -> BadAnswer:
        return BadAnswer(
            where=self.name,
            expected="one vector for each text",
            got=got,
            repair="Choose another embedding model, or VCF_PIPELINE_EMBEDDER__NAME=hashing.",
            provider=self._vendor,
            problems=[got],
        )
