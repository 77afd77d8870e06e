"""Iggy's address: schemes, ports, who logs in; and that a password is never shown."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.errors import BadSetting
from vcf_pipeline.domain.stream.iggy_address import SCHEMES, IggyAddress


@pytest.mark.parametrize(
    ("text", "transport", "place", "has_tls"),
    [
        ("iggy://u:p@host:1", "tcp", "host:1", False),
        ("iggy://host", "tcp", "host:8090", False),
        ("iggy+tls://host", "tcp", "host:8090", True),
        ("iggy+quic://host", "quic", "host:8080", True),
        ("iggy+quic-unverified://host", "quic", "host:8080", False),
        ("iggy+http://host", "http", "host:3000", False),
        ("iggy+https://host:443", "http", "host:443", True),
        ("iggy+ws://host", "websocket", "host:8092", False),
        ("iggy+wss://[::1]", "websocket", "[::1]:8092", True),
    ],
)
def test_each_scheme_has_its_transport_and_port(text: str, transport: str, place: str, has_tls: bool):
    address = IggyAddress.parse(text, "HERE")
    assert (address.transport, address.host_and_port, address.has_tls) == (transport, place, has_tls)


def test_who_logs_in_stands_before_the_host_percent_signs_for_what_an_address_cannot_hold():
    address = IggyAddress.parse("iggy://anna:a%2Fb%40c@host", "HERE")
    assert (address.username, address.password) == ("anna", "a/b@c")
    assert IggyAddress.parse("iggy://host", "HERE").username == "iggy"


def test_the_quic_port_is_for_quic_alone():
    assert IggyAddress.parse("iggy+quic://host", "HERE", quic_port=99).port == 99
    assert IggyAddress.parse("iggy+quic://host:7", "HERE", quic_port=99).port == 7
    assert IggyAddress.parse("iggy://host", "HERE", quic_port=99).port == 8090


@pytest.mark.parametrize(
    "text",
    [
        "amqp://u:sesame@host:1",
        "u:sesame@host:1",
        "iggy://u:sesame@host:port",
        "iggy://u:ses/ame@host:1",
        "iggy://",
        "sesame",
    ],
)
def test_anything_else_is_one_line_that_shows_no_password(text: str):
    with pytest.raises(BadSetting) as error:
        IggyAddress.parse(text, "VCF_PIPELINE_IGGY__URL")
    message = str(error.value)
    assert message.startswith("VCF_PIPELINE_IGGY__URL: expected")
    assert "\n" not in message
    assert "ame" not in message.replace("same", "")
    assert "iggy://user:password@host:8090" in message


def test_shown_to_people_it_has_no_password():
    address = IggyAddress.parse("iggy+quic://anna:sesame@host", "HERE")
    assert str(address) == "iggy+quic://anna:***@host:8080"
    assert "sesame" not in repr(address)
    assert set(SCHEMES) > {"iggy", "iggy+quic", "iggy+http", "iggy+ws"}
