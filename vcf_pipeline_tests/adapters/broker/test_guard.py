"""Calls that can be left behind: frozen told from slow, threads that end."""

from __future__ import annotations

import threading
import time

import pytest

from vcf_pipeline.adapters.broker.guard import MOST_LEFT_BEHIND, Guard
from vcf_pipeline.domain.errors import BrokerTimeout, BrokerUnavailable
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline.testing.scripted_broker import ScriptedBroker

FROZEN_S = 0.2


@pytest.fixture
def broker() -> ScriptedBroker:
    broker = ScriptedBroker(call_timeout_s=5.0)
    broker.ensure_topics([CALLSETS])
    return broker


@pytest.fixture
def guard(broker: ScriptedBroker):
    guard = Guard(broker, FROZEN_S)
    yield guard
    broker.restart()
    guard.close()


def append(broker: ScriptedBroker):
    return lambda: broker.append(CALLSETS, 0, [b"x"])


def test_what_the_call_answers_and_what_it_raises_come_through(guard: Guard, broker: ScriptedBroker):
    assert list(guard.call(append(broker))) == [0]
    broker.die()
    with pytest.raises(BrokerUnavailable):
        guard.call(append(broker))


def test_a_slow_call_whose_pings_are_answered_is_waited_for(guard: Guard, broker: ScriptedBroker):
    broker.slow(4 * FROZEN_S)
    assert list(guard.call(append(broker))) == [0]


def test_a_frozen_broker_is_left_long_before_its_own_timeout_and_the_message_may_land(
    guard: Guard, broker: ScriptedBroker
):
    broker.freeze()
    started = time.monotonic()
    with pytest.raises(BrokerTimeout, match="not to a ping either"):
        guard.call(append(broker))
    assert time.monotonic() - started < 4.0
    broker.restart()
    assert broker.end_offsets(CALLSETS)[0] == 1


def test_a_broker_that_freezes_in_the_middle_of_a_slow_call_is_left_too(guard: Guard, broker: ScriptedBroker):
    broker.slow(1.0)
    threading.Timer(0.1, broker.freeze).start()
    with pytest.raises(BrokerTimeout):
        guard.call(append(broker))


def test_calls_that_hang_are_bounded(guard: Guard, broker: ScriptedBroker):
    broker.freeze()
    for _ in range(MOST_LEFT_BEHIND):
        with pytest.raises(BrokerTimeout, match="ping"):
            guard.call(append(broker))
    with pytest.raises(BrokerTimeout, match="earlier calls"):
        guard.call(append(broker))
    broker.restart()
    deadline = time.monotonic() + 10
    while guard._hanging and any(not job.done.is_set() for job in guard._hanging):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(guard.call(append(broker))) == [MOST_LEFT_BEHIND]


def test_whoever_gives_up_does_not_wait(guard: Guard, broker: ScriptedBroker):
    broker.gate.clear()
    with pytest.raises(BrokerTimeout):
        guard.call(append(broker), lambda: True)
    broker.gate.set()


def test_a_probe_of_a_frozen_broker_ends_and_only_one_is_on_its_way(guard: Guard, broker: ScriptedBroker):
    assert guard.probe().is_healthy
    broker.freeze()
    assert "no answer for" in guard.probe().reason
    assert "last ping" in guard.probe().reason


def test_closing_ends_its_threads(broker: ScriptedBroker):
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    guard = Guard(broker, FROZEN_S)
    guard.call(append(broker))
    (worker,) = set(threading.enumerate()) - before
    guard.close()
    assert not worker.is_alive()
