"""What goes wrong between the Iggy adapter and a server, as tests: the same on our stub and on a real server.

A test file subclasses IggyTraps and gives two fixtures: `server` (address, http_url, start, kill, restart, wipe,
frozen) and `account`, who may log in there. Not here: what every broker promises (contract.py).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.adapters.broker.iggy_errors import LOGIN_REFUSED, NOT_DURABLE
from vcf_pipeline.domain.errors import (
    BadSetting,
    BrokerTimeout,
    BrokerUnavailable,
    BrokerUnfit,
    MessageTooLarge,
    OffsetRegressed,
    StreamBroken,
    TopicMissing,
    TopicRecreated,
)
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline_tests.adapters.broker.contract import MUCH, bodies_of

TOPIC = variants_topic("default")
Make = Callable[..., IggyBroker]
LEAVES = Path(__file__).with_name("leaving_process.py")


def administer(server: Any, account: tuple[str, str], act: Callable[[Any], Awaitable[Any]]) -> None:
    """What an operator does with Iggy's own tools."""
    import apache_iggy as iggy

    async def main() -> None:
        login = iggy.AutoLogin.username_password(*account)
        client = iggy.IggyClient(iggy.TcpConfig(server_address=server.address, auto_login=login))
        await asyncio.wait_for(client.connect(), 10)
        await act(client)
        await asyncio.sleep(0.1)

    asyncio.run(main())


class IggyTraps:
    @pytest.fixture
    def prefix(self) -> str:
        """Streams of this test's own."""
        return f"test-{os.getpid()}-{time.monotonic_ns()}"

    @pytest.fixture
    def make(self, server: Any, account: tuple[str, str], prefix: str) -> Iterator[Make]:
        made: list[IggyBroker] = []

        def make(**options: Any) -> IggyBroker:
            user, password = account
            patient = {"connect_timeout_s": 5.0, "call_timeout_s": 10.0, "prefix": prefix}
            given = {"username": user, "password": password, "http_url": server.http_url, **patient, **options}
            made.append(IggyBroker(IggyOptions(server.address, **given)))
            return made[-1]

        yield make
        for broker in made:
            broker.close()

    @pytest.fixture
    def broker(self, make: Make) -> IggyBroker:
        broker = make()
        broker.ensure_topics([TOPIC])
        return broker

    # ---- topics

    def test_a_topic_of_the_servers_defaults_is_refused_by_every_door(
        self, server: Any, account: tuple[str, str], make: Make, prefix: str
    ) -> None:
        broker = make()
        broker.ensure_topics([TOPIC])
        other = variants_topic("other")
        http = broker.options.http

        async def make_stream(client: Any) -> None:
            await client.create_stream(f"{prefix}-other")

        administer(server, account, make_stream)
        http.create_topic(f"{prefix}-other", other.name, 10, int(604800e6), {"enforce_fsync": "true"})
        for call in (lambda: broker.ensure_topics([other]), lambda: broker.append(other, 0, [b"a"])):
            with pytest.raises(BrokerUnfit) as raised:
                call()
            assert raised.value.code == NOT_DURABLE
            assert "messages_required_to_save 1024" in raised.value.got
            assert "topology apply" in raised.value.repair
        assert broker.end_offsets(other)[0] == 0
        assert not broker.health().is_healthy
        assert broker.health().details["durability"] == "not persisted"
        assert "messages_required_to_save" in broker.describe_topics([other])[other].not_durable

    def test_a_purged_topic_is_a_regressed_one_said_once_and_read_from_its_start(
        self, server: Any, account: tuple[str, str], broker: IggyBroker, prefix: str
    ) -> None:
        broker.append(TOPIC, 0, [b"a", b"b", b"c"])
        life = broker.incarnation(TOPIC)
        administer(server, account, lambda client: client.purge_topic(f"{prefix}-default", TOPIC.name))
        with pytest.raises(OffsetRegressed):
            broker.wait({(TOPIC, 0): 3}, 5.0, MUCH)
        assert broker.incarnation(TOPIC) == life
        assert list(broker.append(TOPIC, 0, [b"d"])) == [0]
        assert bodies_of(broker) == [b"d"]

    def test_a_topic_made_again_is_another_life_and_a_wait_on_the_first_ends(
        self, server: Any, account: tuple[str, str], broker: IggyBroker, prefix: str, make: Make
    ) -> None:
        broker.append(TOPIC, 0, [b"a", b"b"])
        life = broker.incarnation(TOPIC)
        outcome: list[object] = []

        def wait() -> None:
            try:
                outcome.append(broker.wait({(TOPIC, 0): 2}, 20.0, MUCH))
            except StreamBroken as problem:
                outcome.append(problem)

        waiting = threading.Thread(target=wait)
        waiting.start()
        administer(server, account, lambda client: client.delete_topic(f"{prefix}-default", TOPIC.name))
        make().ensure_topics([TOPIC])
        waiting.join(20)
        assert isinstance(outcome[0], TopicMissing | TopicRecreated)
        assert broker.incarnation(TOPIC) != life
        assert list(broker.append(TOPIC, 0, [b"c"])) == [0]
        assert bodies_of(broker) == [b"c"]

    def test_a_server_that_lost_everything_says_that_the_topic_is_missing(
        self, server: Any, broker: IggyBroker
    ) -> None:
        broker.append(TOPIC, 0, [b"a"])
        life = broker.incarnation(TOPIC)
        server.wipe()
        with pytest.raises(TopicMissing):
            broker.read(TOPIC, 0, 0, 0, MUCH)
        broker.ensure_topics([TOPIC])
        assert broker.incarnation(TOPIC) != life
        assert list(broker.append(TOPIC, 0, [b"b"])) == [0]

    # ---- a server that dies or freezes

    def test_what_was_acknowledged_survives_the_power_and_so_does_the_incarnation(
        self, server: Any, broker: IggyBroker
    ) -> None:
        bodies = [b"%d" % number for number in range(50)]
        for body in bodies:
            broker.append(TOPIC, 0, [body])
        life = broker.incarnation(TOPIC)
        server.restart()
        assert bodies_of(broker) == bodies
        assert broker.incarnation(TOPIC) == life
        assert list(broker.append(TOPIC, 0, [b"next"])) == [50]

    def test_a_dead_server_is_told_at_once_and_found_again(self, server: Any, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        server.kill()
        started = time.monotonic()
        for call in (lambda: broker.append(TOPIC, 0, [b"b"]), lambda: broker.wait({(TOPIC, 0): 1}, 30.0, MUCH)):
            with pytest.raises(BrokerUnavailable):
                call()
        assert not broker.health().is_healthy
        assert time.monotonic() - started < 3.0
        server.start()
        broker.append(TOPIC, 0, [b"c"])
        assert bodies_of(broker) == [b"a", b"c"]

    def test_a_time_out_is_unknown_and_what_was_sent_lands(self, server: Any, broker: IggyBroker, make: Make) -> None:
        hasty = make(call_timeout_s=1.0)
        hasty.append(TOPIC, 0, [b"a"])
        hasty.wait({(TOPIC, 0): 1}, 0.0, MUCH)
        assert hasty.health().is_healthy
        with server.frozen():
            for call in (lambda: hasty.append(TOPIC, 0, [b"b"]), lambda: hasty.wait({(TOPIC, 0): 1}, 9.0, MUCH)):
                with pytest.raises(BrokerTimeout):
                    call()
            assert not hasty.health().is_healthy
        assert [message.body for message in broker.wait({(TOPIC, 0): 1}, 10.0, MUCH)] == [b"b"]
        assert list(hasty.append(TOPIC, 0, [b"c"])) == [2]

    def test_a_short_freeze_is_only_slow(self, server: Any, broker: IggyBroker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        is_frozen = threading.Event()

        def freeze() -> None:
            with server.frozen():
                is_frozen.set()
                time.sleep(0.3)

        freezing = threading.Thread(target=freeze)
        freezing.start()
        is_frozen.wait(5)
        assert list(broker.append(TOPIC, 0, [b"b"])) == [1]
        freezing.join()
        assert bodies_of(broker) == [b"a", b"b"]

    # ---- bad input

    def test_a_wrong_password_is_one_clear_error_without_it(self, make: Make) -> None:
        broker = make(password="not-the-right-one")
        with pytest.raises(BadSetting) as raised:
            broker.ensure_topics([TOPIC])
        assert raised.value.code == LOGIN_REFUSED
        assert "VCF_PIPELINE_IGGY__URL" in raised.value.message
        assert "not-the-right-one" not in raised.value.message
        assert "Invalid credentials" in broker.health().reason

    def test_a_message_over_the_clients_limit_is_too_large_also_where_ours_is_higher(self, make: Make) -> None:
        broker = make(max_message_bytes=100 << 20)
        broker.ensure_topics([TOPIC])
        with pytest.raises(MessageTooLarge) as raised:
            broker.append(TOPIC, 0, [bytes(64_000_001)])
        assert "at most 64000000 bytes" in raised.value.message
        assert broker.end_offsets(TOPIC)[0] == 0
        assert list(broker.append(TOPIC, 0, [bytes(64_000_000)])) == [0]
        assert len(bodies_of(broker)[0]) == 64_000_000

    def test_a_batch_of_many_requests_has_every_offset_and_reading_keeps_to_its_bytes(self, broker: IggyBroker) -> None:
        body = os.urandom(1 << 20)
        assert list(broker.append(TOPIC, 0, [body] * 20)) == list(range(20))
        assert len(broker.read(TOPIC, 0, 0, 19, 5 << 20)) == 5
        assert [message.offset for message in broker.read(TOPIC, 0, 7, 19, 3 << 20)] == [7, 8, 9]

    # ---- the end of a process

    def test_a_process_that_ends_right_after_a_call_ends_well(
        self, server: Any, account: tuple[str, str], broker: IggyBroker, prefix: str
    ) -> None:
        count = 8
        for _ in range(count):
            words = [sys.executable, str(LEAVES), server.address, *account, prefix]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, "sent\n", "")
        assert broker.end_offsets(TOPIC)[0] == count
