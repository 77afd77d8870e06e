"""Variants and their triage → the searchable rows of a callset, frame by frame.

Not here: load_id and the types of a store (adapters/stores), which rows a question wants (domain/query.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from vcf_pipeline.domain.errors import PermanentError

PROJECTION_VERSION = "search-2"
"""Raised whenever the columns or their meaning change: every callset is then loaded anew."""

SEARCH_ROWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.Binary,  # 16 bytes, never null
    "callset_id": pl.String,
    "record_no": pl.Int64,
    "alt_index": pl.Int16,
    "contig": pl.String,  # as the file writes it
    "contig_bare": pl.String,  # without `chr`, M for MT: what regions are compared with
    "pos": pl.Int64,  # 1-based
    "end": pl.Int64,  # 1-based, inclusive
    "id": pl.String,  # joined by `;`, null for `.`
    "ref": pl.String,
    "alt": pl.String,
    "qual": pl.Float32,
    "filter": pl.String,  # joined by `;`, null for `.`
    "variant_type": pl.String,
    "svtype": pl.String,
    "variant_key": pl.String,
    "gene": pl.String,
    "consequence": pl.String,
    "impact": pl.String,
    "transcript": pl.String,
    "hgvs_c": pl.String,
    "hgvs_p": pl.String,
    "tier": pl.Int8,  # 1–4; null is unknown
    "reasons": pl.List(pl.String),
    "population_af": pl.Float32,  # 0–1
    "significance": pl.String,
    "stars": pl.Int8,
    "conditions": pl.List(pl.String),
    "n_het": pl.Int32,
    "n_hom": pl.Int32,
    "ac": pl.Int32,
    "an": pl.Int32,
}
_TRIAGED_COLUMNS = [
    *("tier", "reasons", "population_af", "significance", "stars", "conditions"),
    *("gene", "consequence", "impact"),
]
_MADE_HERE = ["callset_id", "contig_bare"]
_KEY = ["record_no", "alt_index"]

VARIANT_COLUMNS = [name for name in SEARCH_ROWS if name not in (*_TRIAGED_COLUMNS, *_MADE_HERE)]
"""What is read of the table `variants`."""
TRIAGE_COLUMNS = [*_KEY, *_TRIAGED_COLUMNS]
"""What is read of the table `triaged`."""


def bare_contig(contig: pl.Expr) -> pl.Expr:
    """`chr17` and `17` → `17`; `chrM`, `M` and `MT` → `M`. String in, String out."""
    bare = contig.str.replace(r"^(?i)chr", "")
    return pl.when(bare.str.to_uppercase().is_in(["M", "MT"])).then(pl.lit("M")).otherwise(bare)


def side_by_side(
    variants: Iterator[pl.DataFrame], triaged: Iterator[pl.DataFrame]
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Both tables of a callset in frames of equal rows, however each was cut.

    Both come sorted by (record_no, alt_index) and hold the same rows; at most one frame of each is in memory.
    Raises PermanentError (TABLES_DISAGREE) at the first frame whose keys differ, or when one table is longer.
    """
    left, right = _next_frame(variants), _next_frame(triaged)
    while left is not None and right is not None:
        n_rows = min(left.height, right.height)
        pair = left.head(n_rows), right.head(n_rows)
        if not pair[0].select(_KEY).equals(pair[1].select(_KEY)):
            raise _disagreement(pair[0]["record_no"][0])
        yield pair
        left = left.slice(n_rows) if left.height > n_rows else _next_frame(variants)
        right = right.slice(n_rows) if right.height > n_rows else _next_frame(triaged)
    rest = left if left is not None else right
    if rest is not None:
        raise _disagreement(rest["record_no"][0])


def search_rows(
    callset_id: str, variants: Iterator[pl.DataFrame], triaged: Iterator[pl.DataFrame]
) -> Iterator[pl.DataFrame]:
    """Frames with the columns of SEARCH_ROWS, one row per allele row, in the tables' order.

    variants: VARIANT_COLUMNS; one that a callset's own table lacks is null. triaged: TRIAGE_COLUMNS.
    Raises what side_by_side raises.
    """
    for alleles, verdicts in side_by_side(variants, triaged):
        own = alleles.drop(_TRIAGED_COLUMNS, strict=False)
        yield pl.concat([own, verdicts.select(_TRIAGED_COLUMNS)], how="horizontal").select(
            _column(name, dtype, own, callset_id) for name, dtype in SEARCH_ROWS.items()
        )


def _column(name: str, dtype: pl.DataType | type[pl.DataType], alleles: pl.DataFrame, callset_id: str) -> pl.Expr:
    if name == "callset_id":
        return pl.lit(callset_id).alias(name)
    if name == "contig_bare":
        return bare_contig(pl.col("contig")).alias(name)
    if name not in _TRIAGED_COLUMNS and name not in alleles.columns:
        return pl.lit(None, dtype=dtype).alias(name)
    if name in ("id", "filter") and isinstance(alleles.schema[name], pl.List):
        return pl.col(name).list.join(";").alias(name)
    return pl.col(name).cast(dtype)


def _next_frame(frames: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    return next((frame for frame in frames if frame.height), None)


def _disagreement(record_no: int) -> PermanentError:
    return PermanentError(
        code="TABLES_DISAGREE",
        where=f"record {record_no}",
        expected="the same allele rows in variants and triaged",
        got="different ones",
        repair="Materialise triaged_variants of this callset again.",
    )
