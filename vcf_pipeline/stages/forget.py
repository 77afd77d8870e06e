"""A callset removed everywhere: first from the ledger, which fences out whoever works on it, then what it left.

Not here: Dagster's partition and runs (defs/launch.py), a whole tenant.
"""

from __future__ import annotations

from dataclasses import dataclass

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
from vcf_pipeline.adapters.stores.lancedb_annotations import LanceAnnotations
from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages.load import unload_kuzu, unload_lancedb
from vcf_pipeline.stages.load_annotations import unload_lancedb_annotations


@dataclass(frozen=True)
class ForgetReport:
    """generation: the one in which it may come again. lancedb_loads: loads deleted. graph: a version without it."""

    generation: int
    lancedb_loads: int
    graph: bool


def forget_callset(
    key: PartitionKey, *, ledger: Ledger, tables: Tables, lancedb: LanceVariants, kuzu: KuzuGraph
) -> ForgetReport:
    """Raises UnknownPartition. Killed at any moment and repeated, it ends the same: each step is idempotent."""
    generation = ledger.forget(key)
    tables.remove(key.tenant, key.callset_id)
    # the same folder; the graph's explanations go with the callset
    unload_lancedb_annotations(key, ledger=ledger, store=LanceAnnotations(lancedb.root))
    return ForgetReport(
        generation=generation,
        lancedb_loads=unload_lancedb(key, ledger=ledger, store=lancedb),
        graph=unload_kuzu(key, ledger=ledger, store=kuzu),
    )
