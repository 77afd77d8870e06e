"""Kafka: the contract on a real broker."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from vcf_pipeline.adapters.broker.kafka import KafkaBroker, KafkaOptions
from vcf_pipeline_tests.adapters.broker.contract import BrokerContract, Opened

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
