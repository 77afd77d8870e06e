"""Real variants with their tier, label and forbidden claims: data/golden_variants.json, and what is made of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl

from vcf_pipeline.domain.annotation.brief import TRIAGED_COLUMNS, VARIANT_COLUMNS, Brief, brief_of
from vcf_pipeline.domain.tables.dtypes import parse_dtype
from vcf_pipeline.domain.triage.tiers import triaged
from vcf_pipeline_tests.conftest import DATA


@dataclass(frozen=True)
class Golden:
    """file: of the corpus. row: of its table `variants`. forbidden: summaries that no answer about it may be."""

    file: str
    row: dict[str, Any]
    tier: int | None
    label: str
    reasons: list[str]
    forbidden: list[str]

    @property
    def name(self) -> str:
        return f"{self.file.split('__')[0].removeprefix('annotated/')}-{self.row['variant_key']}"


@cache
def files() -> dict[str, Any]:
    return json.loads((DATA / "golden_variants.json").read_text())["files"]


@cache
def golden() -> list[Golden]:
    return [Golden(**record) for record in json.loads((DATA / "golden_variants.json").read_text())["variants"]]


@cache
def triage_of(name: str, *, is_doubtful: bool = False) -> dict[str, Any]:
    """The variant's triage as its rules make it now, one row. is_doubtful: as if it had been called badly."""
    one = next(one for one in golden() if one.name == name)
    told = files()[one.file]
    schema = {column: parse_dtype(text) for column, text in told["schema"].items()}
    variants = pl.DataFrame([one.row], schema=schema, orient="row")
    if is_doubtful:
        variants = variants.with_columns(filter=pl.lit(["LowQual"]), qual=pl.lit(5.0, pl.Float32))
    rows = triaged(
        variants.with_columns(row_id=pl.lit(b"0" * 16)), has_samples=told["has_samples"], assembly=told["assembly"]
    )
    return rows.row(0, named=True)


@cache
def brief_for(name: str, *, is_doubtful: bool = False) -> Brief:
    one = next(one for one in golden() if one.name == name)
    verdict = triage_of(name, is_doubtful=is_doubtful)
    row = {column: one.row.get(column) for column in VARIANT_COLUMNS}
    return brief_of({**row, **{column: verdict[column] for column in TRIAGED_COLUMNS}}, files()[one.file]["assembly"])


def example(**changed: Any) -> Brief:
    """A brief with a fact of every sort, by default."""
    row = {
        "variant_key": "17-43057062-T-TG",
        "hgvs_c": "NM_007294.4:c.5266dup",
        "hgvs_p": "p.Gln1756ProfsTer74",
        "gene": "BRCA1",
        "consequence": "frameshift_variant",
        "impact": "HIGH",
        "significance": "pathogenic",
        "stars": 3,
        "conditions": ["Hereditary breast ovarian cancer syndrome", "Fanconi anemia, complementation group S"],
        "reasons": ["clinvar_pathogenic", "low_quality"],
        "evidence": [
            {"key": "CLNSIG", "value": "Pathogenic", "source": "INFO", "version": None},
            {"key": "review_status", "value": "reviewed_by_expert_panel", "source": "INFO", "version": None},
            {"key": "gnomAD_AF", "value": "0.0000871536", "source": "INFO", "version": None},
            {"key": "FILTER", "value": "LowQual", "source": "file", "version": None},
        ],
    }
    return brief_of({**row, **changed}, "GRCh38")
