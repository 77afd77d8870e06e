"""A real Kafka broker, started once for all tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline_tests.adapters.broker.kafka_server import KafkaServer, NoServer


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """From Maven Central's jars; it may be killed, and is started again for the next test that asks."""
    try:
        server = KafkaServer(Path(tmp_path_factory.mktemp("kafka")))
        server.start()
    except NoServer as reason:
        pytest.skip(str(reason))
    yield server
    server.kill()
