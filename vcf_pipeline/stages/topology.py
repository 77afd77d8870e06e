"""The topology on every broker there is: what stands there, how it differs, bringing it there.

Not here: the comparison (domain/stream/topology_diff.py); what a vendor does for it (adapters/broker).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vcf_pipeline.adapters.broker.port import Broker
from vcf_pipeline.domain.errors import PermanentError, PipelineError
from vcf_pipeline.domain.stream.topics import CONTROL, Topic, variants_topic
from vcf_pipeline.domain.stream.topology_diff import TopicDiff, check_applicable, compared


@dataclass(frozen=True)
class BrokerTopology:
    """One broker's topics. problem: why it could not be asked or changed; then `diffs` is what was seen before."""

    broker: str
    diffs: tuple[TopicDiff, ...]
    problem: PipelineError | None = None


def wanted_topics(tenants: Iterable[str]) -> list[Topic]:
    """The control topics, then each tenant's own. Raises BadTenantName."""
    return [*CONTROL, *(variants_topic(tenant) for tenant in tenants)]


def look(brokers: Sequence[Broker], topics: Sequence[Topic]) -> list[BrokerTopology]:
    """What each broker has of the topics. One that does not answer is said to, and the others are still asked."""
    return [_attempt(broker, lambda broker=broker: _seen(broker, topics)) for broker in brokers]  # type: ignore[misc]


def apply_topology(brokers: Sequence[Broker], topics: Sequence[Topic]) -> list[BrokerTopology]:
    """Create what is missing and raise what is too small, on every broker that answers; then look again.

    Returns what was changed: the differences as they were. Idempotent. Raises PermanentError(TOPOLOGY_REFUSED), and
    changes nothing anywhere, where a topic would have to be made smaller or cannot be changed in place.
    """
    found = look(brokers, topics)
    check_applicable([diff for one in found for diff in one.diffs])
    answer = []
    for broker, before in zip(brokers, found, strict=True):
        if before.problem is not None:
            answer.append(before)
            continue
        after = _attempt(broker, lambda broker=broker, before=before: _applied(broker, before.diffs))  # type: ignore[misc]
        changed = tuple(diff for diff in before.diffs if diff.verdict != "same")
        answer.append(BrokerTopology(broker.name, changed, after.problem))
    return answer


def _seen(broker: Broker, topics: Sequence[Topic]) -> list[TopicDiff]:
    return compared(broker.name, topics, broker.describe_topics(topics))


def _applied(broker: Broker, diffs: Sequence[TopicDiff]) -> list[TopicDiff]:
    missing = [diff.topic for diff in diffs if diff.verdict == "missing"]
    if missing:
        broker.ensure_topics(missing)
    smaller = [diff.topic for diff in diffs if diff.verdict == "smaller"]
    if smaller:
        broker.alter_topics(smaller)
    after = _seen(broker, [diff.topic for diff in diffs]) if missing or smaller else list(diffs)
    left = [diff for diff in after if diff.verdict != "same"]
    if left:
        raise PermanentError(
            where=broker.name,
            expected="the topology, as it was just applied",
            got="; ".join(f"{diff.topic.full_name}: {', '.join(diff.says)}" for diff in left),
            repair="Does the broker override what it is asked for? Its own log and settings say.",
            code="TOPOLOGY_NOT_KEPT",
        )
    return after


def _attempt(broker: Broker, act: Callable[[], list[TopicDiff]]) -> BrokerTopology:
    try:
        return BrokerTopology(broker.name, tuple(act()))
    except PipelineError as problem:
        return BrokerTopology(broker.name, (), problem)
