"""The Iggy adapter on a real server: one that an address names, or an `iggy-server` that is started here.

Not here: what runs without a server, on the stub (test_iggy.py).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.domain.stream.iggy_address import IggyAddress
from vcf_pipeline_tests.adapters.broker.contract import BrokerContract, Opened

PASSWORD = "of-a-test"
HOW = (
    "no Iggy server: set VCF_PIPELINE_TEST_IGGY=iggy://user:password@host:8090 (and VCF_PIPELINE_TEST_IGGY_HTTP where "
    "its HTTP port is not 3000), or put `iggy-server` on PATH"
)


class IggyServer:
    """A process on free ports of the loopback, over one folder; may be killed, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tcp, self.http, self.quic, self.websocket = _free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("IGGY_")},
            "IGGY_SYSTEM_PATH": str(self.folder),
            "IGGY_PATH": str(self.folder),  # of 0.9.0 and later
            "IGGY_TCP_ADDRESS": f"127.0.0.1:{self.tcp}",
            "IGGY_HTTP_ADDRESS": f"127.0.0.1:{self.http}",
            "IGGY_QUIC_ADDRESS": f"127.0.0.1:{self.quic}",
            "IGGY_WEBSOCKET_ADDRESS": f"127.0.0.1:{self.websocket}",
            "IGGY_ROOT_USERNAME": "iggy",
            "IGGY_ROOT_PASSWORD": PASSWORD,
            "IGGY_SYSTEM_SHARDING_CPU_ALLOCATION": "1",
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["iggy-server"], cwd=self.folder.parent, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"{self.http_url}/ping", timeout=1) as answer:  # noqa: S310 - our own server
                    assert answer.status == 200
                return
            except OSError:
                assert self._process.poll() is None, "the server ended at once: its log lies beside its folder"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


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
    if shutil.which("iggy-server") is None:
        pytest.skip(HOW)
    server = IggyServer(tmp_path_factory.mktemp("iggy") / "data")
    server.start()
    yield Address(f"127.0.0.1:{server.tcp}", "iggy", PASSWORD, server.http_url)
    server.stop()


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
