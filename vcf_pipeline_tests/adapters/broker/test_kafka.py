"""Kafka on librdkafka's mock cluster, always: the contract, wrong settings, errors, slow and dead nodes, forks."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time

import pytest

from vcf_pipeline.adapters.broker import kafka_clients, kafka_sending
from vcf_pipeline.adapters.broker.kafka import KafkaBroker, KafkaOptions
from vcf_pipeline.adapters.broker.kafka_errors import mapped
from vcf_pipeline.adapters.broker.kafka_topology import not_durable
from vcf_pipeline.domain.errors import (
    BadSetting,
    BrokerTimeout,
    BrokerUnavailable,
    MessageTooLarge,
    OffsetLost,
    OffsetRegressed,
    PipelineError,
    TopicMissing,
    TransientError,
)
from vcf_pipeline_tests.adapters.broker.conftest import MakeKafka
from vcf_pipeline_tests.adapters.broker.contract import MUCH, TOPIC, BrokerContract, Opened, bodies_of
from vcf_pipeline_tests.adapters.broker.kafka_server import free_ports
from vcf_pipeline_tests.adapters.broker.mock_cluster import PRODUCE, MockCluster, on_mock

FORK = multiprocessing.get_context("fork")
NOT_ON_THE_MOCK = {
    "test_topics_are_described_as_the_topology_made_them": "it answers no DescribeConfigs",
    "test_a_topic_gets_the_partitions_that_the_topology_has_grown_and_keeps_what_it_holds": "it adds no partitions",
    "test_a_topic_that_has_more_than_the_topology_is_never_made_smaller": "it answers no DescribeConfigs",
}
"""What librdkafka's mock cluster cannot do; test_kafka_real.py does it on a real one."""


class TestKafkaBrokerOnTheMock(BrokerContract):
    @pytest.fixture
    def opened(self, mock_kafka: MakeKafka, request: pytest.FixtureRequest) -> Opened:
        reason = NOT_ON_THE_MOCK.get(request.node.name)
        if reason:
            pytest.skip(f"librdkafka's mock cluster: {reason}; the real broker runs this one")
        return lambda: mock_kafka(max_message_bytes=1 << 20)


@pytest.fixture
def broker(mock_kafka: MakeKafka) -> KafkaBroker:
    broker = mock_kafka()
    broker.ensure_topics([TOPIC])
    return broker


# ---- settings


@pytest.mark.parametrize(
    "options",
    [
        {"bootstrap_servers": " "},
        {"prefix": ""},
        {"prefix": "a_b"},
        {"prefix": "a.b"},
        {"prefix": "x" * 101},
        {"security": {"acks": "0"}},
        {"security": {"bootstrap.servers": "elsewhere:9092"}},
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_is_opened(options: dict[str, object]):
    with pytest.raises(BadSetting):
        KafkaBroker(KafkaOptions(**{"bootstrap_servers": "127.0.0.1:1", **options}))


def test_a_setting_that_librdkafka_does_not_know_is_named_and_its_value_is_not():
    broker = KafkaBroker(KafkaOptions("127.0.0.1:1", security={"sasl.secret.door": "very-secret"}))
    with pytest.raises(BadSetting, match=r"sasl\.secret\.door") as refused:
        broker.end_offsets(TOPIC)
    assert "very-secret" not in refused.value.message
    assert not broker.health().is_healthy


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kafka_clients.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadSetting, match=r"vcf-pipeline\[kafka\]"):
        KafkaBroker(KafkaOptions("127.0.0.1:1"))


def test_options_shown_hold_no_secret():
    assert "very-secret" not in repr(KafkaOptions("127.0.0.1:1", security={"sasl.password": "very-secret"}))


def test_a_closed_port_is_unavailable_at_once():
    (port,) = free_ports(1)
    broker = KafkaBroker(KafkaOptions(f"127.0.0.1:{port}", connect_timeout_s=30.0))
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}"):
        broker.append(TOPIC, 0, [b"a"])
    assert "127.0.0.1" in broker.health().reason
    assert time.monotonic() - started < 5.0
    broker.close()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid:9092", "127.0.0.1:1,127.0.0.1:2"])
def test_an_address_without_a_broker_is_told_before_it_counts_as_frozen_each_time_with_its_cause(host: str):
    broker = KafkaBroker(KafkaOptions(host, connect_timeout_s=30.0))
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=r"Connection refused|Failed to resolve"):
            broker.append(TOPIC, 0, [b"a"])
        assert time.monotonic() - started < 2.0
    broker.close()


# ---- errors


def test_every_error_of_librdkafka_has_a_place_in_the_tree():
    from confluent_kafka import KafkaError

    codes = {getattr(KafkaError, name) for name in dir(KafkaError) if name.lstrip("_").isupper()}
    assert len(codes) > 100
    for code in codes:
        problem = mapped(KafkaError(code), "kafka")
        assert isinstance(problem, TransientError | TopicMissing | MessageTooLarge | BadSetting), problem
        assert problem.message.startswith("kafka: ")


@pytest.mark.parametrize(
    ("code", "expected", "repair"),
    [
        ("_TIMED_OUT", BrokerTimeout, "may have landed"),
        ("_PURGE_QUEUE", BrokerTimeout, "may have landed"),
        ("MSG_SIZE_TOO_LARGE", MessageTooLarge, "topology apply"),
        ("UNKNOWN_TOPIC_OR_PART", TopicMissing, ""),
        ("TOPIC_EXCEPTION", BadSetting, "VCF_PIPELINE_KAFKA__"),
        ("SASL_AUTHENTICATION_FAILED", BadSetting, "SASL_PASSWORD"),
        ("TOPIC_AUTHORIZATION_FAILED", BadSetting, "rights"),
        ("_SSL", BrokerUnavailable, "SSL_CA"),
        ("NOT_ENOUGH_REPLICAS", BrokerUnavailable, "running"),
    ],
)
def test_an_error_says_what_to_do(code: str, expected: type[PipelineError], repair: str):
    from confluent_kafka import KafkaError

    problem = mapped(KafkaError(getattr(KafkaError, code)), "kafka", is_sent=True)
    assert type(problem) is expected
    assert repair in problem.repair


def test_an_error_that_passes_is_tried_again_and_doubles_nothing(broker: KafkaBroker, mock_cluster: MockCluster):
    broker.append(TOPIC, 0, [b"a"])
    mock_cluster.fail_next(PRODUCE, 19, 7, 6)  # too few replicas, a time-out of the request, another leader
    assert list(broker.append(TOPIC, 0, [b"b", b"c"])) == [1, 2]
    assert bodies_of(broker) == [b"a", b"b", b"c"]


def test_too_few_copies_in_sync_acknowledge_nothing_until_there_are_enough(
    mock_kafka: MakeKafka, mock_cluster: MockCluster
):
    broker = mock_kafka(delivery_timeout_s=1.0)
    broker.ensure_topics([TOPIC])
    mock_cluster.fail_next(PRODUCE, *[19] * 200)
    try:
        with pytest.raises(TransientError, match=r"vcf-variants\[0\]"):
            broker.append(TOPIC, 0, [b"a"])
        assert broker.end_offsets(TOPIC)[0] == 0
    finally:
        mock_cluster.fail_none(PRODUCE)
    assert list(broker.append(TOPIC, 0, [b"b"])) == [0]


@pytest.mark.parametrize(("code", "expected"), [(10, MessageTooLarge), (29, BadSetting)])
def test_an_error_that_stays_is_raised(
    broker: KafkaBroker, mock_cluster: MockCluster, code: int, expected: type[PipelineError]
):
    broker.append(TOPIC, 0, [b"a"])
    mock_cluster.fail_next(PRODUCE, code)
    with pytest.raises(expected):
        broker.append(TOPIC, 0, [b"b"])
    broker.append(TOPIC, 0, [b"c"])
    assert bodies_of(broker)[::2] == [b"a", b"c"] or bodies_of(broker) == [b"a", b"c"]


# ---- nodes that are slow, dead, or back


def test_a_slow_send_that_is_still_answered_is_no_failure(broker: KafkaBroker, mock_cluster: MockCluster):
    broker.append(TOPIC, 0, [b"a"])
    mock_cluster.slow_down(350)
    try:
        assert list(broker.append(TOPIC, 0, [b"b"])) == [1]
    finally:
        mock_cluster.slow_down(0)


def test_a_node_without_an_answer_is_given_up_in_a_second_and_the_outcome_is_unknown(
    broker: KafkaBroker, mock_cluster: MockCluster
):
    broker.append(TOPIC, 0, [b"a"])
    mock_cluster.slow_down(2500)
    started = time.monotonic()
    try:
        with pytest.raises(BrokerTimeout, match="may have landed"):
            broker.append(TOPIC, 0, [b"b"])
        took = time.monotonic() - started
    finally:
        mock_cluster.slow_down(0)
    assert 0.7 < took < 2.0
    assert len(broker._clients.own().producer or "x") == 0  # what was given up is no longer held


def test_dead_nodes_are_unavailable_and_back_again(mock_kafka: MakeKafka, mock_cluster: MockCluster):
    broker = mock_kafka()
    broker.ensure_topics([TOPIC])
    broker.append(TOPIC, 0, [b"a"])
    mock_cluster.kill()
    try:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(TransientError):
                broker.append(TOPIC, 0, [b"b"])
            assert time.monotonic() - started < 2.0
        assert not broker.health().is_healthy
        with pytest.raises(TransientError):
            broker.wait({(TOPIC, 0): 1}, 0.1, MUCH)  # silence would mean: nothing there
    finally:
        mock_cluster.revive()
    deadline = time.monotonic() + 10
    while not broker.health().is_healthy and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert broker.append(TOPIC, 0, [b"c"])
    assert (bodies_of(broker)[0], bodies_of(broker)[-1]) == (b"a", b"c")


def test_what_is_larger_than_the_queue_goes_through_it(mock_kafka: MakeKafka):
    broker = mock_kafka(max_message_bytes=8 << 20)
    broker.ensure_topics([TOPIC])
    offsets = broker.append(TOPIC, 0, [b"x" * (8 << 20)] * 12)  # 96 MiB through 64
    assert list(offsets) == list(range(12))


def test_a_full_queue_that_waits_for_a_leader_which_answers_otherwise_is_no_failure(
    mock_kafka: MakeKafka, mock_cluster: MockCluster
):
    broker = mock_kafka(max_message_bytes=8 << 20)
    broker.ensure_topics([TOPIC])
    broker.append(TOPIC, 0, [b"first"])
    mock_cluster.delay_next(PRODUCE, 1500)  # as over a thin line: no acknowledgement for longer than silence may last
    started = time.monotonic()
    offsets = broker.append(TOPIC, 0, [b"x" * (8 << 20)] * 12)  # 96 MiB through 64
    assert time.monotonic() - started > 1.5
    assert list(offsets) == list(range(1, 13))


# ---- reading


def test_messages_of_foreign_producers_keep_their_headers_and_a_tombstone_is_an_empty_body(
    broker: KafkaBroker, mock_cluster: MockCluster
):
    from confluent_kafka import Producer

    foreign = Producer({"bootstrap.servers": mock_cluster.address, "log_level": 0})
    name = broker._topics.name_of(TOPIC)
    foreign.produce(name, None, partition=0, headers=[("kind", "variants/records"), ("none", None), ("odd", b"\xff")])
    foreign.flush(5)
    (message,) = broker.read(TOPIC, 0, 0, 9, MUCH)
    assert (message.body, dict(message.headers)) == (b"", {"kind": "variants/records", "none": "", "odd": "�"})


def test_an_end_that_goes_back_while_a_range_is_read_is_regressed(broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch):
    broker.append(TOPIC, 0, [b"a"])
    seen = iter([(0, 9), (0, 1)])
    monkeypatch.setattr(broker._topics, "bounds", lambda places: {places[0]: next(seen)})
    with pytest.raises(OffsetRegressed, match="an end at 1"):
        broker.read(TOPIC, 0, 5, 8, MUCH)


def test_what_retention_takes_while_a_range_is_read_is_lost(broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch):
    broker.append(TOPIC, 0, [b"a"])
    seen = iter([(0, 9), (6, 9)])
    monkeypatch.setattr(broker._topics, "bounds", lambda places: {places[0]: next(seen)})
    with pytest.raises(OffsetLost) as lost:
        broker.read(TOPIC, 0, 5, 8, MUCH)
    assert lost.value.first_available == 6


def test_a_message_beyond_the_end_that_was_waited_for_comes_and_those_before_it_do_not(
    broker: KafkaBroker, mock_kafka: MakeKafka
):
    other = mock_kafka()
    threading.Timer(0.2, lambda: other.append(TOPIC, 0, [b"0", b"1", b"2"])).start()
    assert [message.body for message in broker.wait({(TOPIC, 0): 2}, 10.0, MUCH)] == [b"2"]


def test_a_topic_made_anew_is_another_incarnation_and_ends_a_wait(broker: KafkaBroker, mock_cluster: MockCluster):
    broker.append(TOPIC, 0, [b"a"])
    before = broker.incarnation(TOPIC)
    mock_cluster.delete(broker._topics.name_of(TOPIC))
    with pytest.raises(TopicMissing):
        broker.read(TOPIC, 0, 0, 9, MUCH)
    with pytest.raises(TopicMissing):
        broker.append(TOPIC, 0, [b"b"])
    broker.ensure_topics([TOPIC])
    assert broker.incarnation(TOPIC) != before
    assert bodies_of(broker) == []


# ---- processes


def _append_in_child(broker: KafkaBroker) -> None:
    gc.collect()
    broker.append(TOPIC, 0, [b"child"])
    is_read = bodies_of(broker) == [b"parent", b"child"]
    broker.close()
    os._exit(0 if is_read else 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_gets_clients_of_its_own(broker: KafkaBroker):
    broker.append(TOPIC, 0, [b"parent"])
    assert _exit_code_of_a_child_that_appends(broker) == 0
    assert list(broker.append(TOPIC, 0, [b"after"])) == [2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_forked_child_never_frees_a_client_that_its_parent_had_let_go_of(
    broker: KafkaBroker, mock_cluster: MockCluster, is_closed: bool
):
    broker.append(TOPIC, 0, [b"parent"])
    gc.disable()
    try:
        for _ in range(2):
            dropped = on_mock(KafkaBroker(broker.options), mock_cluster)
            dropped.end_offsets(TOPIC)
            dropped._clients.producer()
            if is_closed:
                dropped.close()
        del dropped
        assert _exit_code_of_a_child_that_appends(broker) == 0
    finally:
        gc.enable()


def _exit_code_of_a_child_that_appends(broker: KafkaBroker) -> int | None:
    child = FORK.Process(target=_append_in_child, args=(broker,))
    child.start()
    child.join(30)
    return child.exitcode


def test_closing_waits_for_nobody(broker: KafkaBroker, mock_cluster: MockCluster):
    broker.append(TOPIC, 0, [b"a"])
    mock_cluster.slow_down(3000)
    try:
        (broker._clients.own().producer or pytest.fail()).produce(broker._topics.name_of(TOPIC), b"queued", partition=0)
        started = time.monotonic()
        broker.close()
        assert time.monotonic() - started < 2.0
    finally:
        mock_cluster.slow_down(0)


# ---- durability


@pytest.mark.parametrize(
    ("config", "replication", "says"),
    [
        ({"min.insync.replicas": "2", "flush.messages": "9223372036854775807"}, 2, ""),
        ({"min.insync.replicas": "1", "flush.messages": "1"}, 1, ""),
        ({"min.insync.replicas": "1"}, 2, "one machine alone"),
        ({"min.insync.replicas": "1", "flush.messages": "9223372036854775807"}, 1, "before it is on disk"),
        ({"min.insync.replicas": "2", "cleanup.policy": "compact,delete"}, 2, "compact"),
        ({"min.insync.replicas": "2", "retention.bytes": "1000"}, 2, "dropped by size"),
        ({"min.insync.replicas": "2", "unclean.leader.election.enable": "true"}, 2, "unclean"),
    ],
)
def test_settings_that_could_lose_an_acknowledged_message_are_named(
    config: dict[str, str], replication: int, says: str
):
    told = not_durable(config, replication)
    assert (says in told) if says else told == ""


class Acknowledged:
    """A report of librdkafka's. offset None: it was not told one."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


def test_an_acknowledgement_without_its_offset_is_unknown_and_the_repeat_is_found(
    broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
):
    broker.append(TOPIC, 0, [b"a"])
    note = kafka_sending._Pending.note
    with monkeypatch.context() as patch:
        patch.setattr(
            kafka_sending._Pending, "note", lambda one, index, problem, _: note(one, index, problem, Acknowledged(None))
        )
        with pytest.raises(BrokerTimeout, match="offset -1 after 0"):
            broker.append(TOPIC, 0, [b"b"])
    assert list(broker.append(TOPIC, 0, [b"b"])) == [2]
    with monkeypatch.context() as patch:
        patch.setattr(
            kafka_sending._Pending, "note", lambda one, index, problem, _: note(one, index, problem, Acknowledged(0))
        )
        with pytest.raises(BrokerTimeout, match="offset 0 after 2"):
            broker.append(TOPIC, 0, [b"c"])
