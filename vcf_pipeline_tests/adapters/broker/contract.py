"""A broker's promises as tests. An adapter's test file subclasses BrokerContract and gives one fixture:
`opened`.

`opened()` opens the broker on the same storage each time it is called, so that a test can close it and look
again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from vcf_pipeline.adapters.broker.port import Broker
from vcf_pipeline.domain.errors import BrokerUnavailable, MessageTooLarge, TopicMissing
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL, TOPOLOGY, Topic, variants_topic
from vcf_pipeline.domain.stream.topology_diff import compared

Opened = Callable[[], Broker]
TOPIC = variants_topic("default")
MUCH = 1 << 30


def bodies_of(broker: Broker, topic: Topic = TOPIC, partition: int = 0) -> list[bytes]:
    return [message.body for message in broker.read(topic, partition, 0, MUCH, MUCH)]


class BrokerContract:
    """What every adapter keeps."""

    @pytest.fixture
    def broker(self, opened: Opened) -> Broker:
        broker = opened()
        broker.ensure_topics([*CONTROL, TOPIC])
        return broker

    def test_it_is_a_broker(self, broker: Broker) -> None:
        assert isinstance(broker, Broker)
        assert broker.name

    def test_a_topic_that_is_named_twice_is_made_once(self, opened: Opened) -> None:
        broker = opened()
        for _ in range(2):
            broker.ensure_topics([TOPIC, *CONTROL, TOPIC, CONTROL[0]])
        assert broker.end_offsets(TOPIC) == dict.fromkeys(range(TOPIC.rule.partitions), 0)
        assert list(broker.append(CONTROL[0], 0, [b"a"])) == [0]

    def test_messages_come_back_in_order_at_the_offsets_that_append_gave(self, broker: Broker) -> None:
        assert list(broker.append(TOPIC, 0, [b"a", b"b"])) == [0, 1]
        assert list(broker.append(TOPIC, 0, [b"c"])) == [2]
        messages = broker.read(TOPIC, 0, 0, 2, MUCH)
        assert [(message.offset, message.body) for message in messages] == [(0, b"a"), (1, b"b"), (2, b"c")]
        assert {(message.topic, message.partition) for message in messages} == {(TOPIC, 0)}
        assert {(message.broker, message.incarnation) for message in messages} == {
            (broker.name, broker.incarnation(TOPIC))
        }

    def test_first_and_last_are_both_inclusive_and_reading_again_gives_the_same(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"%d" % number for number in range(5)])
        for _ in range(2):
            assert [message.body for message in broker.read(TOPIC, 0, 1, 3, MUCH)] == [b"1", b"2", b"3"]

    def test_nothing_is_stored_past_the_end(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        assert broker.read(TOPIC, 0, 1, 9, MUCH) == []

    def test_partitions_count_for_themselves(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"a", b"b"])
        assert list(broker.append(TOPIC, 3, [b"c"])) == [0]
        ends = broker.end_offsets(TOPIC)
        assert (ends[0], ends[1], ends[3]) == (2, 0, 1)
        assert len(ends) == TOPIC.rule.partitions

    def test_tenants_and_control_topics_do_not_mix(self, broker: Broker) -> None:
        other = variants_topic("other")
        broker.ensure_topics([other])
        broker.append(TOPIC, 0, [b"mine"])
        broker.append(other, 0, [b"theirs"])
        broker.append(CALLSETS, 0, [b"control"])
        assert bodies_of(broker) == [b"mine"]
        assert bodies_of(broker, other) == [b"theirs"]
        assert bodies_of(broker, CALLSETS) == [b"control"]

    def test_any_bytes_are_a_body_also_none_at_all(self, broker: Broker) -> None:
        bodies = [b"", bytes(range(256)), b"\x00" * 100_000]
        broker.append(TOPIC, 0, bodies)
        assert bodies_of(broker) == bodies

    def test_ensuring_topics_again_changes_nothing(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        incarnation = broker.incarnation(TOPIC)
        broker.ensure_topics([*CONTROL, TOPIC])
        assert bodies_of(broker) == [b"a"]
        assert broker.incarnation(TOPIC) == incarnation

    def test_topics_are_described_as_the_topology_made_them(self, broker: Broker) -> None:
        missing = variants_topic("nobody")
        found = broker.describe_topics([TOPIC, CALLSETS, missing])
        assert found[missing] is None
        verdicts = {diff.topic: diff.verdict for diff in compared(broker.name, [TOPIC, CALLSETS, missing], found)}
        assert verdicts == {TOPIC: "same", CALLSETS: "same", missing: "missing"}
        assert [found[topic].partitions for topic in (TOPIC, CALLSETS)] == [10, 3]

    def test_a_topic_gets_the_partitions_that_the_topology_has_grown_and_keeps_what_it_holds(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.append(CALLSETS, 0, [b"a"])
        incarnation = broker.incarnation(CALLSETS)
        grown = replace(TOPOLOGY["vcf-callsets"], partitions=5)
        monkeypatch.setitem(TOPOLOGY, "vcf-callsets", grown)
        (diff,) = compared(broker.name, [CALLSETS], broker.describe_topics([CALLSETS]))
        assert diff.verdict == "smaller"
        for _ in range(2):
            broker.alter_topics([CALLSETS])
            (diff,) = compared(broker.name, [CALLSETS], broker.describe_topics([CALLSETS]))
            assert (diff.verdict, diff.found.partitions) == ("same", 5)
        broker.append(CALLSETS, 4, [b"b"])
        assert (bodies_of(broker, CALLSETS), bodies_of(broker, CALLSETS, 4)) == ([b"a"], [b"b"])
        assert broker.incarnation(CALLSETS) == incarnation
        with pytest.raises(TopicMissing):
            broker.alter_topics([variants_topic("nobody")])

    def test_a_topic_that_has_more_than_the_topology_is_never_made_smaller(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(TOPOLOGY, "vcf-callsets", replace(TOPOLOGY["vcf-callsets"], partitions=2))
        broker.alter_topics([CALLSETS])
        (diff,) = compared(broker.name, [CALLSETS], broker.describe_topics([CALLSETS]))
        assert (diff.verdict, diff.found.partitions) == ("larger", 3)

    def test_what_was_acknowledged_is_there_for_the_next_who_opens(self, broker: Broker, opened: Opened) -> None:
        broker.append(TOPIC, 0, [b"a", b"b"])
        incarnation = broker.incarnation(TOPIC)
        broker.close()
        again = opened()
        assert bodies_of(again) == [b"a", b"b"]
        assert again.incarnation(TOPIC) == incarnation
        assert list(again.append(TOPIC, 0, [b"c"])) == [2]

    def test_concurrent_appenders_leave_no_gap_and_keep_their_own_order(self, broker: Broker) -> None:
        given: list[tuple[int, bytes]] = []

        def append(worker: int) -> None:
            for step in range(10):
                bodies = [b"%d:%d" % (worker, 2 * step + half) for half in range(2)]
                offsets = list(broker.append(TOPIC, 0, bodies))
                assert offsets == sorted(offsets)
                given.extend(zip(offsets, bodies, strict=True))

        threads = [threading.Thread(target=append, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        messages = broker.read(TOPIC, 0, 0, MUCH, MUCH)
        assert [message.offset for message in messages] == list(range(80))
        for worker in range(4):
            mine = [message.body for message in messages if message.body.startswith(b"%d:" % worker)]
            assert mine == [b"%d:%d" % (worker, step) for step in range(20)]
        assert sorted(given) == [(message.offset, message.body) for message in messages]

    def test_reading_stops_after_the_message_that_reaches_the_byte_bound(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"x" * 100] * 10)
        assert len(broker.read(TOPIC, 0, 0, 9, 250)) == 3
        assert len(broker.read(TOPIC, 0, 0, 9, 1)) == 1
        assert len(broker.wait({(TOPIC, 0): 0}, 1.0, 250)) == 3

    def test_a_message_too_large_stores_nothing_of_its_batch(self, broker: Broker) -> None:
        with pytest.raises(MessageTooLarge):
            broker.append(TOPIC, 0, [b"a", b"x" * (broker.max_message_bytes + 1)])
        assert broker.end_offsets(TOPIC)[0] == 0

    def test_a_missing_topic_or_partition_says_so(self, broker: Broker) -> None:
        missing = variants_topic("nobody")
        for call in (
            lambda: broker.append(missing, 0, [b"a"]),
            lambda: broker.read(missing, 0, 0, 1, MUCH),
            lambda: broker.end_offsets(missing),
            lambda: broker.incarnation(missing),
            lambda: broker.wait({(missing, 0): 0}, 0.0, MUCH),
            lambda: broker.append(TOPIC, TOPIC.rule.partitions, [b"a"]),
            lambda: broker.read(TOPIC, TOPIC.rule.partitions, 0, 1, MUCH),
        ):
            with pytest.raises(TopicMissing):
                call()

    def test_wait_gives_what_is_there_at_once_from_each_position(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"a", b"b"])
        broker.append(CALLSETS, 1, [b"c"])
        messages = broker.wait({(TOPIC, 0): 1, (CALLSETS, 1): 0, (CALLSETS, 0): 0}, 5.0, MUCH)
        assert [message.body for message in messages] == [b"b", b"c"]

    def test_wait_on_a_quiet_topic_gives_nothing_after_its_time(self, broker: Broker) -> None:
        started = time.monotonic()
        assert broker.wait({(TOPIC, 0): 0}, 0.2, MUCH) == []
        assert 0.15 < time.monotonic() - started < 2.0

    def test_wait_wakes_quickly_for_what_another_appends(self, broker: Broker, opened: Opened) -> None:
        other = opened()
        threading.Timer(0.15, lambda: other.append(TOPIC, 0, [b"news"])).start()
        started = time.monotonic()
        assert [message.body for message in broker.wait({(TOPIC, 0): 0}, 10.0, MUCH)] == [b"news"]
        assert time.monotonic() - started < 2.0

    def test_a_position_beyond_the_end_waits(self, broker: Broker) -> None:
        broker.append(TOPIC, 0, [b"a"])
        assert broker.wait({(TOPIC, 0): 7}, 0.05, MUCH) == []

    def test_health_never_raises_and_tells_a_closed_broker(self, broker: Broker) -> None:
        assert broker.health().is_healthy
        assert broker.health().reason == ""
        broker.close()
        broker.close()
        health = broker.health()
        assert not health.is_healthy
        assert health.reason
        with pytest.raises(BrokerUnavailable):
            broker.append(TOPIC, 0, [b"a"])
