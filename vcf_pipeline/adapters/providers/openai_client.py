"""One client for every endpoint that speaks OpenAI's chat completions: OpenAI's, Anthropic's, Ollama's.

Asked once, never retried here; the vendor's errors become ours in `_mapped`. Not here: what each endpoint takes
(profiles.py); whom to ask, and what is done with a failure (router.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from vcf_pipeline.adapters.providers.port import Reply
from vcf_pipeline.adapters.providers.profiles import PROFILES, Profile, base_url
from vcf_pipeline.domain.annotation.prompts import Message
from vcf_pipeline.domain.errors import PipelineError, ProviderRefused, ProviderUnavailable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MOST_REPLY_CHARACTERS = 20_000
_ABOUT_US = frozenset({401, 402, 403, 404})
_SURELY_FREE = frozenset({408, 409, 425, 429, 503, 529})


class OpenAiClient:
    """Implements port.Provider and makes vectors. Made without a connection; openai is imported with the first call."""

    def __init__(
        self, name: str, *, api_key: str = "", model: str = "", address: str = "", embedding_model: str = ""
    ) -> None:
        self.profile: Profile = PROFILES[name]
        self.name = name
        self.model = model or self.profile.model
        self.embedding_model = embedding_model or self.profile.embedding_model
        self.address = base_url(self.profile, address)
        self._api_key = api_key
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()
        self.extra_bytes = len(json.dumps(self.profile.response_format or ""))

    async def ask(self, messages: Sequence[Message], *, max_output_tokens: int, timeout_s: float) -> Reply:
        body = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.text} for message in messages],
            **self.profile.fields(self.model, max_output_tokens),
        }
        answered, latency_ms = await self._post("/chat/completions", body, timeout_s)
        return self._reply(answered, latency_ms)

    async def embed(self, texts: Sequence[str], *, timeout_s: float) -> tuple[list[list[float]], int]:
        """Vectors of the texts in order, and the tokens that were billed. Errors as of `ask`."""
        body = {"model": self.embedding_model, "input": list(texts), "encoding_format": "float"}
        answered, _ = await self._post("/embeddings", body, timeout_s)
        try:
            rows = sorted(answered["data"], key=lambda row: int(row["index"]))
            vectors = [[float(number) for number in row["embedding"]] for row in rows]
            tokens = int((answered.get("usage") or {}).get("prompt_tokens") or 0)
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(answered) from error
        if len(vectors) != len(texts):
            raise self._unreadable(answered)
        return vectors, tokens

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _post(self, path: str, body: dict[str, Any], timeout_s: float) -> tuple[Any, int]:
        """The answer's JSON and the milliseconds it took, made without the client's typed methods, which cost twice
        the CPU time of a call.
        """
        if self.profile.needs_key and not self._api_key:
            raise self._refused(401, "no key is set")
        client, began = await self._opened(), time.perf_counter()
        try:
            # the library's own bound is of each read; ours is of the whole answer, however slowly it trickles
            async with asyncio.timeout(timeout_s):
                # a whole address: the library would join one anew for each call
                url = f"{self.address}{path}"
                answered = await client.post(url, body=body, cast_to=object, options={"timeout": timeout_s})
                return answered, round((time.perf_counter() - began) * 1000)
        except TimeoutError:
            raise self._unavailable(f"no answer within {timeout_s:g} s", may_be_billed=True) from None
        except Exception as error:
            raise self._mapped(error) from error

    async def _opened(self) -> AsyncOpenAI:
        async with self._opening:
            if self._client is None:
                # in a thread: the import costs more than a second of a loop that has calls under way
                self._client = await asyncio.to_thread(self._made)
            return self._client

    def _made(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        return AsyncOpenAI(
            # the library's own default looks at every connection around each call, and parses HTTP in Python
            http_client=DefaultAioHttpClient(),
            # the library refuses an empty key, Ollama reads none
            api_key=self._api_key or self.name,
            base_url=self.address,
            max_retries=0,
            # the environment's organisation and project are not this account's
            organization="",
            project="",
        )

    def _reply(self, answered: Any, latency_ms: int) -> Reply:
        try:
            message = answered["choices"][0]["message"]
            text = message.get("content") or message.get("refusal") or ""
            usage = answered.get("usage") or {}
            kept = (usage.get("prompt_tokens_details") or {}).get("cache_write_tokens") or 0
            return Reply(
                text=str(text)[:MOST_REPLY_CHARACTERS],
                model=str(answered.get("model") or self.model),
                input_tokens=int(usage["prompt_tokens"]),
                output_tokens=int(usage["completion_tokens"]),
                latency_ms=latency_ms,
                kept_tokens=int(kept),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(answered) from error

    def _unreadable(self, answered: Any) -> ProviderUnavailable:
        # 200, and yet nothing to read or to count: it may be billed, and the next provider may do better
        return self._unavailable(f"an answer of another shape: {str(answered)[:120]!r}", may_be_billed=True)

    def _mapped(self, error: BaseException) -> PipelineError:
        """openai's exceptions → ours. Every class of it is met here; a test walks them."""
        import openai

        if isinstance(error, PipelineError):
            return error
        if isinstance(error, openai.APITimeoutError):
            # the library says so of every connection that was not made, too: then nothing has left
            if _is_before_sending(error):
                return self._unavailable(_why_not_connected(error), may_be_billed=False)
            return self._unavailable("no answer in time", may_be_billed=True)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return self._unavailable(
                f"{type(cause).__name__}: {cause}"[:200], may_be_billed=not _is_before_sending(error)
            )
        if isinstance(error, openai.APIStatusError):
            return self._of_status(error.status_code, _said(error), error.response.headers.get("retry-after", ""))
        if isinstance(error, openai.OpenAIError | ValueError):
            # what came could not be read (APIResponseValidationError, not JSON, cut by length or by a filter)
            return self._unavailable(f"{type(error).__name__}: {error}"[:200], may_be_billed=True)
        return self._unavailable(f"{type(error).__name__}: {error}"[:200], may_be_billed=True)

    def _of_status(self, status: int, said: str, retry_after: str) -> PipelineError:
        if status == 429 and "insufficient_quota" in said:
            return self._refused(status, said)
        if status in _SURELY_FREE or status >= 500:
            seconds = seconds_until(retry_after, datetime.now(UTC))
            return self._unavailable(
                f"HTTP {status}: {said}", may_be_billed=status not in _SURELY_FREE, retry_after=seconds, status=status
            )
        return self._refused(status, said)

    def _unavailable(
        self, got: str, *, may_be_billed: bool, retry_after: float | None = None, status: int = 0
    ) -> ProviderUnavailable:
        repair = "Another provider is asked where one is configured; `vcf-pipeline providers check` tries them."
        if self.name == "ollama" and not may_be_billed and not status:
            repair = f"Is Ollama running? Start it with `ollama serve`, and `ollama pull {self.model}`."
        elif not may_be_billed and not status:
            repair = f"Is there a network, and is VCF_PIPELINE_{self.name.upper()}__BASE_URL right?"
        return ProviderUnavailable(
            where=f"{self.name} at {self.address}",
            expected="an answer",
            got=got,
            repair=repair,
            provider=self.name,
            retry_after=retry_after,
            may_be_billed=may_be_billed,
            status=status,
        )

    def _refused(self, status: int, said: str) -> ProviderRefused:
        prefix = f"VCF_PIPELINE_{self.name.upper()}"
        repairs = {
            401: f"Set {prefix}__API_KEY to a key of this account.",
            402: "Pay the account's bill, or use another provider.",
            403: f"The key of {prefix}__API_KEY may not use this model; ask whoever owns the account.",
            404: f"Set {prefix}__MODEL to a model that this account has.",
            429: "The account's quota is used up: raise it, or use another provider.",
        }
        if self.name == "ollama" and status == 404:
            repairs[404] = f"Run `ollama pull {self.model}`, or set {prefix}__MODEL to a model of `ollama list`."
        return ProviderRefused(
            where=f"{self.name} {self.model}",
            expected="a question that is answered",
            got=f"HTTP {status}: {said}",
            repair=repairs.get(status, "This question is not asked there again."),
            provider=self.name,
            status=status,
            is_about_us=status in _ABOUT_US or status == 429,
        )


def seconds_until(retry_after: str, now: datetime) -> float | None:
    """Of a Retry-After header: seconds, or an HTTP date; None where it says nothing that can be read."""
    text = retry_after.strip()
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)


def _said(error: Any) -> str:
    """The vendor's own sentence, on one line, cut; keys that it repeats are not shown."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error") if isinstance(body.get("error"), dict) else body
    text = str((inner or {}).get("message") or error.message)
    kind = str((inner or {}).get("code") or "")
    line = " ".join(f"{text} {kind}".split())
    words = ["…" if word.startswith(("sk-", "'sk-")) else word for word in line.split(" ")]
    return " ".join(words)[:200].strip()


def _is_before_sending(error: BaseException) -> bool:
    """Whether the connection was never made, so that no question can have left."""
    causes = {kind.__name__ for at in _causes(error) for kind in type(at).__mro__}
    # by aiohttp's own names: the library calls it a time-out of connecting, too, when a server hangs up on a question
    return bool({"ClientConnectorError", "ConnectionTimeoutError", "UnsupportedProtocol"} & causes)


def _why_not_connected(error: BaseException) -> str:
    """The system's own words for it, where it has some."""
    told = [at for at in _causes(error) if isinstance(at, OSError) and not isinstance(at, TimeoutError)]
    if not told:
        return "no connection in time"
    cause = told[-1]
    if isinstance(cause, ssl.SSLError):
        return f"no connection: {cause}"[:200]
    if cause.errno is not None and cause.errno > 0:
        return f"no connection: {os.strerror(cause.errno)}"
    return f"no connection: {cause.strerror or cause}"[:200]


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and what it came from, the last one the first to happen."""
    causes = [error]
    while len(causes) < 8 and (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return causes
