"""The scripted broker keeps the port's promises, and breaks them when told to."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.errors import BrokerTimeout, BrokerUnavailable, OffsetLost
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline.testing.scripted_broker import DIES, PAUSES, WORKS, ScriptedBroker
from vcf_pipeline_tests.adapters.broker.contract import TOPIC, BrokerContract, Opened, bodies_of


class TestScriptedBroker(BrokerContract):
    @pytest.fixture
    def opened(self) -> Opened:
        storage = ScriptedBroker(max_message_bytes=1 << 20)

        def open_again() -> ScriptedBroker:
            broker = ScriptedBroker(max_message_bytes=1 << 20)
            broker._logs, broker._changed = storage._logs, storage._changed
            return broker

        return open_again


def test_a_pause_times_out_but_the_message_has_landed_and_a_death_lands_nothing():
    broker = ScriptedBroker(appends=[WORKS, PAUSES, DIES])
    broker.ensure_topics([TOPIC])
    broker.append(TOPIC, 0, [b"a"])
    with pytest.raises(BrokerTimeout):
        broker.append(TOPIC, 0, [b"b"])
    with pytest.raises(BrokerUnavailable):
        broker.append(TOPIC, 0, [b"c"])
    broker.append(TOPIC, 0, [b"d"])
    assert bodies_of(broker) == [b"a", b"b", b"d"]


def test_what_retention_took_is_an_error_with_the_oldest_offset():
    broker = ScriptedBroker()
    topic = variants_topic("t")
    broker.ensure_topics([topic])
    broker.append(topic, 0, [b"a", b"b"])
    broker.expire(topic, 0, 1)
    with pytest.raises(OffsetLost) as lost:
        broker.read(topic, 0, 0, 1, 100)
    assert lost.value.first_available == 1
