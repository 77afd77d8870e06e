"""`callsets`: the one dynamic partition set, a partition per callset. Not here: what a key looks like (identity.py)."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from vcf_pipeline.domain.identity import PartitionKey

CALLSETS = dg.DynamicPartitionsDefinition(name="callsets")


def missing_partitions(instance: dg.DagsterInstance, keys: Iterable[PartitionKey]) -> list[str]:
    """The keys that Dagster does not know yet, in the order given."""
    known = set(instance.get_dynamic_partitions("callsets"))
    return [text for text in map(str, keys) if text not in known]
