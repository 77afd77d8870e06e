"""Kafka on a real broker: the contract, and topics and passwords that will not do."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from vcf_pipeline.adapters.broker.kafka import KafkaBroker, KafkaOptions
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable, BrokerUnfit
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline_tests.adapters.broker.contract import BrokerContract, Opened
from vcf_pipeline_tests.adapters.broker.kafka_server import USER, KafkaServer

pytestmark = pytest.mark.xdist_group("real-brokers")

Make = Callable[..., KafkaBroker]
_numbers = itertools.count()


@pytest.fixture
def make(kafka_address: str) -> Iterator[Make]:
    """Brokers with a prefix of the test's own."""
    made: list[KafkaBroker] = []
    prefix = f"test-{os.getpid()}-{next(_numbers)}"

    def make(**options: object) -> KafkaBroker:
        made.append(KafkaBroker(KafkaOptions(kafka_address, prefix, **options)))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


class TestKafkaBroker(BrokerContract):
    @pytest.fixture
    def opened(self, make: Make) -> Opened:
        return lambda: make(max_message_bytes=1 << 20)


def altered(address: str, name: str, **config: str) -> None:
    """As an operator does it, with Kafka's own tools."""
    from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    admin.list_topics(timeout=10)
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(10)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"flush_messages": "1000000"}, "flush.messages is not 1"),
        ({"retention_bytes": "1000000"}, "dropped by size"),
        ({"cleanup_policy": "compact"}, "compact"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_topic_that_could_lose_what_it_acknowledged_is_refused_by_name(
    make: Make, kafka_address: str, config: dict[str, str], says: str
) -> None:
    make().ensure_topics([CALLSETS])
    name = make()._topics.name_of(CALLSETS)
    altered(kafka_address, name, **config)
    with pytest.raises(BrokerUnfit, match=says) as refused:
        make().ensure_topics([CALLSETS])
    assert name in refused.value.message
    assert refused.value.code == "TOPIC_NOT_DURABLE"


def test_more_copies_than_there_are_brokers_are_refused_and_no_topic_is_made(make: Make) -> None:
    with pytest.raises(BrokerUnavailable, match="expected 2 brokers for as many copies of a topic, got 1"):
        make(replication=2).ensure_topics([CALLSETS])
    assert make().describe_topics([CALLSETS]) == {CALLSETS: None}


def test_a_wrong_password_is_a_setting_to_mend_and_is_never_shown(kafka_server: KafkaServer) -> None:
    security = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
        "sasl.password": "very-wrong",
    }
    broker = KafkaBroker(KafkaOptions(kafka_server.sasl_address, "test-password", security=security))
    for _ in range(2):
        with pytest.raises(BadSetting, match=r"Invalid username or password.*__SASL_PASSWORD") as refused:
            broker.ensure_topics([CALLSETS])
        assert security["sasl.password"] not in refused.value.message
    assert "Invalid username or password" in broker.health().reason
    broker.close()
