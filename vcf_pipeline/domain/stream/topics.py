"""The topology: every topic, its partitions, retention and cargo.

The data topic is each tenant's own; control topics are shared, with the tenant in the envelope, so that a
sensor's idle cost does not grow with tenants. Control messages carry ids, never variants. Not here: what a
vendor calls a topic (its adapter adds the prefix); who creates them (Broker.ensure_topics).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from vcf_pipeline.domain.errors import TopicMissing
from vcf_pipeline.domain.identity import check_tenant

DAY_S = 86_400.0


@dataclass(frozen=True, order=True)
class Topic:
    """name: as in DESIGN section 4. tenant: of the data topic, which each tenant has for itself; None for
    control.
    """

    name: str
    tenant: str | None = None

    @property
    def full_name(self) -> str:
        """`vcf-callsets`, or `default.vcf-variants`: what is written into cursors and segments."""
        return f"{self.tenant}.{self.name}" if self.tenant else self.name

    @property
    def rule(self) -> TopicRule:
        """Raises TopicMissing for a name that the topology does not have."""
        if self.name not in TOPOLOGY:
            raise TopicMissing(where="topic", expected=f"one of {', '.join(TOPOLOGY)}", got=repr(self.name))
        return TOPOLOGY[self.name]

    @classmethod
    def parse(cls, full_name: str) -> Topic:
        """What `full_name` gave. Raises TopicMissing or BadTenantName for anything else."""
        tenant, dot, name = full_name.rpartition(".")
        topic = cls(name, check_tenant(tenant) if dot else None)
        if topic.rule.is_per_tenant != (topic.tenant is not None):
            raise TopicMissing(where="topic", expected="a topic of the topology", got=repr(full_name))
        return topic


@dataclass(frozen=True)
class TopicRule:
    """retention_s: by age only, since a full topic refuses publishers and never drops what nobody has
    read.
    """

    name: str
    partitions: int
    retention_s: float
    cargo: str
    is_per_tenant: bool = False


TOPOLOGY: dict[str, TopicRule] = {
    rule.name: rule
    for rule in (
        TopicRule("vcf-callsets", 3, 30 * DAY_S, "announcements: a callset is complete"),
        TopicRule("vcf-variants", 10, 7 * DAY_S, "data: batches of variants", is_per_tenant=True),
        TopicRule("ai-analysis-requests", 5, 30 * DAY_S, "a callset has triaged variants to explain"),
        TopicRule("ai-analysis-results", 5, 30 * DAY_S, "a batch of results, for listeners"),
        TopicRule("database-writes", 3, 30 * DAY_S, "a callset has tables to load"),
        TopicRule("cache-events", 2, 7 * DAY_S, "invalidate or update, by key"),
        TopicRule("user-notifications", 1, 7 * DAY_S, "progress, done, failed"),
        TopicRule("dead-letters", 3, 30 * DAY_S, "what could not be processed, with reason and origin"),
    )
}

CALLSETS = Topic("vcf-callsets")
ANALYSIS_REQUESTS = Topic("ai-analysis-requests")
ANALYSIS_RESULTS = Topic("ai-analysis-results")
DATABASE_WRITES = Topic("database-writes")
CACHE_EVENTS = Topic("cache-events")
USER_NOTIFICATIONS = Topic("user-notifications")
DEAD_LETTERS = Topic("dead-letters")
CONTROL: tuple[Topic, ...] = tuple(Topic(rule.name) for rule in TOPOLOGY.values() if not rule.is_per_tenant)


def variants_topic(tenant: str) -> Topic:
    """The tenant's data topic. Raises BadTenantName."""
    return Topic("vcf-variants", check_tenant(tenant))


def partition_for(topic: Topic, key: str) -> int:
    """The broker partition of everything with this key: equal keys keep their order."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % topic.rule.partitions
