"""librdkafka's mock cluster, through its C functions: up in milliseconds, no Java, dies with this process.

Python's own door to it (`test.mock.num.brokers`) can neither create a topic with partitions nor name a controller,
without which describing a topic fails. Not here: a real broker (kafka_server.py).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vcf_pipeline.adapters.broker.kafka import KafkaBroker
from vcf_pipeline.adapters.broker.kafka_topology import Topology
from vcf_pipeline.domain.stream.topics import Topic

_TEXT = 512
_NUMBER, _POINTER, _STRING = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
_SIGNATURES = {
    "rd_kafka_conf_new": (_POINTER, []),
    "rd_kafka_conf_set": (_NUMBER, [_POINTER, _STRING, _STRING, _STRING, ctypes.c_size_t]),
    "rd_kafka_new": (_POINTER, [_NUMBER, _POINTER, _STRING, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_new": (_POINTER, [_POINTER, _NUMBER]),
    "rd_kafka_mock_cluster_destroy": (None, [_POINTER]),
    "rd_kafka_mock_cluster_bootstraps": (_STRING, [_POINTER]),
    "rd_kafka_mock_set_controller_id": (_NUMBER, [_POINTER, ctypes.c_int32]),
    "rd_kafka_mock_topic_create": (_NUMBER, [_POINTER, _STRING, _NUMBER, _NUMBER]),
    "rd_kafka_mock_topic_delete": (_NUMBER, [_POINTER, _STRING]),
    "rd_kafka_mock_broker_set_down": (_NUMBER, [_POINTER, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (_NUMBER, [_POINTER, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (_NUMBER, [_POINTER, ctypes.c_int32, _NUMBER]),
    # pairs of an error and milliseconds follow, as many as the last number says
    "rd_kafka_mock_broker_push_request_error_rtts": (
        _NUMBER,
        [_POINTER, ctypes.c_int32, ctypes.c_int16, ctypes.c_size_t],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [_POINTER, ctypes.c_int16]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [_POINTER, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_NUMBER)],
    ),
}
PRODUCE, METADATA = 0, 3
"""Numbers of requests in Kafka's protocol."""


class NoMock(Exception):
    """Why there is none, in words for a skipped test."""


class MockCluster:
    """nodes: brokers. Each function that fails answers another number than 0, which is an error here."""

    _library: ClassVar[ctypes.CDLL | None] = None

    def __init__(self, nodes: int = 1) -> None:
        self.nodes = nodes
        self._own = library = self._loaded()
        text = ctypes.create_string_buffer(_TEXT)
        config = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(config, b"log_level", b"0", text, _TEXT)
        self._client = library.rd_kafka_new(0, config, text, _TEXT)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, nodes)
        self.call("set_controller_id", 1)
        self.address = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    @classmethod
    def _loaded(cls) -> ctypes.CDLL:
        if cls._library is None:
            try:
                import confluent_kafka
            except ImportError:
                raise NoMock("no confluent-kafka: install the extra `kafka`") from None
            folder = Path(confluent_kafka.__file__ or "").parent
            found = [
                *folder.parent.glob("confluent_kafka.libs/librdkafka*"),
                *folder.glob(".dylibs/librdkafka*"),
            ]
            if not found:
                raise NoMock(f"no librdkafka beside {folder}: a wheel of confluent-kafka brings one")
            library = ctypes.CDLL(os.fspath(found[0]))
            for name, (answer, arguments) in _SIGNATURES.items():
                getattr(library, name).restype = answer
                getattr(library, name).argtypes = arguments
            cls._library = library
        return cls._library

    def call(self, name: str, *arguments: object) -> None:
        problem = getattr(self._own, f"rd_kafka_mock_{name}")(self._cluster, *arguments)
        assert problem == 0, f"{name} of the mock cluster failed with {problem}"

    def create(self, name: str, partitions: int) -> None:
        self.call("topic_create", name.encode(), partitions, min(2, self.nodes))

    def delete(self, name: str) -> None:
        self.call("topic_delete", name.encode())

    def kill(self) -> None:
        for node in range(1, self.nodes + 1):
            self.call("broker_set_down", node)

    def revive(self) -> None:
        for node in range(1, self.nodes + 1):
            self.call("broker_set_up", node)

    def slow_down(self, milliseconds: int) -> None:
        """Every answer takes so long from now on."""
        for node in range(1, self.nodes + 1):
            self.call("broker_set_rtt", node, milliseconds)

    def delay_next(self, request: int, *milliseconds: int) -> None:
        """The next requests of that kind are answered so late, by each node; other requests at once."""
        pairs = [_NUMBER(number) for late in milliseconds for number in (0, late)]
        for node in range(1, self.nodes + 1):
            self.call("broker_push_request_error_rtts", node, request, len(milliseconds), *pairs)

    def fail_next(self, request: int, *codes: int) -> None:
        """The next requests of that kind are answered by these errors (numbers of Kafka's protocol)."""
        self._own.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(codes), (ctypes.c_int * len(codes))(*codes)
        )

    def fail_none(self, request: int) -> None:
        """What is left of those errors is dropped."""
        self._own.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def close(self) -> None:
        self._own.rd_kafka_mock_cluster_destroy(self._cluster)
        self._own.rd_kafka_destroy(self._client)


class _MockTopology(Topology):
    """Creates through the cluster's own function, since the mock answers no CreateTopics and has no settings."""

    cluster: MockCluster

    def _create(self, topics: list[Topic]) -> None:
        for topic in topics:
            self.cluster.create(self._topics.name_of(topic), topic.rule.partitions)

    def _configs(self, topics: Sequence[Topic]) -> dict[Topic, dict[str, str]]:
        return {}


def on_mock(broker: KafkaBroker, cluster: MockCluster) -> KafkaBroker:
    """The broker with only the creation of topics replaced: all else is asked of the mock over its protocol."""
    own = broker._topology
    mine = _MockTopology(own._clients, own._topics, replication=own._replication, largest=own._largest)
    mine.cluster = cluster
    broker._topology = mine
    return broker
