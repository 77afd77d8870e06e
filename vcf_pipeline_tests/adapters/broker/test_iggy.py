"""The Iggy adapter on our stub of a server: the contract, and what goes wrong between the two.

Not here: a real server (test_iggy_real.py), addresses (domain/stream).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.testing.iggy_stub import PASSWORD, USER, IggyStub
from vcf_pipeline_tests.adapters.broker.contract import BrokerContract, Opened
from vcf_pipeline_tests.adapters.broker.iggy_traps import IggyTraps

Make = Callable[..., IggyBroker]


@pytest.fixture
def stub() -> Iterator[IggyStub]:
    stub = IggyStub()
    stub.start()
    yield stub
    stub.kill()


@pytest.fixture
def make(stub: IggyStub) -> Iterator[Make]:
    """Brokers of the stub; options beside."""
    made: list[IggyBroker] = []

    def make(**options: object) -> IggyBroker:
        given = {"username": USER, "password": PASSWORD, "http_url": stub.http_url, **options}
        made.append(IggyBroker(IggyOptions(stub.address, **given)))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


class TestOnTheStub(BrokerContract):
    @pytest.fixture
    def opened(self, make: Make) -> Opened:
        return make


class TestOnAStubThatKnowsTheDurabilityKeys(BrokerContract):
    @pytest.fixture
    def stub(self) -> Iterator[IggyStub]:
        stub = IggyStub(knows_durability=True)
        stub.start()
        yield stub
        stub.kill()

    @pytest.fixture
    def opened(self, make: Make) -> Opened:
        return lambda: make(http_url="http://127.0.0.1:1")


class TestTrapsOnTheStub(IggyTraps):
    @pytest.fixture
    def server(self, stub: IggyStub) -> IggyStub:
        return stub

    @pytest.fixture
    def account(self) -> tuple[str, str]:
        return USER, PASSWORD
