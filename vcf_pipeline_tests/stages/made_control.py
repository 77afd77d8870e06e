"""A ledger, tables and both stores in a folder, and callsets in them that no VCF was read for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.adapters.sources import SourceTables
from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph, Written
from vcf_pipeline.adapters.stores.lancedb_annotations import LanceAnnotations
from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections.graph_rows import GraphRows
from vcf_pipeline.stages.joined_sources import Registered
from vcf_pipeline.stages.load import LoadReport, load_kuzu, load_lancedb
from vcf_pipeline_tests.made_annotations import made_answers
from vcf_pipeline_tests.made_tables import made_genotypes, made_triaged, made_variants

TENANT = "default"
SAMPLES = ["anna", "bert"]


class MadeControl:
    """What stages are given. Another process opens the same by the same root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.ledger: Ledger = open_ledger(f"sqlite:///{root / 'ledger.sqlite'}")
        self.tables = Tables(self.data)
        self.lancedb = LanceVariants(self.data)
        self.annotations = LanceAnnotations(self.data)
        self.kuzu = KuzuGraph(self.data, buffer_pool_bytes=64 << 20)
        self.registered = Registered(SourceTables(self.data), self.ledger.sources)

    def put(
        self,
        digit: str,
        n_records: int = 20,
        *,
        label: str | None = None,
        first_pos: int = 1000,
        calls: Sequence[int] = (0, 1, 1, 1),
        variants: pl.DataFrame | None = None,
    ) -> PartitionKey:
        """A callset with parsed and triaged tables; again with other rows, the tables are replaced."""
        key = PartitionKey(TENANT, digit * 16)
        self.ledger.register(
            TENANT,
            key.callset_id,
            label=label or f"made {digit}",
            uri="made here",
            sha256=digit * 64,
            size_bytes=1,
            assembly=None,
            reader_settings={},
            settings_fingerprint="0" * 16,
            correlation_id="0" * 36,
        )
        if variants is None:
            variants = made_variants(n_records, callset=digit, first_pos=first_pos)
        parsed = {
            "variants": variants,
            "genotypes": made_genotypes([list(calls)] * max(n_records, 1)).head(n_records),
        }
        facts: dict[str, Any] = {"label": label or f"made {digit}"}
        known = {"records": n_records, "alleles": variants.height, "samples": SAMPLES, "assembly": "GRCh38"}
        self.write(key, "parsed_variants", parsed, facts | known)
        self.write(key, "triaged_variants", {"triaged": made_triaged(variants)}, facts)
        return key

    def explain(self, key: PartitionKey, *, word: str = "known", tiers: tuple[int, ...] = (1, 2)) -> None:
        """Explanations of the callset as its tables are, by rules; word: in every summary."""
        variants = self.tables.read(TENANT, key.callset_id, "parsed_variants", "variants")
        triaged = self.tables.read(TENANT, key.callset_id, "triaged_variants", "triaged")
        manifest = self.tables.manifest(TENANT, key.callset_id, "triaged_variants")
        assert manifest is not None
        answers = made_answers(variants, triaged, tiers=tiers, word=word)
        facts = {"inputs": {"triaged_variants": manifest.digest}}
        self.write(key, "ai_annotations", {"annotations": answers}, facts)

    def write(
        self, key: PartitionKey, asset: str, frames: dict[str, pl.DataFrame], facts: dict[str, Any] | None = None
    ) -> None:
        """An asset of one or more tables; triage is cut elsewhere than the variants."""
        n_rows = 7 if asset == "triaged_variants" else 9
        said = {"label": "made", "correlation_id": "", "code_version": "1"} | (facts or {})
        with (
            self.ledger.lease(f"{asset}/{key}", wait_seconds=5) as lease,
            self.tables.writer(key, asset, fence=lease.fence) as writer,
        ):
            for table, frame in frames.items():
                for start in range(0, max(frame.height, 1), n_rows):
                    writer.write(table, frame.slice(start, n_rows))
            writer.commit(said, lease.guard)

    def load_lancedb(self, key: PartitionKey) -> LoadReport:
        return load_lancedb(key=key, tables=self.tables, ledger=self.ledger, store=self.lancedb)

    def load_kuzu(self, key: PartitionKey) -> LoadReport:
        return load_kuzu(key=key, tables=self.tables, ledger=self.ledger, store=self.kuzu)

    def graph_is_at(self) -> str:
        version = self.ledger.graph_version(TENANT)
        assert version is not None
        return version.path

    def close(self) -> None:
        self.ledger.close()


def die() -> None:
    """The kill that cannot be caught, at exactly this place."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingLance(LanceVariants):
    """Dies once: `rows` in the middle of adding, `added` before the ledger hears of it, `removing` after."""

    def __init__(self, root: Path, moment: str) -> None:
        super().__init__(root)
        self.moment = moment

    def add(self, tenant: str, load_id: str, frames: Iterator[pl.DataFrame]) -> int:
        def until_it_dies() -> Iterator[pl.DataFrame]:
            for frame in frames:
                yield frame
                if self.moment == "rows":
                    die()

        n_rows = super().add(tenant, load_id, until_it_dies())
        if self.moment == "added":
            die()
        return n_rows

    def remove(self, tenant: str, load_ids: Sequence[str]) -> None:
        if self.moment == "removing":
            die()
        super().remove(tenant, load_ids)


class DyingGraph(KuzuGraph):
    """Dies once: `rows` while the version is written, `written` before it is published, `discarding` after."""

    def __init__(self, root: Path, moment: str) -> None:
        super().__init__(root, buffer_pool_bytes=64 << 20)
        self.moment = moment

    def write_version(self, tenant: str, **given: Any) -> Written:
        def until_it_dies() -> Iterator[GraphRows]:
            for rows in given["callsets"]:
                yield rows
                if self.moment == "rows":
                    die()

        written = super().write_version(tenant, **{**given, "callsets": until_it_dies()})
        if self.moment == "written":
            die()
        return written

    def discard(self, path: str) -> None:
        if self.moment == "discarding":
            die()
        super().discard(path)

    def sweep(self, tenant: str, keep: Any) -> list[str]:
        if self.moment == "discarding":
            die()
        return super().sweep(tenant, keep)


def load_until_it_dies(root: Path, store: str, digit: str, moment: str) -> None:
    """What a child process runs."""
    control = MadeControl(root)
    key = PartitionKey(TENANT, digit * 16)
    if store == "lancedb":
        control.lancedb = DyingLance(control.data, moment)
        control.load_lancedb(key)
    else:
        control.kuzu = DyingGraph(control.data, moment)
        control.load_kuzu(key)
