"""Topics of a Kafka cluster made, compared with the topology and raised to it; never lowered, never deleted.

Every topic is made so that what was acknowledged is there after any one machine was lost: two copies in sync where
the cluster has two brokers, else on disk before the acknowledgement. Not here: what a topic holds (kafka_topics.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from vcf_pipeline.adapters.broker.kafka_clients import Clients
from vcf_pipeline.adapters.broker.kafka_errors import mapped
from vcf_pipeline.adapters.broker.kafka_topics import KnownTopic, Topics
from vcf_pipeline.domain.errors import BrokerUnavailable, BrokerUnfit
from vcf_pipeline.domain.stream.topics import DAY_S, Topic
from vcf_pipeline.domain.stream.topology_diff import REPLICATION, FoundTopic

ADMIN_S = 20.0
"""Creating and altering: a cluster makes the logs of new partitions one after the other, and says so late."""

OVERHEAD = 64 << 10
"""Room of a batch beyond its largest message: record and batch headers, and headers of foreign producers."""

_PAUSE_S = 0.02
_SETTINGS = (
    *("max.message.bytes", "retention.ms", "retention.bytes", "cleanup.policy", "min.insync.replicas"),
    *("unclean.leader.election.enable", "flush.messages"),
)


class Topology:
    """replication: copies wanted; 0 for the topology's, where so many brokers are up. largest: bytes of a message that
    topics must take.
    """

    def __init__(self, clients: Clients, topics: Topics, *, replication: int, largest: int) -> None:
        self._clients, self._topics = clients, topics
        self._replication, self._largest = replication, largest

    def create(self, topics: Sequence[Topic]) -> None:
        """What is missing, and a larger limit of messages where a topic's is below what is sent."""
        topics = list(dict.fromkeys(topics))  # a name twice in one request ends the process, in librdkafka
        found = self._topics.described(topics)
        missing = [topic for topic in topics if found[topic] is None]
        if missing:
            self._create(missing)
            self._await(missing)
        known = {topic: one for topic, one in found.items() if one is not None}
        configs = self._configs(list(known))
        for topic, config in configs.items():
            why = not_durable(config, known[topic].replication)
            if why:
                raise BrokerUnfit(
                    where=self._topics.where(topic),
                    expected="a topic that keeps what it acknowledged",
                    got=why,
                    repair="Change that setting with Kafka's own tools, or set another VCF_PIPELINE_KAFKA__PREFIX.",
                    code="TOPIC_NOT_DURABLE",
                )
        self._widen(configs)

    def _create(self, topics: Sequence[Topic]) -> None:
        from confluent_kafka.admin import NewTopic

        copies, brokers = self._replication or REPLICATION, self._brokers()
        if self._replication > brokers:
            raise BrokerUnavailable(
                where=self._clients.address,
                expected=f"{self._replication} brokers for as many copies of a topic",
                got=f"{brokers} that answer",
                repair="Start the others, or lower VCF_PIPELINE_KAFKA__REPLICATION.",
            )
        copies = max(1, min(copies, brokers))
        new = [
            NewTopic(
                self._topics.name_of(topic),
                num_partitions=topic.rule.partitions,
                replication_factor=copies,
                config=self._config(topic, copies),
            )
            for topic in topics
        ]
        answers = self._topics.asked(
            lambda admin: admin.create_topics(new, operation_timeout=ADMIN_S, request_timeout=ADMIN_S),
            cures=frozenset({"NOT_CONTROLLER"}),
            wait_s=ADMIN_S,
        )
        for topic in topics:
            problem = answers[self._topics.name_of(topic)][1]
            if problem is not None and problem.name() != "TOPIC_ALREADY_EXISTS":  # another process was quicker
                raise mapped(problem, self._topics.where(topic))

    def _config(self, topic: Topic, copies: int) -> dict[str, str]:
        kept = topic.rule.retention_s
        config = {
            "cleanup.policy": "delete",
            "retention.ms": str(int(kept * 1000)),
            "retention.bytes": "-1",  # by age only: a full disk refuses, and nothing unread is dropped
            "segment.ms": str(int(min(kept, DAY_S) * 1000)),  # retention takes whole segments
            "message.timestamp.type": "LogAppendTime",  # age by the broker's clock, whatever a sender's says
            "max.message.bytes": str(self._largest + OVERHEAD),
            "min.insync.replicas": str(min(2, copies)),  # never acknowledged by one machine alone
            "unclean.leader.election.enable": "false",
        }
        if copies == 1:
            config["flush.messages"] = "1"  # no second copy: on disk before it is acknowledged
        return config

    def _await(self, topics: Sequence[Topic]) -> None:
        """Created is not known everywhere yet: until every partition has offsets to tell."""
        deadline = time.monotonic() + ADMIN_S
        self._clients.doubt()  # the producer, too, must hear of them
        while not all(has_partitions(topic, one) for topic, one in self._topics.described(topics).items()):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    where=self._clients.address,
                    expected="the topics just made",
                    got="a cluster that knows them not yet",
                )
            time.sleep(_PAUSE_S)
        self._topics.ends([(topic, number) for topic in topics for number in range(topic.rule.partitions)], ADMIN_S)

    def _brokers(self) -> int:
        return len(self._clients.admin().list_topics(timeout=self._topics.answer_s).brokers)

    def _widen(self, configs: Mapping[Topic, Mapping[str, str]]) -> None:
        needed = self._largest + OVERHEAD
        narrow = {
            topic: {"max.message.bytes": str(needed)}
            for topic, config in configs.items()
            if int(config.get("max.message.bytes", needed)) < needed
        }
        self._alter(narrow)

    def _configs(self, topics: Sequence[Topic]) -> dict[Topic, dict[str, str]]:
        from confluent_kafka.admin import ConfigResource

        if not topics:
            return {}
        resources = {topic: ConfigResource(ConfigResource.Type.TOPIC, self._topics.name_of(topic)) for topic in topics}
        answers = self._topics.asked(
            lambda admin: admin.describe_configs(list(resources.values()), request_timeout=self._topics.answer_s)
        )
        found: dict[Topic, dict[str, str]] = {}
        for topic, resource in resources.items():
            entries, problem = answers[resource]
            if problem is not None:
                raise mapped(problem, self._topics.where(topic))
            found[topic] = {name: entries[name].value for name in _SETTINGS if name in entries}
        return found

    def _alter(self, changes: Mapping[Topic, Mapping[str, str]]) -> None:
        from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

        if not changes:
            return
        resources = {
            topic: ConfigResource(
                ConfigResource.Type.TOPIC,
                self._topics.name_of(topic),
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, value in change.items()
                ],
            )
            for topic, change in changes.items()
        }
        answers = self._topics.asked(
            lambda admin: admin.incremental_alter_configs(list(resources.values()), request_timeout=ADMIN_S),
            wait_s=ADMIN_S,
        )
        for topic, resource in resources.items():
            problem = answers[resource][1]
            if problem is not None:
                raise mapped(problem, self._topics.where(topic))

    # ---- comparing and raising

    def found(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        described = self._topics.described(topics)
        configs = self._configs([topic for topic, one in described.items() if one is not None])
        brokers = self._brokers()
        answer: dict[Topic, FoundTopic | None] = dict.fromkeys(topics)
        for topic, one in described.items():
            if one is not None:
                config = configs[topic]
                kept = int(config.get("retention.ms", -1))
                answer[topic] = FoundTopic(
                    one.partitions,
                    retention_s=kept / 1000 if kept >= 0 else None,
                    replication=one.replication,
                    max_replication=max(1, min(self._replication or REPLICATION, brokers)),
                    not_durable=not_durable(config, one.replication),
                )
        return answer

    def raise_to_topology(self, topics: Sequence[Topic]) -> None:
        from confluent_kafka.admin import NewPartitions

        known = self._topics.all_known(topics)
        grown = [topic for topic in known if known[topic].partitions < topic.rule.partitions]
        if grown:
            new = [NewPartitions(self._topics.name_of(topic), topic.rule.partitions) for topic in grown]
            answers = self._topics.asked(
                lambda admin: admin.create_partitions(new, operation_timeout=ADMIN_S, request_timeout=ADMIN_S),
                cures=frozenset({"NOT_CONTROLLER"}),
                wait_s=ADMIN_S,
            )
            for topic in grown:
                problem = answers[self._topics.name_of(topic)][1]
                if problem is not None:
                    raise mapped(problem, self._topics.where(topic))
        changes: dict[Topic, dict[str, str]] = {}
        configs = self._configs(topics)
        for topic, config in configs.items():
            wanted = int(topic.rule.retention_s * 1000)
            if 0 <= int(config.get("retention.ms", -1)) < wanted:
                changes[topic] = {"retention.ms": str(wanted)}
        self._alter(changes)
        self._widen(configs)
        if grown:
            self._await(grown)


def has_partitions(topic: Topic, known: KnownTopic | None) -> bool:
    return known is not None and known.partitions >= topic.rule.partitions


def not_durable(config: Mapping[str, str], replication: int) -> str:
    """Why an acknowledged message could be lost, "" where none could. config: values as the broker tells them."""
    if "compact" in config.get("cleanup.policy", ""):
        return "cleanup.policy has compact"
    if int(config.get("retention.bytes", -1)) >= 0:
        return f"retention.bytes is {config['retention.bytes']}: what nobody has read is dropped by size"
    if config.get("unclean.leader.election.enable") == "true":
        return "unclean.leader.election.enable is true"
    if replication > 1 and int(config.get("min.insync.replicas", 1)) < 2:
        return "min.insync.replicas is 1: one machine alone may acknowledge"
    if replication == 1 and int(config.get("flush.messages", 1)) > 1:
        return "one copy, and flush.messages is not 1: acknowledged before it is on disk"
    return ""
