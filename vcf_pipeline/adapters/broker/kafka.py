"""Apache Kafka as a broker: the port's calls, put together from the files beside this one.

Topics are `<prefix>.<topic>` and `<prefix>.<tenant>.vcf-variants`. A topic's incarnation is its id. Not here: what
librdkafka's clients need (kafka_clients.py), errors (kafka_errors.py), which broker is used (coordinator.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vcf_pipeline.adapters.broker.kafka_clients import PROBE_S, Clients
from vcf_pipeline.adapters.broker.kafka_reading import Reader
from vcf_pipeline.adapters.broker.kafka_sending import Sender
from vcf_pipeline.adapters.broker.kafka_topics import Topics
from vcf_pipeline.adapters.broker.kafka_topology import OVERHEAD, Topology
from vcf_pipeline.adapters.broker.port import Health, Message, Positions
from vcf_pipeline.domain.errors import BrokerTimeout, BrokerUnavailable, MessageTooLarge, PipelineError
from vcf_pipeline.domain.stream.topics import Topic
from vcf_pipeline.domain.stream.topology_diff import FoundTopic

KNOWN_S = 5.0
"""How long an append believes that a topic is still there; the broker says so if it is not."""


@dataclass(frozen=True)
class KafkaOptions:
    """bootstrap_servers: `host:port,…`. prefix: of topics; letters, digits and '-'. replication: copies; 0 for
    the topology's two, where the cluster has so many brokers.

    security: by librdkafka's names (security.protocol, sasl.*, ssl.*); secrets inside.
    connect_timeout_s: for a first answer. call_timeout_s: for a question, and for messages that are there.
    silence_s: neither an acknowledgement nor an answer for so long is a frozen broker. delivery_timeout_s: no
    acknowledgement for so long is a failure, though the broker answers.
    """

    bootstrap_servers: str
    prefix: str = "vcf-pipeline"
    replication: int = 0
    security: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_message_bytes: int = 4 << 20
    connect_timeout_s: float = 2.0
    call_timeout_s: float = 5.0
    silence_s: float = 0.8
    delivery_timeout_s: float = 10.0


class KafkaBroker:
    """Implements port.Broker. Nothing is opened before the first call. Threads may share it; a forked child gets
    clients of its own.
    """

    name = "kafka"

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        self.max_message_bytes = options.max_message_bytes
        producer: dict[str, str | int | bool] = {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "compression.type": "none",  # bodies are compressed already
            # a topic's max.message.bytes bounds the whole batch: what is larger must fail here, alone
            "message.max.bytes": options.max_message_bytes + OVERHEAD // 2,
            "batch.size": min(1 << 20, options.max_message_bytes),
            "queue.buffering.max.kbytes": max(64 << 10, options.max_message_bytes >> 8),
            "message.timeout.ms": 60_000,  # beyond every limit of ours: its verdict would be as unknown
            "topic.metadata.propagation.max.ms": 0,
        }
        self._clients = Clients(
            options.bootstrap_servers,
            options.security,
            producer,
            group=options.prefix,
            connect_s=options.connect_timeout_s,
        )
        self._topics = Topics(self._clients, options.prefix, options.call_timeout_s)
        self._topology = Topology(
            self._clients,
            self._topics,
            replication=options.replication,
            largest=options.max_message_bytes,
        )
        self._sender = Sender(
            self._clients, self._topics, silence_s=options.silence_s, delivery_s=options.delivery_timeout_s
        )
        self._reader = Reader(
            self._clients,
            self._topics,
            broker=self.name,
            silence_s=options.silence_s,
            stall_s=options.call_timeout_s,
        )

    def ensure_topics(self, topics: Sequence[Topic]) -> None:
        self._topology.create(topics)
        self._clients.producer()  # warm from here on: whoever makes topics ready may need to send without delay

    def describe_topics(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        return self._topology.found(topics)

    def alter_topics(self, topics: Sequence[Topic]) -> None:
        self._topology.raise_to_topology(topics)

    def append(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Sequence[int]:
        for body in bodies:
            if len(body) > self.max_message_bytes:
                raise MessageTooLarge(
                    where=self._topics.where(topic, partition),
                    expected=f"at most {self.max_message_bytes} bytes",
                    got=str(len(body)),
                )
        try:
            known = self._topics.known(topic, max_age_s=KNOWN_S, wait_s=self.options.silence_s)
            if not 0 <= partition < known.partitions:  # another process may have raised their number since
                known = self._topics.known(topic, wait_s=self.options.silence_s)
        except BrokerTimeout as problem:  # a question's: nothing was sent, so nothing is unknown
            raise BrokerUnavailable(problem.message) from problem
        self._topics.check_partition(topic, partition, known)
        return self._sender.send(topic, partition, known, bodies) if bodies else []

    def read(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        return self._reader.read(topic, partition, first, last, max_bytes)

    def end_offsets(self, topic: Topic) -> dict[int, int]:
        known = self._topics.known(topic)
        ends = self._topics.ends([(topic, partition) for partition in range(known.partitions)])
        return {partition: end for (_, partition), end in ends.items()}

    def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
        return self._reader.wait(positions, timeout_s, max_bytes)

    def incarnation(self, topic: Topic) -> str:
        return self._topics.known(topic, wait_s=self.options.silence_s).incarnation

    def health(self) -> Health:
        started = time.perf_counter()
        try:
            self._clients.refresh(self._clients.admin(PROBE_S), PROBE_S)
        except PipelineError as problem:
            return Health(False, (time.perf_counter() - started) * 1e3, problem.message)
        return Health(True, (time.perf_counter() - started) * 1e3)

    def close(self) -> None:
        self._clients.close()
