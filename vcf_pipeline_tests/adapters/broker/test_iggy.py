"""The Iggy adapter on our stub of a server: the contract, and what goes wrong between the two.

Not here: a real server (test_iggy_real.py), addresses (domain/stream).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.adapters.broker.iggy_errors import WRONG_VERSION
from vcf_pipeline.domain.errors import BadSetting, BrokerTimeout, BrokerUnavailable, BrokerUnfit, OffsetLost
from vcf_pipeline.testing import iggy_wire as wire
from vcf_pipeline.testing.iggy_stub import PASSWORD, TOKEN, USER, IggyStub
from vcf_pipeline_tests.adapters.broker.contract import MUCH, BrokerContract, Opened, bodies_of
from vcf_pipeline_tests.adapters.broker.iggy_traps import TOPIC, IggyTraps
from vcf_pipeline_tests.programs import wait_until

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
        given = {"address": stub.address, "username": USER, "password": PASSWORD, "http_url": stub.http_url, **options}
        made.append(IggyBroker(IggyOptions(**given)))
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


@pytest.fixture
def broker(make: Make) -> IggyBroker:
    broker = make()
    broker.ensure_topics([TOPIC])
    return broker


class TestAnswersThatDoNotCome:
    """At least once: what was stored and not confirmed is sent again, and the offsets are those of the confirmed."""

    @pytest.mark.parametrize("fault", ["lose_answer", "cut_answer"])
    def test_a_lost_answer_leaves_a_double_and_the_confirmed_offset_is_the_second(
        self, stub: IggyStub, broker: IggyBroker, fault: str
    ) -> None:
        broker.append(TOPIC, 0, [b"a"])
        getattr(stub, fault)(wire.SEND)
        assert list(broker.append(TOPIC, 0, [b"b"])) == [2]
        assert bodies_of(broker) == [b"a", b"b", b"b"]

    def test_a_lost_answer_to_a_read_is_asked_for_again(self, stub: IggyStub, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        assert bodies_of(broker) == [b"a"]
        stub.cut_answer(wire.POLL)
        assert bodies_of(broker) == [b"a"]

    def test_silence_after_a_send_is_unknown_and_the_message_is_there(self, stub: IggyStub, make: Make) -> None:
        broker = make(call_timeout_s=0.3)
        broker.ensure_topics([TOPIC])
        stub.swallow_answer(wire.SEND)
        with pytest.raises(BrokerTimeout) as raised:
            broker.append(TOPIC, 0, [b"a"])
        assert "may have landed" in raised.value.message
        assert bodies_of(broker) == [b"a"]
        assert list(broker.append(TOPIC, 0, [b"b"])) == [1]

    def test_a_stalled_server_is_well_and_takes_what_was_sent_when_it_goes_on(self, stub: IggyStub, make: Make) -> None:
        broker = make(call_timeout_s=0.3)
        broker.ensure_topics([TOPIC])
        with stub.stalled():
            with pytest.raises(BrokerTimeout):
                broker.append(TOPIC, 0, [b"a"])
            assert broker.health().is_healthy
            assert bodies_of(broker) == []
        wait_until(lambda: bodies_of(broker) == [b"a"], "what was sent to the stalled one")

    def test_a_cut_connection_is_made_anew(self, stub: IggyStub, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        stub.drop()
        assert list(broker.append(TOPIC, 0, [b"b"])) == [1]

    def test_a_port_that_never_answers_is_told_within_the_time_to_connect(self, make: Make) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            broker = make(address=address, connect_timeout_s=0.3)
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable) as raised:
                broker.append(TOPIC, 0, [b"a"])
            assert not broker.health().is_healthy
            assert time.monotonic() - started < 2.0
            assert "is no Iggy server" in raised.value.message


class TestVersions:
    def test_a_server_of_another_protocol_is_named_with_the_versions_that_would_do(self) -> None:
        with _served(IggyStub(protocol=(0, 12, 0))) as broker, pytest.raises(BrokerUnfit) as raised:
            broker.ensure_topics([TOPIC])
        assert raised.value.code == WRONG_VERSION
        assert "server accepts [0.12.0" in raised.value.message
        assert "apache/iggy:0.9.0" in raised.value.repair

    def test_a_server_that_calls_itself_another_version_is_refused(self) -> None:
        with _served(IggyStub(version="0.10.1")) as broker, pytest.raises(BrokerUnfit) as raised:
            broker.ensure_topics([TOPIC])
        assert raised.value.code == WRONG_VERSION
        assert raised.value.got == "a server of version 0.10.1"

    def test_a_server_that_cuts_the_login_may_be_of_another_version(self) -> None:
        with _served(IggyStub(protocol=(0, 0, 0))) as broker, pytest.raises(BrokerUnavailable) as raised:
            broker.ensure_topics([TOPIC])
        assert "one of another version" in raised.value.message

    def test_a_user_who_may_not_ask_is_served_all_the_same(self, stub: IggyStub, make: Make) -> None:
        stub.refuse(wire.STATS, wire.UNAUTHORIZED)
        broker = make()
        broker.ensure_topics([TOPIC])
        assert list(broker.append(TOPIC, 0, [b"a"])) == [0]

    def test_health_tells_version_and_durability(self, broker: IggyBroker) -> None:
        assert broker.health().details == {"version": "0.9.0-stub", "durability": "persisted"}


class TestReading:
    def test_nothing_is_committed_for_a_reader(self, stub: IggyStub, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        for _ in range(2):
            assert bodies_of(broker) == [b"a"]
        asked = set(stub.requests)
        assert wire.POLL in asked
        assert asked <= {wire.REGISTER, wire.PING, wire.STATS, wire.CLUSTER, wire.POLL, wire.GET_TOPIC, wire.SEND} | {
            wire.CREATE_STREAM,
            wire.CREATE_TOPIC,
        }

    def test_a_poll_asks_for_no_more_than_the_bytes_by_the_largest_message_seen(
        self, stub: IggyStub, broker: IggyBroker
    ) -> None:
        broker.append(TOPIC, 0, [os.urandom(1 << 20)] * 12)
        broker.read(TOPIC, 0, 0, 0, MUCH)
        stub.state.polled.clear()
        assert len(broker.read(TOPIC, 0, 0, 11, 3 << 20)) == 3
        assert max(count for count, _ in stub.state.polled) == 3
        assert max(size for _, size in stub.state.polled) < (3 << 20) + 4096

    def test_an_unknown_place_is_first_read_with_few_messages(self, stub: IggyStub, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"x"] * 100)
        assert len(broker.read(TOPIC, 0, 0, 99, MUCH)) == 100
        assert stub.state.polled[0][0] <= 8

    def test_what_retention_took_is_lost_with_the_first_that_is_left(self, stub: IggyStub, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"%d" % number for number in range(10)])
        stub.state.forget_before("vcf-pipeline-default", TOPIC.name, 0, 4)
        with pytest.raises(OffsetLost) as raised:
            broker.read(TOPIC, 0, 2, 9, MUCH)
        assert raised.value.first_available == 4
        with pytest.raises(OffsetLost):
            broker.wait({(TOPIC, 0): 0}, 1.0, MUCH)
        assert [message.body for message in broker.read(TOPIC, 0, 4, 9, MUCH)] == [b"4", b"5", b"6", b"7", b"8", b"9"]


class TestLoginAndTransport:
    def test_a_token_stands_for_user_and_password(self, make: Make) -> None:
        broker = make(username="", password="", token=TOKEN)
        broker.ensure_topics([TOPIC])
        assert list(broker.append(TOPIC, 0, [b"a"])) == [0]

    def test_a_wrong_token_is_one_clear_error(self, make: Make) -> None:
        with pytest.raises(BadSetting) as raised:
            make(token="no-such-token").ensure_topics([TOPIC])
        assert "VCF_PIPELINE_IGGY__TOKEN" in raised.value.message
        assert "no-such-token" not in raised.value.message

    @pytest.mark.parametrize("transport", ["quic", "http"])
    def test_a_transport_that_cannot_trust_a_file_says_so(self, transport: str) -> None:
        broker = IggyBroker(IggyOptions("127.0.0.1:1", transport, tls=True, tls_ca="/our/ca.pem"))
        with pytest.raises(BadSetting) as raised:
            broker.append(TOPIC, 0, [b"a"])
        assert "SSL_CERT_FILE" in raised.value.repair
        broker.close()

    def test_quic_checks_the_certificate_wherever_tls_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import apache_iggy

        asked: list[bool] = []
        config = apache_iggy.QuicConfig

        def noted(**options: object) -> object:
            asked.append(bool(options["validate_certificate"]))
            return config(**options)  # type: ignore[arg-type]

        monkeypatch.setattr(apache_iggy, "QuicConfig", noted)
        for tls in (True, False):
            broker = IggyBroker(IggyOptions("127.0.0.1:1", "quic", tls=tls, connect_timeout_s=0.2))
            health = broker.health()
            assert not health.is_healthy
            broker.close()
        assert asked == [True, False]

    def test_a_forked_process_is_told_to_be_started_instead(self, stub: IggyStub, broker: IggyBroker) -> None:
        done = subprocess.run(
            [sys.executable, "-c", FORKS, stub.address, USER, PASSWORD],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.splitlines() == ["[0]", "FORKED"], done.stderr
        assert bodies_of(broker) == [b"of the parent"]


FORKS = """
import os, sys
from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.domain.errors import PermanentError
from vcf_pipeline.domain.stream.topics import variants_topic
address, user, password = sys.argv[1:]
broker = IggyBroker(IggyOptions(address, username=user, password=password))
print(list(broker.append(variants_topic("default"), 0, [b"of the parent"])), flush=True)
child = os.fork()
if not child:
    try:
        broker.append(variants_topic("default"), 0, [b"of the child"])
    except PermanentError as problem:
        print(problem.code, flush=True)
    os._exit(0)
os.waitpid(child, 0)
broker.close()
"""


@contextlib.contextmanager
def _served(stub: IggyStub) -> Iterator[IggyBroker]:
    stub.start()
    broker = IggyBroker(IggyOptions(stub.address, username=USER, password=PASSWORD, http_url=stub.http_url))
    try:
        yield broker
    finally:
        broker.close()
        stub.kill()
