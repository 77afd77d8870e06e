"""Allele rows of a file → rows of a source: where they are sorted, the key they are joined by, the fields of a preset.

Not here: reading the file (domain/vcf, tsv.py), the join itself (domain/triage/joins.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from vcf_pipeline.domain.sources.accessions import with_bare_names
from vcf_pipeline.domain.triage.claims import read_claim
from vcf_pipeline.domain.triage.info_values import an_key, as_frequency, as_number, as_text
from vcf_pipeline.domain.triage.joins import is_left_aligned, place_of_key
from vcf_pipeline.domain.triage.presets import RSID, VARIATION_ID, Preset

ALLELE_HEAD: dict[str, pl.DataType | type[pl.DataType]] = {
    "contig": pl.String,  # bare
    "key_pos": pl.Int64,  # 1-based, of the trimmed allele, as the key has it
    "variant_key": pl.String,  # never null
    "is_left_aligned": pl.Boolean,  # false for an indel that could be written further left
    "is_passing": pl.Boolean,  # FILTER is PASS or `.`
}
"""The first columns of every source of alleles; those of its fields follow. Sorted by contig, key_pos, variant_key."""


def wanted_info(preset: Preset, more: Sequence[str]) -> tuple[str, ...]:
    """INFO keys that a reader of the file has to bring."""
    return tuple(key for key in (*preset.fields(more), "RS") if key not in (RSID, VARIATION_ID))


def field_dtypes(preset: Preset, more: Sequence[str]) -> dict[str, pl.DataType]:
    """Field → dtype of its column, which `stored` names."""
    counts = {an_key(key) for key in preset.frequencies}
    return {
        key: pl.Float32() if key in preset.frequencies else pl.Int64() if key in counts else pl.String()
        for key in preset.fields(more)
    }


def stored(key: str) -> str:
    """The column of a field: a field may be called anything, as the first columns are, too."""
    return f"field_{key}"


def allele_rows_of(
    variants: pl.DataFrame, preset: Preset, more: Sequence[str], assembly: str | None, texts: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Rows with ALLELE_HEAD and the preset's fields; alleles without a key (ALT `.`) are left out.

    variants: as in tables/schemas.py, with the INFO columns of `wanted_info`. texts: of a TSV, record_no and a String
    column `info_…` per field.
    """
    frame = variants.filter(pl.col("variant_key").is_not_null())
    if texts is not None:
        frame = frame.join(texts, on="record_no", how="left", maintain_order="left")
    frame = with_bare_names(frame, assembly)
    contig, key_pos = place_of_key()
    fields = [
        _field(frame, preset, key).cast(dtype).alias(stored(key)) for key, dtype in field_dtypes(preset, more).items()
    ]
    passing = (pl.col("filter").list.len() == 0).fill_null(True) | (pl.col("filter") == ["PASS"])
    return frame.select(
        contig.alias("contig"),
        key_pos.alias("key_pos"),
        "variant_key",
        is_left_aligned().alias("is_left_aligned"),
        passing.fill_null(True).alias("is_passing"),
        *fields,
    )


def _field(frame: pl.DataFrame, preset: Preset, key: str) -> pl.Expr:
    if key == VARIATION_ID:
        return pl.col("id").list.first()
    if key == RSID:
        from_id = pl.col("id").list.eval(pl.element().filter(pl.element().str.contains(r"^rs\d+$"))).list.first()
        number = as_text(frame, "RS").str.extract(r"^(?:rs)?(\d+)", 1)
        return pl.coalesce(from_id, "rs" + number)
    if key in preset.frequencies:
        return as_frequency(pl.coalesce(as_number(frame, key, pl.Float32()), _counted(frame, preset, key)))
    if preset.needs_an and key in (*map(an_key, preset.frequencies), "AC"):
        called = pl.col(key.lower()) if key.lower() in frame.columns else pl.lit(None, pl.Int32)
        return pl.coalesce(as_number(frame, key, pl.Int64()), called)
    if key in map(an_key, preset.frequencies):
        return as_number(frame, key, pl.Int64())
    return as_text(frame, key)


def _counted(frame: pl.DataFrame, preset: Preset, key: str) -> pl.Expr:
    """A cohort's AF from AC and AN, in INFO or as the samples of the file are called."""
    if not preset.needs_an or key != "AF":
        return pl.lit(None, pl.Float32)
    ac, an = _field(frame, preset, "AC").cast(pl.Float64), _field(frame, preset, "AN").cast(pl.Float64)
    return pl.when(an > 0).then(ac / an)


def one_per_key(rows: pl.DataFrame, preset: Preset) -> pl.DataFrame:
    """Each variant_key once, in the same order: of a claim the one with most stars, a pathogenic one before another;
    of a frequency the largest; else the first.

    rows: sorted, all rows of a key among them. So no join multiplies a callset's rows.
    """
    if rows["variant_key"].is_unique().all():
        return rows
    ranked = rows.with_row_index("_at").with_columns(_rank=_rank(rows, preset))
    return (
        ranked.sort(["variant_key", "_rank", "_at"], descending=[False, True, False], nulls_last=True)
        .unique("variant_key", keep="first", maintain_order=True)
        .sort("_at")
        .drop("_at", "_rank")
    )


def _rank(rows: pl.DataFrame, preset: Preset) -> pl.Series:
    """The larger, the rather it is kept. Float64, null for nothing said."""
    if preset.claim is not None:
        keys = [stored(preset.claim.significance), stored(preset.claim.review)]
        distinct = rows.select(keys).unique()
        ranks = []
        for text, review in distinct.iter_rows():
            claim = read_claim(text, review) if text is not None else None
            ranks.append(None if claim is None else 2.0 * (claim.stars or 0) + float(claim.has_pathogenic))
        table = distinct.with_columns(pl.Series("rank", ranks, dtype=pl.Float64))
        return rows.select(keys).join(table, on=keys, how="left", nulls_equal=True, maintain_order="left")["rank"]
    if preset.frequencies:
        return rows.select(
            pl.max_horizontal(pl.col([stored(key) for key in preset.frequencies]).cast(pl.Float64)).alias("rank")
        )["rank"]
    return pl.Series("rank", [None], dtype=pl.Float64).new_from_index(0, rows.height)
