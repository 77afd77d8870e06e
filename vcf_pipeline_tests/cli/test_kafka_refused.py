"""`publish` and `topology` where Kafka cannot be used: one clear line that ends them, and never a secret in it.

Not here: which error is which (adapters/broker/test_kafka.py, test_kafka_real.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vcf_pipeline_tests.adapters.broker.kafka_server import USER, free_ports
from vcf_pipeline_tests.adapters.broker.real_brokers import Between
from vcf_pipeline_tests.cli.conftest import Cli
from vcf_pipeline_tests.stages.published import made_vcf

COMMANDS = ["publish", "topology"]


@pytest.fixture
def using(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Kafka by these settings, and no patience with it."""

    def use(**settings: str) -> None:
        monkeypatch.setenv("VCF_PIPELINE_STREAM__RECONNECT_S", "0")
        for name, value in settings.items():
            monkeypatch.setenv(f"VCF_PIPELINE_KAFKA__{name}", value)

    return use


def assert_one_line(cli: Cli, verb: str, folder: Path, code: int, *words: str) -> None:
    line = ["publish", made_vcf(folder, 3), "--broker", "kafka"] if verb == "publish" else ["topology", "show"]
    ended = cli(*line)
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert (ended.code, len(errors)) == (code, 1), ended.err
    for word in words:
        assert word in errors[0]
    assert "very-wrong" not in ended.err + ended.out


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_wrong_password(
    cli: Cli, using: Callable[..., None], real: Callable[[str], Between], tmp_path: Path, verb: str
) -> None:
    using(
        BOOTSTRAP_SERVERS=real("kafka").server.sasl_address,
        SECURITY_PROTOCOL="sasl_plaintext",
        SASL_MECHANISM="PLAIN",
        SASL_USERNAME=USER,
        SASL_PASSWORD="very-wrong",
    )
    assert_one_line(cli, verb, tmp_path, 2, "Invalid username or password", "__SASL_PASSWORD")


@pytest.mark.parametrize("verb", COMMANDS)
def test_an_address_where_nobody_is(cli: Cli, using: Callable[..., None], tmp_path: Path, verb: str) -> None:
    (port,) = free_ports(1)
    using(BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")
    assert_one_line(cli, verb, tmp_path, 4, f"127.0.0.1:{port}", "Connection refused", "BOOTSTRAP_SERVERS")


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_scheme(cli: Cli, using: Callable[..., None], tmp_path: Path, verb: str) -> None:
    using(BOOTSTRAP_SERVERS="kafka://127.0.0.1:9092")
    assert_one_line(cli, verb, tmp_path, 2, "expected host:port", "'kafka://127.0.0.1:9092'", "SECURITY_PROTOCOL")


def test_more_copies_than_brokers(
    cli: Cli, using: Callable[..., None], real: Callable[[str], Between], tmp_path: Path
) -> None:
    using(BOOTSTRAP_SERVERS=real("kafka").server.address, REPLICATION="2", PREFIX="too-many-copies")
    assert_one_line(cli, "publish", tmp_path, 4, "expected 2 brokers", "got 1", "KAFKA__REPLICATION")
