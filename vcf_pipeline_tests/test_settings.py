"""Settings of brokers: what may be given, under which names, and what an error shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcf_pipeline.cli.doctor import settings_in_force
from vcf_pipeline.domain.errors import BadSetting, UnknownSetting
from vcf_pipeline.settings import TICK_TIMEOUT, Settings, dagster_environment, load_settings, seconds_of_a_tick
from vcf_pipeline.wiring import Control


def loaded(folder: Path, **environ: str) -> Settings:
    return load_settings(environ, home=folder / "home")


def test_no_broker_is_configured_by_default(tmp_path: Path):
    settings = loaded(tmp_path)
    assert settings.iggy.address is None
    assert settings.kafka.bootstrap_servers == ""
    assert settings.stream.prefix == "vcf-pipeline"


def test_the_names_of_vcf_agent_are_understood_and_ours_win(tmp_path: Path):
    settings = loaded(
        tmp_path,
        IGGY_HOST="there",
        IGGY_QUIC_PORT="99",
        IGGY_STREAM_NAME="lab",
        KAFKA_BOOTSTRAP_SERVERS="there:9092",
        KAFKA_TOPIC_NAME="variants",
    )
    address = settings.iggy.address
    assert address is not None
    assert (address.transport, address.host_and_port) == ("tcp", "there:8090")
    assert (settings.iggy.prefix, settings.kafka.prefix) == ("lab", "variants")
    assert settings.kafka.bootstrap_servers == "there:9092"
    both = loaded(tmp_path, IGGY_HOST="there", VCF_PIPELINE_IGGY__URL="iggy+quic://here", IGGY_QUIC_PORT="99")
    assert both.iggy.address is not None
    assert both.iggy.address.host_and_port == "here:99"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VCF_PIPELINE_IGGY__URL", "mqtt://u:sesame@host"),
        ("VCF_PIPELINE_KAFKA__SECURITY_PROTOCOL", "sesame"),
        ("VCF_PIPELINE_KAFKA__PREFIX", "a b"),
        ("VCF_PIPELINE_STREAM__PREFIX", ""),
        ("VCF_PIPELINE_STREAM__SPOOL_BYTES", "1"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_with_the_variables_name(tmp_path: Path, name: str, value: str):
    with pytest.raises(BadSetting) as error:
        loaded(tmp_path, **{name: value})
    assert str(error.value).startswith(f"{name}: expected")
    assert "u:sesame" not in str(error.value)


def test_an_unknown_variable_of_a_broker_gets_the_nearest_name(tmp_path: Path):
    with pytest.raises(UnknownSetting, match="VCF_PIPELINE_IGGY__URL"):
        loaded(tmp_path, VCF_PIPELINE_IGGY__URI="iggy://host")


def test_secrets_are_shown_nowhere(tmp_path: Path):
    settings = loaded(
        tmp_path,
        VCF_PIPELINE_IGGY__URL="iggy://u:sesame@host",
        VCF_PIPELINE_IGGY__TOKEN="sesame",
        VCF_PIPELINE_KAFKA__SASL_PASSWORD="sesame",
    )
    shown = " ".join(f"{name} {value}" for name, value, _ in settings_in_force(settings))
    assert "iggy://u:***@host:8090" in shown
    assert "sesame" not in shown + repr(settings)


def test_kafkas_security_is_in_its_clients_own_words(tmp_path: Path):
    assert loaded(tmp_path).kafka.security == {}
    settings = loaded(
        tmp_path,
        VCF_PIPELINE_KAFKA__SECURITY_PROTOCOL="sasl_ssl",
        VCF_PIPELINE_KAFKA__SASL_USERNAME="anna",
        VCF_PIPELINE_KAFKA__SASL_PASSWORD="sesame",
    )
    assert settings.kafka.security == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "anna",
        "sasl.password": "sesame",
    }


def test_a_pinned_broker_without_an_address_says_which_variable_is_missing(tmp_path: Path):
    with Control(loaded(tmp_path), pin="iggy") as control, pytest.raises(BadSetting, match="VCF_PIPELINE_IGGY__URL"):
        _ = control.coordinator


def test_a_home_without_a_ledger_is_a_senders_where_the_broker_is_elsewhere(tmp_path: Path):
    with Control(loaded(tmp_path)) as control:
        assert control.has_ledger
    with Control(loaded(tmp_path, KAFKA_BOOTSTRAP_SERVERS="there:9092")) as control:
        assert not control.has_ledger
        _ = control.ledger
        assert control.has_ledger


@pytest.mark.parametrize("servers", ["kafka://there:9092", "there:9092,", "there:port", "me:pw@there:9092", "a b:9092"])
def test_kafkas_addresses_have_no_scheme_and_say_so_in_one_line(tmp_path: Path, servers: str):
    with pytest.raises(BadSetting, match=r"VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS: expected host:port"):
        loaded(tmp_path, VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS=servers)


def test_several_addresses_of_kafka_are_taken_with_their_blanks(tmp_path: Path):
    settings = loaded(tmp_path, VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS=" here:9092, [::1]:9093 ,there ")
    assert settings.kafka.bootstrap_servers == "here:9092,[::1]:9093,there"


def test_dagster_waits_for_a_tick_as_long_as_env_says_else_as_long_as_it_does_by_itself(tmp_path: Path):
    assert seconds_of_a_tick(dagster_environment(loaded(tmp_path))) == 300.0
    assert seconds_of_a_tick({}) == 60.0
    assert seconds_of_a_tick({"DAGSTER_GRPC_TIMEOUT_SECONDS": "90"}) == 90.0
    assert seconds_of_a_tick({TICK_TIMEOUT: "soon"}) == 60.0
