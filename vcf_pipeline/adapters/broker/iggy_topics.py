"""Topics of an Iggy server: made so that what is acknowledged is stored, and read back to see that they are.

A topic of the server's defaults loses after a crash what it had acknowledged, and gives its offsets out again (DESIGN
section 5). Not here: messages (iggy.py); the topology (domain/stream/topics.py).
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vcf_pipeline.adapters.broker.iggy_errors import CLIENT_VERSION, is_existing, is_unknown_option, not_durable
from vcf_pipeline.adapters.broker.iggy_session import Session
from vcf_pipeline.domain.errors import BrokerUnavailable, PipelineError, TopicMissing
from vcf_pipeline.domain.stream.topics import Topic
from vcf_pipeline.domain.stream.topology_diff import FoundTopic

OPTIONS_BEFORE_DURABILITY = {"enforce_fsync": "true", "messages_required_to_save": "1"}


@dataclass(frozen=True)
class Facts:
    """A topic as the server tells it now. ends: the offset that the next message will get, by partition.

    created_at: microseconds since 1970. retention_s: None keeps for ever. not_durable: why an acknowledged message
    could be lost, "" where none could.
    """

    created_at: int
    ends: Mapping[int, int]
    retention_s: float | None
    not_durable: str

    @property
    def incarnation(self) -> str:
        return str(self.created_at)


@dataclass(frozen=True)
class Names:
    """Stream `<prefix>` for control, `<prefix>-<tenant>` for data."""

    prefix: str

    def stream(self, topic: Topic) -> str:
        return f"{self.prefix}-{topic.tenant}" if topic.tenant else self.prefix

    def both(self, topic: Topic) -> str:
        return f"{self.stream(topic)}/{topic.name}"


def why_not_durable(options: Mapping[str, object]) -> str:
    """options: those that the server says are in force. "" where what is acknowledged is on disk."""
    given = {key: str(value).lower() for key, value in options.items()}
    wrong = []
    if "durability" in given:
        keys = ("durability", "consumer_offset_durability")
        wrong += [f"{key} {given.get(key, 'not given')}" for key in keys if given.get(key) != "persisted"]
    elif given.get("enforce_fsync") != "true":
        wrong.append(f"enforce_fsync {given.get('enforce_fsync', 'not given')}")
    if given.get("messages_required_to_save") != "1":
        wrong.append(f"messages_required_to_save {given.get('messages_required_to_save', 'not given')}")
    return ", ".join(wrong)


def facts_of(details: Any) -> Facts:
    """details: apache_iggy.TopicDetails."""
    options: dict[str, object] = {}
    for block in (details.derived_options, details.options):
        options |= {str(key): value for key, value in block.to_scalar_dict().items()}
    expiry = details.message_expiry
    duration = getattr(expiry, "duration", None)
    return Facts(
        created_at=int(details.created_at),
        ends={place.id: _end(place) for place in details.partitions},
        retention_s=duration.total_seconds() if isinstance(duration, datetime.timedelta) else None,
        not_durable=why_not_durable(options),
    )


def _end(place: Any) -> int:
    """current_offset is the last one that was given; 0 is also what a partition says that never had any."""
    last = int(place.current_offset)
    return last + 1 if last or place.messages_count else 0


class Topics:
    """Streams and topics over a session."""

    def __init__(self, session: Session, names: Names) -> None:
        self._session, self._names = session, names

    def facts(self, topic: Topic, purpose: Any = "read") -> Facts:
        """Raises TopicMissing."""
        found = self.find(topic, purpose)
        if found is None:
            raise TopicMissing(
                where=f"{self._session.where} {self._names.both(topic)}",
                expected="a topic",
                got="none",
                repair="`vcf-pipeline topology apply` makes it, and so does the next `publish`.",
            )
        return found

    def find(self, topic: Topic, purpose: Any = "read") -> Facts | None:
        stream, name = self._names.stream(topic), topic.name
        try:
            details = self._session.call(
                purpose, lambda client: client.get_topic(stream, name), self._names.both(topic)
            )
        except TopicMissing:  # of the stream
            return None
        return None if details is None else facts_of(details)

    def ensure(self, topics: Sequence[Topic]) -> dict[Topic, Facts]:
        """Make what is missing. Raises BrokerUnfit (TOPIC_NOT_DURABLE, BROKER_VERSION)."""
        found: dict[Topic, Facts] = {}
        streams: set[str] = set()
        for topic in topics:
            facts = self.find(topic, "admin")
            if facts is None:
                stream = self._names.stream(topic)
                if stream not in streams:
                    self._make_stream(stream)
                    streams.add(stream)
                self._make_topic(topic)
                facts = self.facts(topic, "admin")
            if facts.not_durable:
                raise not_durable(f"{self._session.where} {self._names.both(topic)}", facts.not_durable)
            found[topic] = facts
        return found

    def describe(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        found: dict[Topic, FoundTopic | None] = {}
        for topic in topics:
            facts = self.find(topic, "admin")
            found[topic] = (
                None
                if facts is None
                else FoundTopic(len(facts.ends), retention_s=facts.retention_s, not_durable=facts.not_durable)
            )
        return found

    def raise_to_rule(self, topic: Topic) -> None:
        """More partitions and a longer retention, where the topology has more. Raises TopicMissing."""
        facts, rule = self.facts(topic, "admin"), topic.rule
        stream, name, about = self._names.stream(topic), topic.name, self._names.both(topic)
        more = rule.partitions - len(facts.ends)
        if more > 0:
            self._session.call("admin", lambda client: client.create_partitions(stream, name, more), about)
        if facts.retention_s is not None and facts.retention_s < rule.retention_s:
            import apache_iggy as iggy

            expiry = iggy.IggyExpiry.ExpireDuration(datetime.timedelta(seconds=rule.retention_s))
            self._session.call(
                "admin", lambda client: client.update_topic(stream, name, name, message_expiry=expiry), about
            )

    def _make_stream(self, stream: str) -> None:
        async def make(client: Any) -> None:
            try:
                await client.create_stream(stream)
            except RuntimeError as problem:
                if not is_existing(problem):
                    raise

        self._session.call("admin", make, stream)

    def _make_topic(self, topic: Topic) -> None:
        """By the client's durability keys; over HTTP on a server from before them."""
        import apache_iggy as iggy

        stream, rule = self._names.stream(topic), topic.rule
        keeps = datetime.timedelta(seconds=rule.retention_s)

        async def make(client: Any) -> bool:
            try:
                await client.create_topic(
                    stream,
                    topic.name,
                    rule.partitions,
                    compression_algorithm="none",
                    message_expiry=iggy.IggyExpiry.ExpireDuration(keeps),
                    max_topic_size=iggy.MaxTopicSize.Unlimited(),
                    durability=iggy.Durability.PERSISTED,
                    consumer_offset_durability=iggy.Durability.PERSISTED,
                    messages_required_to_save=1,
                )
            except RuntimeError as problem:
                if is_unknown_option(problem):
                    return False
                if not is_existing(problem):
                    raise
            return True

        if self._session.call("admin", make, self._names.both(topic)):
            return
        http = self._session.options.http
        try:
            http.create_topic(
                stream, topic.name, rule.partitions, int(rule.retention_s * 1e6), OPTIONS_BEFORE_DURABILITY
            )
        except BrokerUnavailable as problem:
            # transient: it may just be dying, or not up yet; one without HTTP is told the same way and another is taken
            raise BrokerUnavailable(
                where=f"{self._session.where} {self._names.both(topic)}",
                expected=f"Apache Iggy {CLIENT_VERSION} that knows durability, or HTTP, which older ones need for it",
                got=f"{self._version()}, which does not know the keys, and over HTTP: {problem.message}",
                repair="Set VCF_PIPELINE_IGGY__HTTP_URL to its HTTP interface, or take a newer server.",
            ) from problem

    def _version(self) -> str:
        with contextlib.suppress(PipelineError):
            stats = self._session.call("admin", lambda client: client.get_stats(), "stats")
            return f"server {stats.iggy_server_version}"
        return "a server of unknown version"
