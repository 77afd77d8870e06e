"""The explanations of a callset that hold for its triage as it is now; others do not count.

Not here: how they come about (annotate.py), how they are searched (search_text.py), how they are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections.graph_rows import GRAPH_VERSION
from vcf_pipeline.domain.tables.manifest import Manifest

ASSET, TABLE = "ai_annotations", "annotations"
TRIAGED = "triaged_variants"


@dataclass(frozen=True)
class Explanations:
    """ai, triaged: manifests of the explanations and of the triage that they were made from."""

    key: PartitionKey
    ai: Manifest
    triaged: Manifest

    @property
    def graph_digest(self) -> str:
        """What of them the graph holds, once it does."""
        return f"{self.ai.digest}/{self.triaged.digest}/{GRAPH_VERSION}"

    def read(self, tables: Tables, columns: Sequence[str]) -> pl.DataFrame:
        """Those that were annotated, in the tables' order."""
        frames = tables.frames(self.key.tenant, self.key.callset_id, ASSET, TABLE, [*columns, "status"])
        kept = [frame.filter(pl.col("status") == "annotated").select(columns) for frame in frames]
        if kept:
            return pl.concat(kept)
        schema = tables.schema(self.key.tenant, self.key.callset_id, ASSET, TABLE)
        return pl.DataFrame(schema={name: schema[name] for name in columns})


def current_explanations(tables: Tables, key: PartitionKey) -> Explanations | None:
    """None where nothing was explained yet, or an older triage was."""
    ai = tables.manifest(key.tenant, key.callset_id, ASSET)
    triaged = tables.manifest(key.tenant, key.callset_id, TRIAGED)
    if ai is None or triaged is None or ai.inputs.get(TRIAGED) != triaged.digest:
        return None
    return Explanations(key, ai, triaged)
