"""How quick explaining, triage and joins are, by the benchmarks' own functions.

Explaining is held against a bare client in the same run; alleles are counted by the second or by the CPU-second,
whichever is more, since a machine that does nothing else needs no more of the one than of the other. Whatever falls
short is measured again, twice at most. Not here: the reader's and the sender's rates (benchmarks/, by hand).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vcf_pipeline.adapters.ledger.ledger import open_ledger
from vcf_pipeline.adapters.providers.explainer import event_loop
from vcf_pipeline.testing.memory_books import MemoryBooks
from vcf_pipeline_tests.benchmarks import evidence_rate, triage_rate
from vcf_pipeline_tests.benchmarks.router_rate import OVERHEAD, SEQUENTIAL, bare, fake, p50_of_router, routed
from vcf_pipeline_tests.stages.lab import Lab

pytestmark = pytest.mark.acceptance
VARIANTS, LATENCY_MS = 1000, 200
FIRST = itertools.count(10_000_000, 1_000_000)
"""Numbers of variants that nobody has asked about yet."""


@pytest.fixture
def plain() -> Iterator[asyncio.Runner]:
    """The loop that users of the vendor's client have."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """The loop that ours have."""
    with asyncio.Runner(loop_factory=event_loop) as runner:
        yield runner


def best_of_three(measure: Callable[[], float], enough: float) -> float:
    """The first that is enough, else the largest."""
    found: list[float] = []
    while len(found) < 3 and (not found or found[-1] < enough):
        found.append(measure())
    return max(found)


def others_work() -> str:
    return f"processes that wanted a CPU of {os.cpu_count()}: {os.getloadavg()[0]:.1f}, this one's among them"


@pytest.mark.parametrize(("at_a_time", "of_bare", "of_sequential"), [(10, 0.95, 9.0), (50, 0.9, 0.0)])
def test_explanations_come_as_quickly_as_from_a_bare_client(
    tmp_path: Path,
    plain: asyncio.Runner,
    loop: asyncio.Runner,
    at_a_time: int,
    of_bare: float,
    of_sequential: float,
) -> None:
    """of_bare: of its rate with as many at a time. of_sequential: times the router's own with one after the other."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    books = ledger.books()
    told: list[str] = []
    with fake(LATENCY_MS) as address:

        def of_what_is_wanted() -> float:
            alone = VARIANTS / plain.run(bare(address, VARIANTS, at_a_time))[0]
            ours = VARIANTS / loop.run(routed(address, books, VARIANTS, at_a_time, next(FIRST)))[0]
            wanted = [of_bare * alone]
            if of_sequential:
                one_by_one = SEQUENTIAL / loop.run(routed(address, books, SEQUENTIAL, 1, next(FIRST)))[0]
                wanted.append(of_sequential * one_by_one)
            told.append(f"{ours:.1f} a second, wanted {', '.join(f'{rate:.1f}' for rate in wanted)}; {others_work()}")
            return ours / max(wanted)

        found = best_of_three(of_what_is_wanted, 1.0)
    loop.run(books.close())
    ledger.close()
    assert found >= 1.0, told


def test_the_router_adds_two_milliseconds_at_most_to_a_call(plain: asyncio.Runner, loop: asyncio.Runner) -> None:
    with fake(0) as address:

        def less_than_bare() -> float:
            alone = statistics.median(plain.run(bare(address, OVERHEAD, 1))[2]) * 1000
            return alone - loop.run(p50_of_router(address, MemoryBooks(), next(FIRST)))

        assert best_of_three(less_than_bare, -2.0) >= -2.0, others_work()


def test_four_hundred_thousand_alleles_a_second_are_triaged() -> None:
    rows = triage_rate.made_rows(1_000_000)
    assert best_of_three(lambda: max(triage_rate.rates(rows)[:2]), 400_000) >= 400_000, others_work()


@pytest.mark.parametrize("sources", [("known.vcf",), ("known.vcf", "genes.bed")], ids=["alleles", "alleles and genes"])
def test_three_hundred_thousand_alleles_a_second_are_joined(tmp_path: Path, sources: tuple[str, ...]) -> None:
    lab = Lab(tmp_path)
    n = evidence_rate.write_inputs(tmp_path, 300_000)
    callset = lab.parse(tmp_path / "calls.vcf")
    for name in sources:
        lab.add(name.partition(".")[0], tmp_path / name, assembly="GRCh38")

    def joined() -> float:
        return max(evidence_rate.measured("join", n, lambda: evidence_rate.join(lab, callset)))

    assert best_of_three(joined, 300_000) >= 300_000, others_work()
    lab.close()
