"""A callset is *done* when every table of it is written and both stores have it as its tables say.

Not here: the writing (parse.py, triage.py) and the loading (load.py).
"""

from __future__ import annotations

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages.load import is_load_of

STORES = ("lancedb", "kuzu")


def complete_callset(key: PartitionKey, *, ledger: Ledger, tables: Tables) -> bool:
    """Mark the callset done if it is; True when it is. Manifests and loads decide, in any order of the stages."""
    callset = ledger.callset(key)
    parsed = tables.manifest(key.tenant, key.callset_id, "parsed_variants")
    triaged = tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    if callset is None or parsed is None or triaged is None:
        return False
    if triaged.inputs.get("parsed_variants") != parsed.digest:
        return False
    loads = [ledger.current_load(store, key) for store in STORES]
    if not all(load is not None and is_load_of(load.digest, parsed.digest, triaged.digest) for load in loads):
        return False
    ledger.mark_done(
        key,
        records=parsed.records,
        alleles=parsed.alleles,
        rejected=parsed.rejected,
        digest=parsed.digest,
        generation=callset.generation,
    )
    return True
