"""How quick explanations come: through the router and through a bare client, from fake providers over real HTTP.

    python -m vcf_pipeline_tests.benchmarks.router_rate [--variants 1000] [--latency-ms 200]

The fake is a process of its own and answers each call after the latency. Sequential: one call after the other. The
bare client is the vendor's library with a semaphore, and nothing else: no books, no checks of what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vcf_pipeline.adapters.ledger.ledger import open_ledger
from vcf_pipeline.adapters.providers.attempts import Member
from vcf_pipeline.adapters.providers.explainer import event_loop
from vcf_pipeline.adapters.providers.openai_client import OpenAiClient
from vcf_pipeline.adapters.providers.port import Books, Task
from vcf_pipeline.adapters.providers.router import Router
from vcf_pipeline.adapters.providers.runs import Options, Run
from vcf_pipeline.domain.annotation.answer import read_answer
from vcf_pipeline.domain.annotation.brief import Brief, Fact
from vcf_pipeline.domain.annotation.explained import Explained
from vcf_pipeline.domain.annotation.prices import price_of
from vcf_pipeline.domain.annotation.prompts import MAX_OUTPUT_TOKENS, question
from vcf_pipeline.testing.fake_providers import KEY
from vcf_pipeline.testing.memory_books import MemoryBooks
from vcf_pipeline.wiring import rules_annotator

SEQUENTIAL = 25
OVERHEAD = 400


@contextmanager
def fake(latency_ms: float) -> Iterator[str]:
    """The address of a fake in a process of its own."""
    words = [sys.executable, "-m", "vcf_pipeline.testing.fake_providers", "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/openai/v1"
    finally:
        process.terminate()
        process.wait()


def briefs(count: int, first: int) -> list[Brief]:
    return [
        Brief(
            "GRCh38",
            f"17-{first + at}-C-T",
            "likely_pathogenic",
            ("clinvar_pathogenic",),
            (
                Fact("clinvar:CLNSIG", "Likely_pathogenic"),
                Fact("consequence", "missense_variant"),
                Fact("gene", "BRCA1"),
                Fact("gnomad:AF", "0.00001"),
            ),
        )
        for at in range(count)
    ]


async def bare(address: str, count: int, at_a_time: int) -> tuple[float, float, list[float]]:
    """(seconds, CPU seconds, seconds of each call) of the vendor's own client."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key=KEY, base_url=address, max_retries=0)
    asked = OpenAiClient("openai", api_key=KEY, address=address)
    fields = asked.profile.fields(asked.model, MAX_OUTPUT_TOKENS)

    async def ask(brief: Brief) -> None:
        messages = [{"role": one.role, "content": one.text} for one in question(brief)]
        await client.chat.completions.create(model=asked.model, messages=messages, **fields)  # type: ignore[arg-type]

    found = await _timed(ask, briefs(count, 1), at_a_time)
    await client.close()
    return found


async def ours(address: str, count: int, at_a_time: int) -> tuple[float, float, list[float]]:
    """The same of our own client alone, without the router."""
    client = OpenAiClient("openai", api_key=KEY, address=address)

    async def ask(brief: Brief) -> None:
        read_answer((await client.ask(question(brief), max_output_tokens=MAX_OUTPUT_TOKENS, timeout_s=10)).text, brief)

    found = await _timed(ask, briefs(count, 1), at_a_time)
    await client.close()
    return found


async def _timed(
    ask: Callable[[Brief], Awaitable[None]], of: list[Brief], at_a_time: int
) -> tuple[float, float, list[float]]:
    await ask(of[0])
    places, each = asyncio.Semaphore(at_a_time), []

    async def one(brief: Brief) -> None:
        async with places:
            began = time.perf_counter()
            await ask(brief)
            each.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(brief) for brief in of))
    return time.perf_counter() - began, time.process_time() - cpu, each


async def routed(
    address: str, books: Books, count: int, at_a_time: int, first: int
) -> tuple[float, float, list[Explained]]:
    """(seconds, CPU seconds, what came) through the router."""
    client = OpenAiClient("openai", api_key=KEY, address=address)
    member = Member(client, price_of("openai", client.model), concurrency=at_a_time)
    options = Options(names=("openai",), budget_microusd=10**12)
    router = Router([member], books, rules_annotator(), read_answer, options)
    came: list[Explained] = []

    async def emit(explained: Explained) -> None:
        came.append(explained)

    def run() -> Run:
        return Run("default", "0" * 16, "", ("openai",), emit)

    await router.explain(run(), [Task(one, 1) for one in briefs(1, first)])
    came.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await router.explain(run(), [Task(one, 1) for one in briefs(count, first + 1)])
    took = time.perf_counter() - began, time.process_time() - cpu, came
    await client.close()
    assert len(came) == count
    assert all(one.status == "annotated" and one.given[0].provider == "openai" and one.calls == 1 for one in came)
    return took


def rates(plain: asyncio.Runner, loop: asyncio.Runner, books: Books, given: argparse.Namespace) -> None:
    """Of both, one call after the other, 10 and 50 at a time."""
    first = itertools.count(10_000_000, 1_000_000)
    with fake(given.latency_ms) as address:
        base = {
            "bare client": plain.run(bare(address, SEQUENTIAL, 1))[0] / SEQUENTIAL,
            "router, durable books": loop.run(routed(address, books, SEQUENTIAL, 1, next(first)))[0] / SEQUENTIAL,
        }
        print(f"{given.variants} variants, answers after {given.latency_ms:g} ms")
        print(f"{'':24}{'at a time':>10}{'seconds':>9}{'a second':>10}{'x sequential':>14}{'CPU ms a call':>15}")
        for name, seconds in base.items():
            print(f"{name:24}{1:>10}{seconds * SEQUENTIAL:>9.2f}{1 / seconds:>10.1f}{1:>14.1f}")
        for at_a_time in (10, 50):
            for name, alone in base.items():
                if name == "bare client":
                    seconds, cpu, _ = plain.run(bare(address, given.variants, at_a_time))
                else:
                    seconds, cpu, _ = loop.run(routed(address, books, given.variants, at_a_time, next(first)))
                rate = given.variants / seconds
                print(
                    f"{name:24}{at_a_time:>10}{seconds:>9.2f}{rate:>10.1f}{rate * alone:>14.1f}"
                    f"{cpu / given.variants * 1000:>15.2f}"
                )


def overheads(plain: asyncio.Runner, loop: asyncio.Runner, books: Books) -> None:
    """Milliseconds that ours add to a call that is answered at once."""
    with fake(0) as address:
        print(f"\noverhead of one call after the other, answers at once, {OVERHEAD} calls, milliseconds a call")
        alone = statistics.median(plain.run(bare(address, OVERHEAD, 1))[2]) * 1000
        client = statistics.median(loop.run(ours(address, OVERHEAD, 1))[2]) * 1000
        print(f"{'bare client':40}{alone:>8.2f}")
        print(f"{'our client and the check of the answer':40}{client:>8.2f}{client - alone:>+8.2f}")
        kinds: list[tuple[str, Books]] = [("router, books in memory", MemoryBooks()), ("router, durable books", books)]
        for at, (name, kept) in enumerate(kinds):
            p50 = loop.run(p50_of_router(address, kept, at * 1_000_000))
            print(f"{name:40}{p50:>8.2f}{p50 - alone:>+8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--variants", type=int, default=1000)
    parser.add_argument("--latency-ms", type=float, default=200)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="router-rate-"))
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
    books = ledger.books()
    # the vendor's client in the loop that its users have, ours in the loop that ours have
    with asyncio.Runner() as plain, asyncio.Runner(loop_factory=event_loop) as loop:
        rates(plain, loop, books, given)
        print(f"books: {books.groups:,} groups of entries in {books.commits:,} transactions")
        overheads(plain, loop, books)
        loop.run(books.close())
    ledger.close()


async def p50_of_router(address: str, books: Books, first: int) -> float:
    """Milliseconds from one result to the next, one call at a time."""
    client = OpenAiClient("openai", api_key=KEY, address=address)
    member = Member(client, price_of("openai", client.model), concurrency=1)
    router = Router([member], books, rules_annotator(), read_answer, Options(names=("openai",), budget_microusd=10**12))
    at: list[float] = []

    async def emit(_: Explained) -> None:
        at.append(time.perf_counter())

    await router.explain(
        Run("default", "0" * 16, "", ("openai",), emit), [Task(one, 1) for one in briefs(OVERHEAD + 1, first)]
    )
    await client.close()
    return statistics.median(after - before for before, after in itertools.pairwise(at)) * 1000


if __name__ == "__main__":
    main()
