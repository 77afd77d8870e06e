"""Whom to ask next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from vcf_pipeline.domain.annotation.provider_choice import (
    BAD_IN_A_ROW,
    PATIENCE_S,
    TOLERATED,
    ProviderState,
    next_free,
    order,
)
from vcf_pipeline.domain.breaker import State

A, B, C = (ProviderState(name) for name in "abc")


def names(states) -> list[str]:
    return [state.name for state in states]


def chosen(states: list[ProviderState], balance, times: int) -> Counter[str]:
    """Whoever is first, asked so many times, each call over before the next."""
    found: Counter[str] = Counter()
    by_name = {state.name: state for state in states}
    for _ in range(times):
        first = order(list(by_name.values()), balance, 0.0)[0]
        found[first.name] += 1
        by_name[first.name] = first.begun(0.0).ended()
    return found


def test_by_preference_the_first_that_can_be_asked_is_asked():
    assert names(order([A, B, C], "preference", 0.0)) == ["a", "b", "c"]
    assert names(order([A.out("no key"), B, C], "preference", 0.0)) == ["b", "c"]
    assert names(order([A, B, C], "preference", 0.0, without={"a", "c"})) == ["b"]


def test_turns_are_shared_by_weight():
    assert chosen([A, B, C], "round_robin", 30) == {"a": 10, "b": 10, "c": 10}
    assert chosen([replace(A, weight=3), B], "round_robin", 40) == {"a": 30, "b": 10}


def test_the_least_loaded_by_weight_is_first():
    busy = replace(A, open_calls=3)
    assert names(order([busy, replace(B, open_calls=2)], "least_loaded", 0.0)) == ["b", "a"]
    assert names(order([replace(busy, weight=4), replace(B, open_calls=2)], "least_loaded", 0.0)) == ["a", "b"]


def test_one_that_is_dead_rests_at_once_and_one_probe_goes_after_the_pause():
    dead = A.begun(0.0).failed(0.0, is_dead=True).ended()
    assert order([dead], "preference", 0.1) == []
    assert next_free([dead], 0.1) == dead.breaker.until
    probing = dead.begun(1.0)
    assert probing.breaker.state is State.HALF_OPEN
    assert order([probing], "preference", 1.0) == []
    assert order([probing.answered().ended()], "preference", 1.0)
    again = probing.failed(1.0, is_dead=False)
    assert again.breaker.until > 1.0 + (dead.breaker.until - 0.0)


def test_one_that_answers_with_errors_is_borne_for_some():
    state = A
    for _ in range(TOLERATED - 1):
        state = state.failed(0.0, is_dead=False)
        assert state.is_free(0.0)
    assert not state.failed(0.0, is_dead=False).is_free(0.0)
    assert state.answered().failed(0.0, is_dead=False).is_free(0.0)


def test_one_that_asks_for_a_pause_gets_it_and_has_not_failed():
    cooled = A.cooled(10.0, 2.5)
    assert not cooled.is_free(12.4)
    assert cooled.is_free(12.5)
    assert cooled.breaker.state is State.CLOSED
    assert next_free([cooled, B.out("x")], 10.0) == 12.5


def test_pauses_that_name_no_time_grow():
    once = A.cooled(0.0, None)
    assert once.cooled(once.cool_until, None).cool_until - once.cool_until > once.cool_until


def test_a_probe_that_was_given_up_says_nothing_and_may_go_again():
    probing = A.failed(0.0, is_dead=True).begun(1.0)
    assert probing.abandoned().is_free(1.0)
    assert probing.cooled(1.0, 1.0).is_free(2.0)


def test_answers_that_are_never_of_use_put_it_out():
    state = A
    for _ in range(BAD_IN_A_ROW - 1):
        state = state.answered_badly()
    assert state.is_free(0.0)
    assert not state.answered_well().answered_badly().unusable
    assert "BAD_ANSWER" in state.answered_badly().unusable


def test_one_that_has_failed_for_long_is_not_waited_for_but_its_probe_still_goes():
    state = A.failed(0.0, is_dead=True)
    assert next_free([state], 1.0) is not None
    assert next_free([state], PATIENCE_S + 1.0) is None
    assert order([state], "preference", PATIENCE_S + 1.0) == [state]
    assert next_free([state.begun(5.0).answered().failed(20.0, is_dead=True)], 21.0) is not None


def test_our_own_pause_is_no_failure():
    assert not A.paused(2.0).is_free(1.0)
    assert A.paused(2.0).is_free(2.0)
    assert A.paused(2.0).coolings == 0


def test_nobody_comes_free_where_all_are_out():
    assert next_free([A.out("x"), B], 0.0, without={"b"}) is None
