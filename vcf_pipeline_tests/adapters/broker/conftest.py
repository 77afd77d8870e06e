"""Kafka for tests: librdkafka's mock cluster, and a real broker started once for all that ask for it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from vcf_pipeline.adapters.broker.kafka import KafkaBroker, KafkaOptions
from vcf_pipeline_tests.adapters.broker.kafka_server import KafkaServer
from vcf_pipeline_tests.adapters.broker.mock_cluster import MockCluster, NoMock, on_mock
from vcf_pipeline_tests.adapters.broker.real_brokers import Between

MakeKafka = Callable[..., KafkaBroker]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def kafka_server(real: Callable[[str], Between]) -> KafkaServer:
    """From Maven Central's jars. Tests kill, freeze and wipe it, and leave it running."""
    server: KafkaServer = real("kafka").server
    return server


@pytest.fixture(scope="session")
def kafka_address(request: pytest.FixtureRequest) -> str:
    """Of VCF_PIPELINE_TEST_KAFKA, else of a broker started here."""
    named = os.environ.get("VCF_PIPELINE_TEST_KAFKA")
    return named or str(request.getfixturevalue("kafka_server").address)


@pytest.fixture
def prefix() -> str:
    """Of topics that are this test's own."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def real_kafka(request: pytest.FixtureRequest, prefix: str) -> Iterator[MakeKafka]:
    """Brokers on a real cluster; `address` names another one than the shared."""
    made: list[KafkaBroker] = []

    def make(**options: object) -> KafkaBroker:
        address = options.pop("address", None) or request.getfixturevalue("kafka_address")
        made.append(KafkaBroker(KafkaOptions(**{"bootstrap_servers": address, "prefix": prefix, **options})))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


@pytest.fixture(scope="module")
def mock_cluster() -> Iterator[MockCluster]:
    """Three nodes."""
    try:
        made = MockCluster(3)
    except NoMock as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.fixture
def mock_kafka(mock_cluster: MockCluster, prefix: str) -> Iterator[MakeKafka]:
    """Brokers on the mock cluster."""
    made: list[KafkaBroker] = []

    def make(**options: object) -> KafkaBroker:
        given = {"bootstrap_servers": mock_cluster.address, "prefix": prefix, **options}
        made.append(on_mock(KafkaBroker(KafkaOptions(**given)), mock_cluster))
        return made[-1]

    yield make
    for broker in made:
        broker.close()
