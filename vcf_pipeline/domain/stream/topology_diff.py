"""The topology against what a broker has: what `topology apply` creates, raises, or refuses to touch.

Nothing is ever made smaller: fewer partitions would lose what lies in those that go, and a shorter retention what
nobody has read. So more than the topology asks for is an error where it is about partitions, since the keys' places
follow their number, and welcome otherwise. Not here: the topology (topics.py), the broker's own words (its adapter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vcf_pipeline.domain.errors import PermanentError
from vcf_pipeline.domain.stream.topics import Topic

REPLICATION = 2
"""Copies of every message where the broker is a cluster (DESIGN section 4)."""

Verdict = Literal["same", "missing", "smaller", "larger", "unfit"]


@dataclass(frozen=True)
class FoundTopic:
    """A topic as a broker has it. replication: copies of each message; max_replication: nodes that could hold one.

    retention_s: None keeps for ever. not_durable: why an acknowledged message could be lost, "" where none could.
    """

    partitions: int
    retention_s: float | None = None
    replication: int = 1
    max_replication: int = 1
    not_durable: str = ""


@dataclass(frozen=True)
class TopicDiff:
    """One topic of one broker. same: as the topology asks, or more of what does no harm. missing, smaller: `apply`
    makes or raises it. larger: `apply` would have to take partitions away, and refuses. unfit: no broker changes it
    in place. says: the differences in words.
    """

    broker: str
    topic: Topic
    verdict: Verdict
    says: tuple[str, ...] = ()
    found: FoundTopic | None = None

    @property
    def is_refused(self) -> bool:
        return self.verdict in ("larger", "unfit")


def compared(broker: str, wanted: Sequence[Topic], found: Mapping[Topic, FoundTopic | None]) -> list[TopicDiff]:
    """Each wanted topic against what the broker has, in their order."""
    return [_compared(broker, topic, found.get(topic)) for topic in wanted]


def _compared(broker: str, topic: Topic, found: FoundTopic | None) -> TopicDiff:
    rule = topic.rule
    if found is None:
        return TopicDiff(broker, topic, "missing", (f"{_partitions(rule.partitions)}, kept {_age(rule.retention_s)}",))
    larger, unfit, smaller = [], [], []
    if found.partitions > rule.partitions:
        larger.append(f"{_partitions(found.partitions)}, and the topology has {rule.partitions}")
    if found.not_durable:
        unfit.append(f"an acknowledged message could be lost: {found.not_durable}")
    copies = min(REPLICATION, found.max_replication)
    if found.replication < copies:
        unfit.append(f"replication {found.replication}, and the cluster can hold {copies}")
    if found.partitions < rule.partitions:
        smaller.append(f"{_partitions(found.partitions)}, and the topology has {rule.partitions}")
    if found.retention_s is not None and found.retention_s < rule.retention_s:
        smaller.append(f"kept {_age(found.retention_s)}, and the topology says {_age(rule.retention_s)}")
    verdict: Verdict = "larger" if larger else "unfit" if unfit else "smaller" if smaller else "same"
    return TopicDiff(broker, topic, verdict, (*larger, *unfit, *smaller), found)


def check_applicable(diffs: Sequence[TopicDiff]) -> None:
    """Raises PermanentError(TOPOLOGY_REFUSED) that names every topic which `apply` may not touch."""
    refused = [diff for diff in diffs if diff.is_refused]
    if not refused:
        return
    told = "; ".join(f"{diff.broker}: {diff.topic.full_name} has {', '.join(diff.says)}" for diff in refused)
    raise PermanentError(
        where=f"{len(refused)} of {len(diffs)} topics",
        expected="topics that can be brought to the topology without losing anything",
        got=told,
        repair="Nothing was changed. A topic is never made smaller here: drain it, delete it with the broker's own "
        "tools and apply again, or point this pipeline at another prefix.",
        code="TOPOLOGY_REFUSED",
    )


def _partitions(number: int) -> str:
    return f"{number} partition{'s' if number != 1 else ''}"


def _age(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:g} days" if days >= 1 else f"{seconds:g} s"
