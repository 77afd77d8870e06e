"""Fake providers of explanations over real HTTP: OpenAI's, Anthropic's and Ollama's dialect, each by a script.

    with FakeProviders() as fake:
        fake.script("openai", Act(status=429, retry_after="2"), always=Act(latency_s=0.2))
        settings = fake.settings()    # VCF_PIPELINE_OPENAI__BASE_URL=…, for load_settings or a child

As a process of its own: python -m vcf_pipeline.testing.fake_providers --port 0 --latency-ms 200
Not here: what is answered (fake_answers.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from vcf_pipeline.testing.fake_answers import completion, embeddings, error_body, facts_of, honest_answer, lie

DIALECTS = ("openai", "claude", "ollama")
KEY = "sk-fake-key"
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Act:
    """What one call meets, by default an honest answer.

    latency_s: before anything is sent. status, retry_after: an error of the vendor, with that header where given.
    hang: no byte, ever. reset: the connection is cut, before an answer. body_s: the answer's body trickles over so
    long. lie: of fake_answers.LIES. text: what is answered word for word. raw: the body is this, JSON or not.
    """

    latency_s: float = 0.0
    status: int = 200
    retry_after: str = ""
    hang: bool = False
    reset: bool = False
    body_s: float = 0.0
    lie: str = ""
    text: str | None = None
    raw: str | None = None


@dataclass(frozen=True)
class Received:
    """One request, every byte of it. subject: the variant of the brief in it, "" where there is none."""

    provider: str
    path: str
    head: bytes
    body: bytes
    at: float

    @property
    def variant(self) -> str:
        try:
            return str(facts_of(json.loads(self.body).get("messages", [])).get("variant", ""))
        except (ValueError, AttributeError):
            return ""


@dataclass
class _Vendor:
    """One provider's script and what it has seen. keys, models: None takes any."""

    acts: deque[Act] = field(default_factory=deque)
    always: Act = Act()
    keys: frozenset[str] | None = None
    models: frozenset[str] | None = None
    calls_per_s: float = 0.0
    tokens: float = 0.0
    refilled: float = 0.0
    now_open: int = 0
    most_open: int = 0
    answered: int = 0


class FakeProviders:
    """A server on loopback, in a thread. received: all requests so far. has_record False keeps none, for long runs."""

    def __init__(self, port: int = 0, *, has_record: bool = True) -> None:
        self.port = port
        self.received: list[Received] = []
        self.answered: Counter[tuple[str, str]] = Counter()
        self._has_record = has_record
        self._vendors = {name: _Vendor() for name in DIALECTS}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True, name="fake providers")

    # --- scripts

    def script(self, provider: str, *acts: Act, always: Act | None = None) -> None:
        """The next calls meet these, in order; those after them `always`."""
        with self._lock:
            vendor = self._vendors[provider]
            vendor.acts = deque(acts)
            if always is not None:
                vendor.always = always

    def limit(self, provider: str, calls_per_s: float) -> None:
        """More than this is a 429 that says when to come back; 0: no bound."""
        self._vendors[provider].calls_per_s = calls_per_s

    def admit(self, provider: str, *, keys: set[str] | None = None, models: set[str] | None = None) -> None:
        """Keys and models it knows; others are refused as the vendor does it."""
        vendor = self._vendors[provider]
        vendor.keys = frozenset(keys) if keys is not None else None
        vendor.models = frozenset(models) if models is not None else None

    def forget(self) -> None:
        """Scripts and records, as if it had just started."""
        with self._lock:
            self._vendors = {name: _Vendor() for name in DIALECTS}
        self.received, self.answered = [], Counter()

    # --- what was seen

    def calls(self, provider: str | None = None) -> list[Received]:
        return [one for one in list(self.received) if provider in (None, one.provider)]

    def answers(self, provider: str | None = None) -> int:
        """Answers that were sent to their last byte: what would be on the bill."""
        return sum(count for (name, _), count in self.answered.items() if provider in (None, name))

    def most_open(self, provider: str) -> int:
        """The most calls that it had at a time."""
        return self._vendors[provider].most_open

    # --- addresses

    def url(self, provider: str) -> str:
        return f"http://127.0.0.1:{self.port}/{provider}/v1"

    def settings(self, *providers: str) -> dict[str, str]:
        """Variables that make these the providers, in this order; all three where none is named."""
        found = {"VCF_PIPELINE_AI__PROVIDERS": ",".join(providers or DIALECTS)}
        for name in DIALECTS:
            found[f"VCF_PIPELINE_{name.upper()}__BASE_URL"] = self.url(name)
            if name != "ollama":
                found[f"VCF_PIPELINE_{name.upper()}__API_KEY"] = KEY
        return found

    # --- life

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake providers did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(10)

    def stop(self) -> None:
        """Nobody listens any more, and open connections are cut. May be called twice."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    async def serve(self) -> None:
        """Listen until `stop`."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[_Connection] = set()
        server = await self._loop.create_server(lambda: _Connection(self._meet, connections), "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(connections):
            connection.cut()

    # --- one call

    async def _meet(self, connection: _Connection, path: str, head: bytes, body: bytes) -> None:
        provider = path.split("/", 2)[1] if path.count("/") >= 2 else ""
        vendor = self._vendors.get(provider)
        if vendor is None:
            connection.answer(404, b'{"error":{"message":"no such fake"}}')
            return
        if self._has_record:
            self.received.append(Received(provider, path, head, body, time.time()))
        vendor.now_open += 1
        vendor.most_open = max(vendor.most_open, vendor.now_open)
        try:
            await self._play(connection, provider, vendor, path, head, body)
        finally:
            vendor.now_open -= 1

    async def _play(
        self, connection: _Connection, provider: str, vendor: _Vendor, path: str, head: bytes, body: bytes
    ) -> None:
        try:
            asked = json.loads(body)
        except ValueError:
            connection.answer(400, json.dumps(error_body(provider, 400, "not JSON")).encode())
            return
        refused = _refused(provider, vendor, head, asked)
        if refused is not None:
            status, message = refused
            headers = {"retry-after": "1"} if status == 429 else {}
            connection.answer(status, json.dumps(error_body(provider, status, message)).encode(), headers)
            return
        with self._lock:
            act = vendor.acts.popleft() if vendor.acts else vendor.always
        if act.latency_s:
            await asyncio.sleep(act.latency_s)
        if act.hang:
            await asyncio.sleep(3600)
        if act.reset:
            connection.cut()
            return
        if act.status != 200:
            headers = {"retry-after": act.retry_after} if act.retry_after else {}
            connection.answer(
                act.status, json.dumps(error_body(provider, act.status, "by the script")).encode(), headers
            )
            return
        answer, variant = _said(path, asked, act)
        # counted before it is sent: what has left may be billed, whether it arrives or not
        self.answered[provider, variant] += 1
        vendor.answered += 1
        await connection.send(answer, over_s=act.body_s)


def _said(path: str, asked: dict[str, Any], act: Act) -> tuple[bytes, str]:
    """The body of an answer, and the variant that it is about."""
    if path.endswith("/embeddings"):
        return (json.dumps(embeddings(asked)) if act.raw is None else act.raw).encode(), ""
    messages = asked.get("messages", [])
    brief = facts_of(messages)
    if act.raw is not None:
        return act.raw.encode(), str(brief.get("variant", ""))
    text = act.text if act.text is not None else lie(act.lie, brief) if act.lie else honest_answer(brief)
    return json.dumps(completion(asked.get("model", ""), text, messages)).encode(), str(brief.get("variant", ""))


def _refused(provider: str, vendor: _Vendor, head: bytes, asked: dict[str, Any]) -> tuple[int, str] | None:
    """(status, message) as the vendor would refuse it: key, model, fields it does not take, rate."""
    if vendor.keys is not None and _key(head) not in vendor.keys:
        return 401, "Incorrect API key provided."
    model = str(asked.get("model", ""))
    if vendor.models is not None and model not in vendor.models:
        return 404, f"model '{model}' not found"
    if provider == "openai" and "messages" in asked and {"max_tokens", "temperature", "seed"} & set(asked):
        return 400, "Unsupported parameter with this model. Use 'max_completion_tokens' instead."
    if provider == "ollama" and "max_completion_tokens" in asked:
        return 400, "a fake's word: Ollama ignores max_completion_tokens, and would answer without end"
    if vendor.calls_per_s:
        now = time.monotonic()
        vendor.tokens = min(vendor.tokens + (now - vendor.refilled) * vendor.calls_per_s, max(vendor.calls_per_s, 1.0))
        vendor.refilled = now
        if vendor.tokens < 1:
            return 429, "Rate limit reached"
        vendor.tokens -= 1
    return None


def _key(head: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"authorization", b"x-api-key"):
            return value.decode("latin-1").strip().removeprefix("Bearer ")
    return ""


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length and kept connections: as little as a client of ours needs, and as quick."""

    def __init__(self, meet: Callable[[_Connection, str, bytes, bytes], Any], connections: set[_Connection]) -> None:
        self._meet, self._connections = meet, connections
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        path = head.split(b" ", 2)[1].decode("latin-1")
        self._task = asyncio.get_running_loop().create_task(self._meet(self, path, head, rest[:length]))

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_head(status, len(body), headers) + body)

    async def send(self, body: bytes, *, over_s: float) -> None:
        """A good answer; where over_s is given, its body in ten pieces over that time."""
        if not over_s:
            self.answer(200, body)
            return
        assert self._transport is not None  # noqa: S101 - it was connected to be asked
        self._transport.write(_head(200, len(body), None))
        size = -(-len(body) // 10)
        for at in range(0, len(body), size):
            await asyncio.sleep(over_s / 10)
            self._transport.write(body[at : at + size])

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _head(status: int, length: int, headers: dict[str, str] | None) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    reason = _REASONS.get(status, "Status")
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    ).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fake providers of explanations, until SIGTERM.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    given = parser.parse_args()
    fake = FakeProviders(given.port, has_record=False)
    for name in DIALECTS:
        fake.script(name, always=Act(latency_s=given.latency_ms / 1000))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: fake.stop())
    with fake:
        print(json.dumps({"port": fake.port, "settings": fake.settings()}), flush=True)
        while fake._thread.is_alive():
            fake._thread.join(0.2)


if __name__ == "__main__":
    main()
