"""Kafka: the contract on librdkafka's mock cluster, always."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vcf_pipeline.adapters.broker.kafka import KafkaBroker, KafkaOptions
from vcf_pipeline_tests.adapters.broker.contract import BrokerContract, Opened
from vcf_pipeline_tests.adapters.broker.mock_cluster import MockCluster, NoMock, on_mock

NOT_ON_THE_MOCK = {
    "test_topics_are_described_as_the_topology_made_them": "it answers no DescribeConfigs",
    "test_a_topic_gets_the_partitions_that_the_topology_has_grown_and_keeps_what_it_holds": "it adds no partitions",
    "test_a_topic_that_has_more_than_the_topology_is_never_made_smaller": "it answers no DescribeConfigs",
}
"""What librdkafka's mock cluster cannot do; test_kafka_real.py does it on a real one."""

Make = Callable[..., KafkaBroker]


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    try:
        made = MockCluster()
    except NoMock as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.fixture
def make(cluster: MockCluster, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Brokers with a prefix of the test's own."""
    made: list[KafkaBroker] = []

    def make(**options: object) -> KafkaBroker:
        prefix = f"p{abs(hash(request.node.nodeid)) % 10**12}"
        made.append(on_mock(KafkaBroker(KafkaOptions(cluster.address, prefix, **options)), cluster))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


class TestKafkaBrokerOnTheMock(BrokerContract):
    @pytest.fixture
    def opened(self, make: Make, request: pytest.FixtureRequest) -> Opened:
        reason = NOT_ON_THE_MOCK.get(request.node.name)
        if reason:
            pytest.skip(f"librdkafka's mock cluster: {reason}; the real broker runs this one")
        return lambda: make(max_message_bytes=1 << 20)
