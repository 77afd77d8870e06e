"""The Iggy adapter on a real server: one that an address names, or an `iggy-server` that is started here.

Not here: what runs without a server, on the stub (test_iggy.py).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.domain.stream.iggy_address import IggyAddress
from vcf_pipeline_tests.adapters.broker.contract import BrokerContract, Opened
from vcf_pipeline_tests.adapters.broker.iggy_server import PASSWORD, USER, IggyServer, NoIggyServer
from vcf_pipeline_tests.adapters.broker.iggy_traps import IggyTraps


class Address(NamedTuple):
    address: str
    username: str
    password: str
    http_url: str
    transport: str = "tcp"
    tls: bool = False

    def options(self, prefix: str, **more: object) -> IggyOptions:
        patient = {"connect_timeout_s": 15.0, "call_timeout_s": 30.0}  # a login costs a slow hash on a busy machine
        given = patient | {
            "http_url": self.http_url,
            "prefix": prefix,
            "transport": self.transport,
            "tls": self.tls,
            **more,
        }
        return IggyOptions(self.address, username=self.username, password=self.password, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    given = os.environ.get("VCF_PIPELINE_TEST_IGGY")
    if given:
        named = IggyAddress.parse(given, "VCF_PIPELINE_TEST_IGGY")
        http = os.environ.get("VCF_PIPELINE_TEST_IGGY_HTTP", "")
        yield Address(named.host_and_port, named.username, named.password, http, named.transport, named.has_tls)
        return
    try:
        server = IggyServer(tmp_path_factory.mktemp("iggy") / "data")
        server.start()
    except NoIggyServer as reason:
        pytest.skip(str(reason))
    yield Address(server.address, USER, PASSWORD, server.http_url)
    server.kill()


class TestRealIggy(BrokerContract):
    @pytest.fixture
    def opened(self, address: Address) -> Iterator[Opened]:
        """Every test has streams of its own; nothing of a server's other users is touched."""
        prefix, made = f"test-{uuid.uuid4().hex[:12]}", []

        def open_one() -> IggyBroker:
            made.append(IggyBroker(address.options(prefix)))
            return made[-1]

        yield open_one
        for broker in made:
            broker.close()


@pytest.fixture(scope="module")
def our_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IggyServer]:
    """One that may be killed."""
    try:
        server = IggyServer(tmp_path_factory.mktemp("iggy") / "ours")
        server.start()
    except NoIggyServer as reason:
        pytest.skip(str(reason))
    yield server
    server.kill()


class TestTrapsOnARealServer(IggyTraps):
    @pytest.fixture
    def server(self, our_server: IggyServer) -> IggyServer:
        our_server.start()
        return our_server

    @pytest.fixture
    def account(self) -> tuple[str, str]:
        return USER, PASSWORD
