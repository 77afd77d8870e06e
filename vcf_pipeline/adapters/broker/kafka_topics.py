"""What a Kafka cluster says of its topics: their names, ids, partitions and offsets.

Topic names have one separator, `.`, since two names that differ by `.` and `_` collide. An answer is believed only
after fresh metadata where the client may be guessing (kafka_errors.STALE). Not here: making topics and their
settings (kafka_topology.py); messages.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vcf_pipeline.adapters.broker.kafka_clients import PROBE_S, Clients
from vcf_pipeline.adapters.broker.kafka_errors import NO_SUCH_TOPIC, STALE, mapped, problem_of, timed_out
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable, TopicMissing
from vcf_pipeline.domain.stream.topics import Topic

if TYPE_CHECKING:
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

Key = TypeVar("Key")
Place = tuple[Topic, int]

NO_ID = "A" * 22
"""A topic's id where a cluster gives none: sixteen zero bytes."""

PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_PAUSE_S = 0.02


@dataclass(frozen=True)
class KnownTopic:
    """incarnation: the topic's id; where a cluster gives none, the cluster's own."""

    name: str
    incarnation: str
    partitions: int
    replication: int


class Topics:
    """prefix: of every name. answer_s: how long a question may take."""

    def __init__(self, clients: Clients, prefix: str, answer_s: float) -> None:
        if not PREFIX.fullmatch(prefix):
            raise BadSetting(where="kafka prefix", expected="up to 100 letters, digits and '-'", got=repr(prefix[:120]))
        self._clients, self._prefix, self.answer_s = clients, prefix, answer_s
        self._known: dict[Topic, tuple[float, KnownTopic]] = {}

    def name_of(self, topic: Topic) -> str:
        return f"{self._prefix}.{topic.full_name}"

    def where(self, topic: Topic, partition: int | None = None) -> str:
        return f"{self._clients.address}: {self.name_of(topic)}" + ("" if partition is None else f"[{partition}]")

    # ---- looking

    def known(self, topic: Topic, *, max_age_s: float = 0.0, wait_s: float | None = None) -> KnownTopic:
        """Asked anew when what was heard is older. Raises TopicMissing, BrokerUnavailable, BrokerTimeout."""
        at, found = self._known.get(topic, (-1e9, None))
        if found is not None and time.monotonic() - at <= max_age_s:
            return found
        return self.all_known([topic], wait_s)[topic]

    def all_known(self, topics: Iterable[Topic], wait_s: float | None = None) -> dict[Topic, KnownTopic]:
        """Raises TopicMissing for the first that is not there."""
        found = self.described(list(topics), wait_s)
        for topic, one in found.items():
            if one is None:
                raise no_topic(self.where(topic))
        return {topic: one for topic, one in found.items() if one is not None}

    def described(self, topics: Sequence[Topic], wait_s: float | None = None) -> dict[Topic, KnownTopic | None]:
        """Never creates one, as asking a broker for metadata of a name may."""
        from confluent_kafka import TopicCollection

        names = {self.name_of(topic): topic for topic in topics}
        if not names:
            return {}
        answers = self.asked(
            lambda admin: admin.describe_topics(TopicCollection(list(names)), request_timeout=wait_s or self.answer_s),
            cures=STALE - NO_SUCH_TOPIC,
            wait_s=wait_s,
        )
        found: dict[Topic, KnownTopic | None] = {}
        now = time.monotonic()
        for name, topic in names.items():
            answer, problem = answers[name]
            if problem is not None and problem.name() not in NO_SUCH_TOPIC:
                raise mapped(problem, self.where(topic))
            found[topic] = None if problem is not None else self._read(name, answer)
            if (one := found[topic]) is not None:
                self._known[topic] = (now, one)
            else:
                self._known.pop(topic, None)
        return found

    def _read(self, name: str, answer: Any) -> KnownTopic:
        identity = str(answer.topic_id or NO_ID)
        replicas = [len(partition.replicas) for partition in answer.partitions]
        return KnownTopic(
            name,
            incarnation=identity if identity != NO_ID else self._cluster(),
            partitions=len(answer.partitions),
            replication=min(replicas, default=0),
        )

    def _cluster(self) -> str:
        answers = self.asked(lambda admin: {"cluster": admin.describe_cluster(request_timeout=self.answer_s)})
        answer, problem = answers["cluster"]
        if problem is not None:
            raise mapped(problem, self._clients.address)
        return f"cluster-{answer.cluster_id}"

    def check_partition(self, topic: Topic, partition: int, known: KnownTopic) -> None:
        if not 0 <= partition < known.partitions:
            raise TopicMissing(
                where=self.where(topic),
                expected=f"a partition from 0 to {known.partitions - 1}",
                got=str(partition),
                repair="`vcf-pipeline topology apply` adds the partitions that a topic lacks.",
            )

    def bounds(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """(oldest, end) of each, both of what is committed. Raises TopicMissing, BrokerUnavailable, BrokerTimeout."""
        oldest = self._offsets(places, is_end=False)
        ends = self._offsets(places, is_end=True)
        return {place: (oldest[place], ends[place]) for place in places}

    def ends(self, places: Sequence[Place], wait_s: float | None = None) -> dict[Place, int]:
        return self._offsets(places, is_end=True, wait_s=wait_s)

    def ask_end(self, admin: AdminClient, topic: Topic, partition: int, wait_s: float) -> Future[Any]:
        """A question to the leader of that partition, on another connection than the messages'."""
        return self._list_offsets(admin, [(topic, partition)], is_end=True, wait_s=wait_s)[topic, partition]

    def _offsets(self, places: Sequence[Place], *, is_end: bool, wait_s: float | None = None) -> dict[Place, int]:
        if not places:
            return {}
        wait_s = self.answer_s if wait_s is None else wait_s
        answers = self.asked(
            lambda admin: self._list_offsets(admin, places, is_end=is_end, wait_s=wait_s), wait_s=wait_s
        )
        found: dict[Place, int] = {}
        for place, (answer, problem) in answers.items():
            if problem is not None:
                raise mapped(problem, self.where(*place))
            if answer.offset < 0:  # a frozen broker "succeeds" with -1001
                self._clients.doubt()
                raise timed_out(self.where(*place), f"none within {wait_s:g} s")
            found[place] = answer.offset
        return found

    def _list_offsets(
        self, admin: AdminClient, places: Sequence[Place], *, is_end: bool, wait_s: float
    ) -> dict[Place, Future[Any]]:
        from confluent_kafka import IsolationLevel, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        spec = OffsetSpec.latest() if is_end else OffsetSpec.earliest()
        named = {(self.name_of(topic), partition): (topic, partition) for topic, partition in places}
        futures = admin.list_offsets(
            {TopicPartition(name, partition): spec for name, partition in named},
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=wait_s,
        )
        return {named[place.topic, place.partition]: future for place, future in futures.items()}

    def _answer(self, admin: AdminClient, future: Future[Any], wait_s: float) -> Any:
        """Of a question that is late, whether anybody is there is asked beside it: it alone would wait its time out."""
        with contextlib.suppress(NoAnswer):
            return future.result(min(PROBE_S, wait_s))
        try:
            self._clients.refresh(admin, wait_s)
            return future.result(wait_s)
        except NoAnswer:
            self._clients.doubt()
            raise timed_out(self._clients.address, f"none within {wait_s:g} s") from None
        except (BrokerUnavailable, BadSetting):
            self._clients.doubt()
            raise

    def asked(
        self,
        ask: Callable[[AdminClient], Mapping[Key, Future[Any]]],
        *,
        cures: frozenset[str] = STALE,
        wait_s: float | None = None,
    ) -> dict[Key, tuple[Any, KafkaError | None]]:
        """Every answer or its error; asked again with fresh metadata, for a while, where that may cure one."""
        from confluent_kafka import KafkaException

        wait_s = self.answer_s if wait_s is None else wait_s
        deadline = time.monotonic() + wait_s
        while True:
            answers: dict[Key, tuple[Any, KafkaError | None]] = {}
            admin = self._clients.admin(wait_s)
            for key, future in ask(admin).items():
                try:
                    answers[key] = (self._answer(admin, future, wait_s), None)
                except KafkaException as exception:
                    answers[key] = (None, problem_of(exception))
            problems = {problem.name() for _, problem in answers.values() if problem is not None}
            if problems - NO_SUCH_TOPIC:
                self._clients.doubt()
            if not problems & cures or time.monotonic() > deadline:
                return answers
            self._clients.doubt()
            time.sleep(_PAUSE_S)


def no_topic(where: str) -> TopicMissing:
    return TopicMissing(
        where=where,
        expected="a topic",
        got="none",
        repair="It is made when something is published; `vcf-pipeline topology show` lists what is there.",
    )
