"""A lab's ledger, tables and sources in a folder; files written, parsed, added and triaged in one call each.

Not for what needs a store or Dagster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.adapters.sources import SourceTables
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.joined_sources import Registered
from vcf_pipeline.stages.parse import parse_callset
from vcf_pipeline.stages.register import register_callset
from vcf_pipeline.stages.sources import SourceReport, SourceRequest, add_source
from vcf_pipeline.stages.triage import TriageReport, triage_callset
from vcf_pipeline_tests.vcf_text import header_text

TENANT = "default"
CLINVAR_INFO = ("CLNSIG,.,String", "CLNREVSTAT,.,String", "CLNSIGCONF,.,String", "CLNDN,.,String", "RS,.,String")
TWO_STARS = "criteria_provided,_multiple_submitters,_no_conflicts"
ONE_STAR = "criteria_provided,_single_submitter"


def claim(significance: str, review: str = TWO_STARS, condition: str = "Long_QT_syndrome") -> str:
    """INFO of a ClinVar record."""
    return f"CLNSIG={significance};CLNREVSTAT={review};CLNDN={condition}"


class Lab:
    """Another process opens the same by the same root."""

    def __init__(self, root: Path, **sizes: int) -> None:
        self.root = root
        self.ledger: Ledger = open_ledger(f"sqlite:///{root / 'ledger.sqlite'}")
        self.tables = Tables(root / "data")
        self.source_tables = SourceTables(root / "data", **sizes)

    @property
    def registered(self) -> Registered:
        return Registered(self.source_tables, self.ledger.sources)

    def vcf(self, name: str, *records: str, assembly: str | None = "GRCh38", **header: Any) -> Path:
        path = self.root / name
        lines = (*((f"##reference={assembly}",) if assembly else ()), *header.pop("lines", ()))
        path.write_text(header_text(lines=lines, **header) + "".join(records))
        return path

    def clinvar(self, name: str, *records: str, assembly: str | None = "GRCh38") -> Path:
        return self.vcf(name, *records, assembly=assembly, info=CLINVAR_INFO)

    def add(self, name: str, path: Path, *, replaces: bool = False, **request: Any) -> SourceReport:
        return add_source(
            str(path),
            tenant=TENANT,
            name=name,
            request=SourceRequest(**request),
            ledger=self.ledger,
            tables=self.source_tables,
            replaces=replaces,
        )

    def parse(self, path: Path, **settings: Any) -> Callset:
        callset, _ = register_callset(
            str(path),
            tenant=TENANT,
            label=None,
            settings=ReaderSettings(**settings),
            ledger=self.ledger,
            new_id=lambda: "id-1",
        )
        with (
            self.ledger.lease(f"parsed_variants/{callset.key}", wait_seconds=5) as lease,
            open_reader(str(path), ReaderSettings(**settings), sha256=callset.sha256) as reader,
        ):
            parse_callset(reader, callset=callset, tables=self.tables, ledger_lease=lease)
        return callset

    def triage(self, key: PartitionKey, **how: Any) -> TriageReport:
        with self.ledger.lease(f"triaged_variants/{key}", wait_seconds=5) as lease:
            return triage_callset(key=key, tables=self.tables, lease=lease, registered=self.registered, **how)

    def triaged(self, key: PartitionKey) -> pl.DataFrame:
        return self.tables.read(key.tenant, key.callset_id, "triaged_variants", "triaged")

    def rows_of(self, name: str) -> pl.DataFrame:
        """Every row of a source, in its order."""
        source = self.ledger.source(TENANT, name)
        last = "key_pos" if source.kind in ("vcf", "tsv") else "end"
        with self.source_tables.open(source.path, last) as rows:
            return pl.concat([rows.empty(), *(rows.read(group) for group in rows.groups)])

    def close(self) -> None:
        self.ledger.close()
