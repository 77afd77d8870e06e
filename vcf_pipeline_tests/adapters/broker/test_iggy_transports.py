"""How the Iggy adapter reaches a real server: TCP, WebSocket, QUIC and HTTP, each plain and with TLS; by token.

Needs `iggy-server` on PATH, since certificates are the server's settings; `openssl` makes them. Not here: the contract
(test_iggy_real.py); what is refused before anything is sent (test_iggy.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline_tests.adapters.broker.contract import MUCH
from vcf_pipeline_tests.adapters.broker.iggy_server import PASSWORD, USER, IggyServer, NoIggyServer

TOPIC = variants_topic("default")
TRANSPORTS = ["tcp", "websocket", "quic", "http"]
Make = Callable[..., IggyBroker]


def started(folder: Path, **settings: str) -> IggyServer:
    try:
        server = IggyServer(folder, **settings)
        server.start()
    except NoIggyServer as reason:
        pytest.skip(str(reason))
    return server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IggyServer]:
    server = started(tmp_path_factory.mktemp("iggy") / "plain")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem and, signed by it for this machine, cert.pem and key.pem."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the certificate (Debian: apt-get install openssl)")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for words in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ours",
        f"req {key} -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[IggyServer]:
    """TLS on every port."""
    settings: dict[str, str] = {}
    for part in ("TCP_TLS", "WEBSOCKET_TLS", "HTTP_TLS", "QUIC_CERTIFICATE"):
        settings |= {f"IGGY_{part}_CERT_FILE": str(authority / "cert.pem")}
        settings |= {f"IGGY_{part}_KEY_FILE": str(authority / "key.pem")}
        settings |= {} if part == "HTTP_TLS" else {f"IGGY_{part}_SELF_SIGNED": "false"}
        settings |= {} if part == "QUIC_CERTIFICATE" else {f"IGGY_{part}_ENABLED": "true"}
    server = started(tmp_path_factory.mktemp("iggy") / "secured", **settings)
    yield server
    server.kill()


def address_of(server: IggyServer, transport: str) -> str:
    return f"127.0.0.1:{getattr(server, transport)}"


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[IggyBroker] = []

    def make(server: IggyServer, transport: str, **more: object) -> IggyBroker:
        given = {"username": USER, "password": PASSWORD, "http_url": server.http_url, "connect_timeout_s": 10.0} | more
        prefix = f"test-{uuid.uuid4().hex[:12]}"
        made.append(IggyBroker(IggyOptions(address_of(server, transport), transport, prefix=prefix, **given)))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


def assert_sends_and_reads(broker: IggyBroker) -> None:
    bodies = [b"a", b"", os.urandom(700_000)]
    broker.ensure_topics([TOPIC])
    assert list(broker.append(TOPIC, 1, bodies)) == [0, 1, 2]
    assert [message.body for message in broker.read(TOPIC, 1, 0, 2, MUCH)] == bodies
    assert [message.offset for message in broker.wait({(TOPIC, 1): 2}, 1.0, MUCH)] == [2]
    assert broker.health().is_healthy


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_sends_and_reads(plain: IggyServer, make: Make, transport: str) -> None:
    broker = make(plain, transport)
    assert_sends_and_reads(broker)
    assert broker.health().details.get("certificate") == ("not checked" if transport == "quic" else None)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wrong_password_is_told_on_every_transport(plain: IggyServer, make: Make, transport: str) -> None:
    with pytest.raises(BadSetting) as raised:
        make(plain, transport, password="another-one").ensure_topics([TOPIC])
    assert raised.value.code == "LOGIN_REFUSED"


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
def test_tls_trusts_the_authority_that_a_setting_names(
    secured: IggyServer, authority: Path, make: Make, transport: str
) -> None:
    # topics are made over HTTPS here, whose authority is the same file
    assert_sends_and_reads(make(secured, transport, tls=True, tls_ca=str(authority / "ca.pem")))


@pytest.mark.parametrize("transport", ["quic", "http"])
def test_tls_trusts_what_the_machine_trusts(secured: IggyServer, authority: Path, transport: str) -> None:
    """In a process of its own, since the environment says what the machine trusts."""
    words = [address_of(secured, transport), transport, USER, PASSWORD, secured.http_url, uuid.uuid4().hex]
    environment = os.environ | {"SSL_CERT_FILE": str(authority / "ca.pem")}
    done = subprocess.run(
        [sys.executable, "-c", REACHES, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[0]", "[b'a']"], done.stderr


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certificate_that_nobody_trusts_is_refused(secured: IggyServer, make: Make, transport: str) -> None:
    with pytest.raises(BrokerUnavailable) as raised:
        make(secured, transport, tls=True).end_offsets(TOPIC)
    assert "trusts its certificate" in raised.value.message or "TLS_CA" in raised.value.message


def test_a_token_logs_in_on_every_transport(plain: IggyServer, make: Make) -> None:
    token = _token_of(plain)
    for transport in TRANSPORTS:
        assert_sends_and_reads(make(plain, transport, username="", password="", token=token))


def _token_of(server: IggyServer) -> str:
    def asked(path: str, body: dict[str, object], bearer: str = "") -> dict[str, object]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        request = urllib.request.Request(f"{server.http_url}{path}", json.dumps(body).encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
            return dict(json.loads(answer.read()))

    bearer = asked("/users/login", {"username": USER, "password": PASSWORD})["access_token"]["token"]  # type: ignore[index]
    return str(asked("/personal-access-tokens", {"name": "test", "expiry": 0}, bearer)["token"])


REACHES = """
import sys
from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.domain.stream.topics import variants_topic
address, transport, user, password, http_url, prefix = sys.argv[1:]
options = IggyOptions(address, transport, user, password, tls=True, http_url=http_url, prefix=prefix)
broker, topic = IggyBroker(options), variants_topic("default")
broker.ensure_topics([topic])
print(list(broker.append(topic, 0, [b"a"])))
print([message.body for message in broker.read(topic, 0, 0, 0, 1 << 20)])
broker.close()
"""
