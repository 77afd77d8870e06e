"""Which broker the next batch goes to: at once away from one that failed, calmly back."""

from __future__ import annotations

import pytest

from vcf_pipeline.adapters.broker.routing import FIT_SCORE, Routing, Rules

RULES = Rules(failback_after_s=5.0, look_every_s=1.0)


@pytest.fixture
def routing() -> Routing:
    return Routing.over(["iggy", "kafka"], RULES).choose(0.0)


def well_for(routing: Routing, name: str, start: float, seconds: int) -> Routing:
    """A success a second."""
    for step in range(seconds + 1):
        routing = routing.succeeded(name, start + step, 1.0)
    return routing


def test_the_first_of_the_preference_is_used_while_it_works(routing: Routing):
    assert routing.current == "iggy"
    assert routing.succeeded("iggy", 1.0, 0.5).choose(2.0).current == "iggy"


def test_one_failure_sends_the_very_next_batch_to_the_other(routing: Routing):
    assert routing.failed("iggy", 1.0, "refused").choose(1.0).current == "kafka"


def test_with_none_left_there_is_no_choice_and_the_first_that_is_back_is_taken(routing: Routing):
    both = routing.failed("iggy", 1.0, "refused").failed("kafka", 1.0, "frozen").choose(1.0)
    assert both.current is None
    assert both.succeeded("kafka", 2.0, 1.0).choose(2.0).current == "kafka"
    assert both.succeeded("iggy", 2.0, 1.0).choose(2.0).current == "iggy"


def test_it_goes_back_once_the_preferred_has_been_well_for_a_while_and_not_before(routing: Routing):
    routing = routing.failed("iggy", 0.0, "refused").choose(0.0)
    routing = well_for(routing, "iggy", 10.0, 4)
    assert routing.choose(14.9).current == "kafka"
    routing = well_for(routing, "iggy", 15.0, 1)
    assert routing.choose(16.0).current == "iggy"


def test_a_broker_that_flaps_is_left_alone_for_longer(routing: Routing):
    routing = routing.choose(0.0)
    for moment in range(0, 40, 4):  # down, up, down again, each time well for less than the rule asks
        routing = routing.failed("iggy", float(moment), "refused").choose(float(moment))
        routing = well_for(routing, "iggy", moment + 1.0, 2).choose(moment + 3.9)
        assert routing.current == "kafka"
    assert routing.standing("iggy").score < FIT_SCORE
    one_failure = Routing.over(["iggy", "kafka"], RULES).choose(0.0).failed("iggy", 0.0, "refused")
    assert routing.standing("iggy").score < well_for(one_failure, "iggy", 1.0, 2).standing("iggy").score


def test_in_need_a_broker_that_was_just_ill_is_better_than_none(routing: Routing):
    routing = routing.failed("kafka", 0.0, "refused").succeeded("kafka", 1.0, 1.0)
    assert routing.failed("iggy", 2.0, "refused").choose(2.0).current == "kafka"


def test_those_that_rest_are_probed_after_their_pause_once_and_the_preferred_one_while_another_is_used(
    routing: Routing,
):
    routing = routing.failed("iggy", 0.0, "refused").choose(0.0)
    assert routing.probes(0.4)[1] == []
    routing, due = routing.probes(0.6)
    assert due == ["iggy"]
    assert routing.probes(0.6)[1] == []
    routing = routing.succeeded("iggy", 0.7, 1.0)
    assert routing.probes(0.8)[1] == []
    routing, due = routing.probes(1.8)
    assert due == ["iggy"]
    assert routing.choose(1.8).current == "kafka"


def test_it_is_settled_when_the_first_is_in_use_and_nobody_rests(routing: Routing):
    assert routing.is_settled
    failed = routing.failed("iggy", 0.0, "refused").choose(0.0)
    assert not failed.is_settled
    assert not failed.succeeded("iggy", 1.0, 1.0).is_settled
    assert well_for(failed, "iggy", 1.0, 6).choose(7.0).is_settled


def test_the_reason_of_a_failure_stands_until_it_is_well(routing: Routing):
    failed = routing.failed("iggy", 0.0, "refused")
    assert failed.standing("iggy").reason == "refused"
    assert failed.succeeded("iggy", 1.0, 2.5).standing("iggy").reason == ""
    assert failed.succeeded("iggy", 1.0, 2.5).standing("iggy").latency_ms == 2.5
