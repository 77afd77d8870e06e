"""A VCF read, triaged and explained in a folder, with whatever settings; what the fakes were asked for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.annotate import AnnotateReport, annotate_callset
from vcf_pipeline.testing.fake_providers import Received
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.stages.test_triage import KEY, HeldLease, parsed_file, triage

HEAD = """\
##fileformat=VCFv4.3
##contig=<ID=1,length=248956422,assembly=GRCh38>
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="ClinVar">
##INFO=<ID=CLNREVSTAT,Number=.,Type=String,Description="ClinVar">
##INFO=<ID=CLNDN,Number=.,Type=String,Description="ClinVar">
##INFO=<ID=gnomAD_AF,Number=A,Type=Float,Description="gnomAD">
##INFO=<ID=NOTE,Number=1,Type=String,Description="of the lab">
##INFO=<ID=CSQ,Number=.,Type=String,Description="VEP Format: Allele|Consequence|IMPACT|SYMBOL|HGVSc|HGVSp">
"""
PATHOGENIC = "CLNSIG=Pathogenic;CLNREVSTAT=criteria_provided,_multiple_submitters,_no_conflicts"


def vcf(folder: Path, *records: str, samples: tuple[str, ...] = (), name: str = "made.vcf") -> Path:
    """records: whole lines. samples: named in the header line."""
    columns = [
        "#CHROM",
        "POS",
        "ID",
        "REF",
        "ALT",
        "QUAL",
        "FILTER",
        "INFO",
        *(["FORMAT", *samples] if samples else []),
    ]
    formats = '##FORMAT=<ID=GT,Number=1,Type=String,Description="GT">\n' if samples else ""
    path = folder / name
    path.write_text(HEAD + formats + "\t".join(columns) + "\n" + "".join(records))
    return path


class Annotating:
    """Tables and a control of their own, of one callset."""

    def __init__(self, folder: Path, path: Path, environ: Mapping[str, str] | None = None) -> None:
        self.tables = Tables(folder / "data")
        parsed_file(self.tables, path)
        triage(self.tables)
        self.home = folder / "home"
        self.open(environ or {})
        self.letters: list[tuple[bytes, str, str]] = []

    def open(self, environ: Mapping[str, str]) -> None:
        """A control with these settings, in place of the one before."""
        if hasattr(self, "control"):
            self.control.close()
        self.control = Control(load_settings(environ, home=self.home))

    def annotate(self, tenant: str = KEY.tenant, **how: Any) -> AnnotateReport:
        return annotate_callset(
            key=KEY,
            tables=self.tables,
            lease=HeldLease(2),
            wanted=self.control.wanted(tenant),
            explainer=self.control.explainer,
            dead_letter=lambda body, origin, reason: self.letters.append((body, origin, reason)),
            **how,
        )

    def rows(self) -> pl.DataFrame:
        table = self.tables.read(KEY.tenant, KEY.callset_id, "ai_annotations", "annotations")
        return table.sort("record_no", "alt_index")

    def triaged(self) -> pl.DataFrame:
        return self.tables.read(KEY.tenant, KEY.callset_id, "triaged_variants", "triaged")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.control.close()


def asked(call: Received) -> list[dict[str, str]]:
    """The messages of one call."""
    messages: list[dict[str, str]] = json.loads(call.body)["messages"]
    return messages
