"""The books of calls and answers: durable, right to the micro-USD, shared by processes."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.books import LedgerBooks
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.spending import (
    Bought,
    Bounds,
    Grant,
    Look,
    Reserve,
    Settle,
    Told,
    Wanted,
)
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline_tests.adapters.ledger.made_ledger import address, in_another_process

MODELS = (("openai", "gpt"), ("claude", "haiku"))
BOUNDS = Bounds(budget_microusd=1000, calls_at_a_time=100)


def wanted(subject: str = "s1", tenant: str = "default", answers: int = 1) -> Wanted:
    return Wanted(tenant, subject, MODELS, "explain-1", answers)


def reserve(subject: str = "s1", worst: int = 100, bounds: Bounds = BOUNDS, **changed: Any) -> Reserve:
    asked = Reserve(
        str(uuid.uuid4()), "default", "c" * 16, subject, "openai", "gpt", worst, bounds, 70.0, wanted(subject)
    )
    return replace(asked, **changed)


def bought(subject: str = "s1", provider: str = "openai", model: str = "gpt", cost: int = 40) -> Bought:
    answer = Answer("It is known.", ("clinvar:CLNSIG",), "benign")
    return Bought("default", subject, provider, model, "explain-1", answer, 10, 5, cost, 7)


def settled(asked: Reserve, cost: int = 40) -> Settle:
    return Settle(asked.call_id, "settled", "answered", cost, 10, 5, 7)


def keeping(ledger: Ledger, work: Callable[[LedgerBooks], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        books = ledger.books()
        try:
            return await work(books)
        finally:
            await books.close()

    return asyncio.run(run())


def grants(told: list[Told | None]) -> list[Grant | None]:
    return [one.grant if one is not None else None for one in told]


def sums_agree(ledger: Ledger) -> tuple[int, int]:
    """(gone, open) of all days, which the calls add up to."""
    calls, days = schema.ai_calls, schema.ai_days
    with ledger.database.reading() as connection:
        gone = open_now = 0
        for row in connection.execute(sa.select(calls)):
            gone += {"settled": row.cost_microusd, "unknown": row.reserved_microusd}.get(row.state, 0)
            open_now += row.reserved_microusd if row.state == "open" else 0
        row = connection.execute(sa.select(sa.func.sum(days.c.gone_microusd), sa.func.sum(days.c.open_microusd))).one()
    assert (row[0] or 0, row[1] or 0) == (gone, open_now)
    return gone, open_now


def test_a_call_is_reserved_then_settled_with_its_answer_in_one_go(ledger):
    async def work(books: LedgerBooks) -> None:
        asked = reserve()
        assert grants(await books.write(asked)) == [Grant.GRANTED]
        assert sums_agree(ledger) == (0, 100)
        await books.write(settled(asked), bought())
        assert sums_agree(ledger) == (40, 0)
        found = await books.find("default", ["s1", "s2"], MODELS, "explain-1")
        assert found == {"s1": [bought()]}
        assert grants(await books.write(reserve())) == [Grant.BOUGHT]

    keeping(ledger, work)
    (row,) = ledger.usage()
    assert (row.calls, row.settled, row.cost_microusd, row.input_tokens) == (1, 1, 40, 10)


def test_nobody_hears_of_an_answer_before_another_process_could_read_it(ledger, tmp_path):
    async def work(books: LedgerBooks) -> None:
        asked = reserve()
        await books.write(asked)
        other = open_ledger(address(tmp_path))
        written = books.write(settled(asked), bought())
        seen_before = other.find_answers("default", ["s1"], MODELS, "explain-1")
        await written
        assert other.find_answers("default", ["s1"], MODELS, "explain-1") == {"s1": [bought()]}
        assert seen_before in ({}, {"s1": [bought()]})
        other.close()

    keeping(ledger, work)


def test_an_answer_is_of_its_tenant_model_and_question_alone(ledger):
    async def work(books: LedgerBooks) -> None:
        await books.write(bought(), bought(provider="claude", model="haiku"))
        both = await books.find("default", ["s1"], MODELS, "explain-1")
        assert [one.provider for one in both["s1"]] == ["openai", "claude"]
        turned = await books.find("default", ["s1"], MODELS[::-1], "explain-1")
        assert [one.provider for one in turned["s1"]] == ["claude", "openai"]
        assert await books.find("other", ["s1"], MODELS, "explain-1") == {}
        assert await books.find("default", ["s1"], MODELS, "explain-2") == {}
        assert await books.find("default", ["s1"], [("ollama", "gpt")], "explain-1") == {}

    keeping(ledger, work)


def test_two_providers_of_one_models_name_keep_an_answer_each(ledger):
    models = (("openai", "same"), ("claude", "same"))

    async def work(books: LedgerBooks) -> None:
        both = bought(model="same"), bought(provider="claude", model="same")
        await books.write(*both)
        assert await books.find("default", ["s1"], models, "explain-1") == {"s1": list(both)}
        asked = replace(wanted(answers=2), models=models)
        assert grants(await books.write(reserve(wanted=asked))) == [Grant.BOUGHT]
        books.count_hits(both[1:])

    keeping(ledger, work)
    assert {share.provider: share.hits for share in ledger.cache_shares()} == {"openai": 0, "claude": 1}


def test_while_one_asks_about_a_subject_another_owner_waits(ledger):
    async def work(books: LedgerBooks) -> None:
        other, asked = ledger.books(), reserve()
        assert grants(await books.write(asked)) == [Grant.GRANTED]
        assert grants(await books.write(reserve(provider="claude", model="haiku"))) == [Grant.GRANTED]
        assert grants(await other.write(reserve())) == [Grant.TAKEN]
        assert grants(await other.write(Look(wanted()), reserve("s2"))) == [Grant.TAKEN, Grant.GRANTED]
        await books.write(settled(asked), bought())
        (told,) = await other.write(Look(wanted()))
        assert told == Told(Grant.BOUGHT, (bought(),))
        (told,) = await other.write(Look(wanted(answers=2)))
        assert told == Told(Grant.TAKEN, (bought(),))
        await other.close()

    keeping(ledger, work)


def test_calls_that_want_no_answer_of_others_wait_for_nobody(ledger):
    async def work(books: LedgerBooks) -> None:
        other = ledger.books()
        assert grants(await books.write(reserve("embedding", wanted=None))) == [Grant.GRANTED]
        assert grants(await other.write(reserve("embedding", wanted=None))) == [Grant.GRANTED]
        await other.close()

    keeping(ledger, work)


def test_one_that_failed_leaves_the_subject_to_others(ledger):
    async def work(books: LedgerBooks) -> None:
        other, asked = ledger.books(), reserve()
        await books.write(asked)
        await books.write(Settle(asked.call_id, "free", "refused 400"))
        assert grants(await other.write(Look(wanted()))) == [Grant.FREE]
        assert grants(await other.write(reserve())) == [Grant.GRANTED]
        await other.close()

    keeping(ledger, work)


@pytest.mark.parametrize(("ending", "gone"), [("settled", 40), ("unknown", 100), ("free", 0)])
def test_how_a_call_ends_decides_what_it_takes_from_the_budget(ledger, ending, gone):
    async def work(books: LedgerBooks) -> None:
        asked = reserve()
        await books.write(asked)
        await books.write(Settle(asked.call_id, ending, "x", 40))
        assert sums_agree(ledger) == (gone, 0)
        # a second end changes nothing, but for one that was unknown: its cost is known now
        await books.write(Settle(asked.call_id, "settled", "y", 30))
        assert sums_agree(ledger) == (30 if ending == "unknown" else gone, 0)

    keeping(ledger, work)


def test_the_budget_is_a_tenants_and_what_is_under_way_counts(ledger):
    async def work(books: LedgerBooks) -> None:
        first = [reserve(f"s{at}", worst=400) for at in range(2)]
        await books.write(*first)
        assert grants(await books.write(reserve("s9", worst=400))) == [Grant.FULL]
        assert grants(await books.write(reserve("s9", worst=1001))) == [Grant.SPENT]
        assert grants(await books.write(reserve("s9", worst=1000, tenant="beta", wanted=None))) == [Grant.GRANTED]
        told = await books.write(settled(first[0], 10), reserve("s9", worst=590), reserve("s8", worst=1))
        assert grants(told) == [None, Grant.GRANTED, Grant.FULL]
        assert sums_agree(ledger) == (10, 400 + 590 + 1000)

    keeping(ledger, work)


def test_calls_at_a_time_and_a_minute_are_of_all_processes(ledger):
    async def work(books: LedgerBooks) -> None:
        other, narrow = ledger.books(), Bounds(1000, 2, calls_a_minute=3)
        calls = [reserve(f"s{at}", 1, narrow) for at in range(5)]
        assert grants(await books.write(*calls[:2])) == [Grant.GRANTED] * 2
        assert grants(await other.write(calls[2])) == [Grant.BUSY]
        await books.write(settled(calls[0], 1), settled(calls[1], 1))
        assert grants(await other.write(calls[2], calls[3])) == [Grant.GRANTED, Grant.RATE]
        await other.close()

    keeping(ledger, work)


def test_what_is_asked_for_while_a_transaction_is_under_way_shares_the_next(ledger):
    async def work(books: LedgerBooks) -> tuple[int, int]:
        free = Bounds(10**9, 10**6)
        await asyncio.gather(*(books.write(reserve(f"s{at}", 1, free)) for at in range(300)))
        return books.groups, books.commits

    groups, commits = keeping(ledger, work)
    assert groups == 300
    assert commits < 60
    assert sums_agree(ledger) == (0, 300)


def test_books_serve_several_loops(ledger):
    books, found = ledger.books(), []

    def work(subject: str) -> None:
        async def run() -> None:
            found.extend(grants(await books.write(reserve(subject))))

        asyncio.run(run())

    threads = [threading.Thread(target=work, args=(f"s{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Grant.GRANTED] * 4
    books.close_now()


def test_a_database_that_is_gone_is_said_to_everyone_who_waits(ledger):
    async def work(books: LedgerBooks) -> None:
        with ledger.database.writing() as connection:
            connection.execute(sa.text("DROP TABLE ai_calls"))
        told = await asyncio.gather(*(books.write(reserve(f"s{at}")) for at in range(3)), return_exceptions=True)
        assert all(isinstance(one, StoreUnavailable) for one in told)

    keeping(ledger, work)


def test_closed_books_write_what_waited_and_take_no_more(ledger):
    async def work() -> None:
        books = ledger.books()
        written = books.write(reserve())
        await books.close()
        assert grants(await written) == [Grant.GRANTED]
        with pytest.raises(StoreUnavailable):
            await books.write(reserve())

    asyncio.run(work())


def leave_open(where: str) -> None:
    """A process that reserves two calls and ends without a word."""

    async def run() -> None:
        await open_ledger(where).books().write(reserve("s1"), reserve("s2"))

    asyncio.run(run())


def test_calls_of_a_process_that_is_gone_are_unknown_and_its_subjects_free(ledger, tmp_path):
    child = in_another_process(leave_open, address(tmp_path))
    child.join(60)
    assert sums_agree(ledger) == (0, 200)

    async def work(books: LedgerBooks) -> None:
        assert grants(await books.write(Look(wanted("s1")))) == [Grant.FREE]
        assert sums_agree(ledger) == (200, 0)
        assert grants(await books.write(reserve("s1", worst=801))) == [Grant.SPENT]
        assert grants(await books.write(reserve("s1", worst=800))) == [Grant.GRANTED]

    keeping(ledger, work)
    (row,) = ledger.usage()
    assert (row.unknown, row.unknown_microusd, row.open) == (2, 200, 1)


def test_a_call_that_is_long_over_is_unknown_whoever_holds_it(ledger):
    async def work(books: LedgerBooks) -> None:
        await books.write(reserve("s1", seconds=-1.0))
        assert grants(await books.write(reserve("s2"))) == [Grant.GRANTED]
        assert sums_agree(ledger) == (100, 100)

    keeping(ledger, work)


def spend(where: str, number: int, budget: int) -> None:
    """A process that buys until nothing is left: each call may cost 100 and costs 37."""

    async def run() -> None:
        books = open_ledger(where).books()
        spent, at = 0, 0
        while spent < 3:
            calls = [reserve(f"{number}-{at + one}", 100, Bounds(budget, 1000)) for one in range(5)]
            told = await asyncio.gather(*(books.write(call) for call in calls))
            granted = [call for call, (one,) in zip(calls, told, strict=True) if one.grant is Grant.GRANTED]
            spent += all(one.grant is Grant.SPENT for (one,) in told)
            await asyncio.gather(*(books.write(settled(call, 37)) for call in granted))
            at += len(calls)
        await books.close()

    asyncio.run(run())


@pytest.mark.parametrize(("processes", "budget"), [(3, 2_000), pytest.param(8, 50_000, marks=pytest.mark.acceptance)])
def test_processes_that_compete_spend_the_budget_and_not_a_micro_usd_more(ledger, tmp_path: Path, processes, budget):
    children = [in_another_process(spend, address(tmp_path), number, budget) for number in range(processes)]
    for child in children:
        child.join(240)
        assert child.exitcode == 0
    gone, open_now = sums_agree(ledger)
    assert open_now == 0
    assert budget - 100 < gone <= budget
    assert sum(row.cost_microusd for row in ledger.usage()) == gone


def test_uses_of_an_answer_are_counted_and_old_ones_can_be_cleared(ledger):
    async def work(books: LedgerBooks) -> None:
        await books.write(bought(), bought("s2"), bought(provider="claude", model="haiku"))
        found = await books.find("default", ["s1"], MODELS, "explain-1")
        books.count_hits(found["s1"][:1])
        books.count_hits(found["s1"][:1])

    keeping(ledger, work)
    shares = {share.model: share for share in ledger.cache_shares()}
    assert (shares["gpt"].answers, shares["gpt"].hits, shares["haiku"].hits) == (2, 2, 0)
    assert shares["gpt"].size_bytes > 0
    assert ledger.clear_answers(older_than_s=3600) == 0
    assert ledger.clear_answers("default", model="gpt") == 2
    assert ledger.clear_answers("other") == 0
    assert [share.model for share in ledger.cache_shares("default")] == ["haiku"]
