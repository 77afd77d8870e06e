"""The breaker's states, by a clock of the test's own."""

from __future__ import annotations

from vcf_pipeline.domain.breaker import Breaker, Pauses, State


def test_one_failure_opens_it_and_its_pause_doubles_with_every_failure_in_a_row():
    breaker = Breaker(pauses=Pauses(first_s=1.0, most_s=5.0))
    pauses = []
    for _ in range(5):
        breaker = breaker.failed(100.0)
        assert breaker.state is State.OPEN
        pauses.append(breaker.until - 100.0)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_after_the_pause_exactly_one_probe_goes():
    breaker = Breaker(pauses=Pauses(first_s=1.0)).failed(0.0)
    assert breaker.probed(0.9) is None
    half_open = breaker.probed(1.0)
    assert half_open is not None
    assert half_open.state is State.HALF_OPEN
    assert half_open.probed(1.0) is None
    assert half_open.probed(99.0) is None


def test_a_probe_that_succeeds_closes_it_and_one_that_fails_makes_it_rest_longer():
    half_open = Breaker(pauses=Pauses(first_s=1.0)).failed(0.0).probed(1.0)
    assert half_open is not None
    assert half_open.succeeded() == Breaker(pauses=Pauses(first_s=1.0))
    again = half_open.failed(1.0)
    assert (again.state, again.until) == (State.OPEN, 3.0)


def test_a_closed_one_is_not_probed():
    assert Breaker().probed(1e9) is None


def test_a_thousand_failures_do_not_overflow():
    breaker = Breaker()
    for _ in range(1000):
        breaker = breaker.failed(0.0)
    assert breaker.until == breaker.pauses.most_s
