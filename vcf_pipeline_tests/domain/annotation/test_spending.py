"""Whether one more call may be made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.annotation.spending import Bounds, Grant, Reserve, Standing, decide


def asked(worst: int, budget: int = 1000, at_a_time: int = 8, a_minute: int = 0) -> Reserve:
    return Reserve("c", "default", "", "s", "openai", "m", worst, Bounds(budget, at_a_time, a_minute), 70.0)


def test_the_last_micro_usd_may_be_spent_and_not_one_more():
    assert decide(asked(10), Standing(gone_microusd=990)) is Grant.GRANTED
    assert decide(asked(11), Standing(gone_microusd=990)) is Grant.SPENT


def test_what_is_under_way_may_cost_less_so_that_it_is_waited_for():
    assert decide(asked(10), Standing(gone_microusd=900, open_microusd=95)) is Grant.FULL
    assert decide(asked(101), Standing(gone_microusd=900, open_microusd=95)) is Grant.SPENT


def test_a_call_that_costs_nothing_passes_a_spent_budget_and_a_budget_of_nothing_passes_no_call():
    assert decide(asked(0), Standing(gone_microusd=1000)) is Grant.GRANTED
    assert decide(asked(0, budget=0), Standing()) is Grant.SPENT
    assert decide(asked(1, budget=0), Standing()) is Grant.SPENT


def test_calls_at_a_time_and_in_a_minute_are_bounded():
    assert decide(asked(1, at_a_time=2), Standing(open_calls=2)) is Grant.BUSY
    assert decide(asked(1, a_minute=5), Standing(calls_in_minute=5)) is Grant.RATE
    assert decide(asked(1), Standing(calls_in_minute=5000)) is Grant.GRANTED


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1), st.booleans()), max_size=60), st.integers(0, 2000))
def test_no_order_of_calls_and_ends_passes_the_budget(calls, budget):
    gone, under_way = 0, []
    for worst, share, ends_first in calls:
        if ends_first and under_way:
            reserved, cost = under_way.pop()
            assert cost <= reserved
            gone += cost
        standing = Standing(gone, sum(reserved for reserved, _ in under_way), len(under_way))
        if decide(asked(worst, budget, at_a_time=10**6), standing) is Grant.GRANTED:
            under_way.append((worst, int(worst * share)))
        assert gone + sum(reserved for reserved, _ in under_way) <= budget
