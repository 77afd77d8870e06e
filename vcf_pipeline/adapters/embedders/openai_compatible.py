"""Texts → vectors by an embedding model, over the `/v1/embeddings` that OpenAI and Ollama share.

Only what is in an annotation's row is sent. Not here: which texts (domain/projections/annotation_rows.py), what a
call may cost (whoever gives `paid`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vcf_pipeline.domain.errors import BadAnswer, PipelineError, ProviderRefused, ProviderUnavailable

TEXTS_A_CALL = 128
TIMEOUT_SECONDS = 60.0
_LONGEST_TEXT = 8_000
_ABOUT_US = (401, 403, 404)
_TRY_AGAIN = (408, 409, 429)


class Call(Protocol):
    """One call on its way; told what it took when it is answered."""

    def answered(self, input_tokens: int) -> None: ...


class _Free:
    def answered(self, input_tokens: int) -> None:
        """Nobody counts."""


def unpaid(n_characters: int) -> AbstractContextManager[Call]:
    """For a model that costs nothing, or books that nobody keeps."""
    del n_characters
    return nullcontext(_Free())


class OpenAiCompatibleEmbedder:
    """A model of one vendor. paid: entered round each call with its characters; what it raises stops the call."""

    is_lexical = False

    def __init__(
        self,
        vendor: str,
        model: str,
        *,
        base_url: str,
        api_key: str,
        timeout_s: float = TIMEOUT_SECONDS,
        paid: Callable[[int], AbstractContextManager[Call]] = unpaid,
    ) -> None:
        self.vendor, self.model = vendor, model
        self.name = f"{vendor}/{model}"
        self._options = {"base_url": base_url, "api_key": api_key, "timeout": timeout_s, "max_retries": 0}
        self._paid = paid
        self._client: Any | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        parts = [
            self._asked([text[:_LONGEST_TEXT] or " " for text in texts[start : start + TEXTS_A_CALL]])
            for start in range(0, len(texts), TEXTS_A_CALL)
        ]
        widths = {part.shape[1] for part in parts}
        if len(widths) > 1:
            raise _bad(self.vendor, f"vectors of {sorted(widths)} numbers")
        return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _asked(self, texts: list[str]) -> NDArray[np.float32]:
        if self._client is None:
            import openai

            self._client = openai.OpenAI(**self._options)  # type: ignore[arg-type]
        with self._paid(sum(map(len, texts))) as call, _mapped(self.vendor, self.model):
            reply = self._client.embeddings.create(model=self.model, input=texts, encoding_format="float")
            call.answered(int(reply.usage.prompt_tokens) if reply.usage else 0)
        return _vectors(self.vendor, reply.data, len(texts))


def _vectors(vendor: str, answers: Sequence[Any], n_texts: int) -> NDArray[np.float32]:
    """Sorted by the index that each answer has, of length 1."""
    in_order = sorted(answers, key=lambda answer: answer.index)
    if [answer.index for answer in in_order] != list(range(n_texts)):
        raise _bad(vendor, f"{len(in_order)} vectors for {n_texts} texts")
    try:
        vectors = np.array([answer.embedding for answer in in_order], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise _bad(vendor, "vectors of several lengths, or of other things than numbers") from error
    if vectors.ndim != 2 or vectors.shape[1] == 0 or not np.isfinite(vectors).all():
        raise _bad(vendor, "vectors without numbers")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _bad(vendor: str, got: str) -> BadAnswer:
    return BadAnswer(
        where=f"{vendor}, embeddings",
        expected="one vector for each text",
        got=got,
        repair="Choose another embedding model, or VCF_PIPELINE_EMBEDDER__NAME=hashing.",
        provider=vendor,
        problems=[got],
    )


@contextmanager
def _mapped(vendor: str, model: str) -> Iterator[None]:
    """The client's errors as ours."""
    import openai

    where = f"{vendor}, embedding model {model}"
    offline = "VCF_PIPELINE_EMBEDDER__NAME=hashing needs no network."
    try:
        yield
    except PipelineError:
        raise
    except openai.APIStatusError as error:
        status = error.status_code
        got = f"{status} {_said(error)}"
        if status in _TRY_AGAIN or status >= 500:
            raise ProviderUnavailable(
                where=where,
                expected="vectors",
                got=got,
                repair="Try again later.",
                provider=vendor,
                retry_after=_retry_after(error),
                may_be_billed=False,
            ) from error
        raise ProviderRefused(
            where=where,
            expected="vectors",
            got=got,
            repair=f"Mend the key, the address or the model's name. {offline}",
            provider=vendor,
            status=status,
            is_about_us=status in _ABOUT_US,
        ) from error
    except (openai.OpenAIError, ValueError, AttributeError, TypeError) as error:
        raise ProviderUnavailable(
            where=where,
            expected="vectors",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            repair=f"Look whether it runs and can be reached. {offline}",
            provider=vendor,
            retry_after=None,
            may_be_billed=isinstance(error, openai.APITimeoutError),
        ) from error


def _said(error: Any) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)[:200]


def _retry_after(error: Any) -> float | None:
    try:
        return float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
