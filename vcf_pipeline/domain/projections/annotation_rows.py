"""Explained alleles → rows that are searched by their words and by what they are about.

Not here: how a text becomes a vector (adapters/embedders), how rows are kept (adapters/stores), which explanations
are current (stages/explanations.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import polars as pl

from vcf_pipeline.domain.errors import PermanentError
from vcf_pipeline.domain.projections.search_rows import bare_contig

ANNOTATION_VERSION = "annotations-1"
"""Raised whenever the columns, the texts or their meaning change: every callset's are then loaded anew."""

ANNOTATION_ROWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.Binary,  # 16 bytes, never null
    "callset_id": pl.String,
    "record_no": pl.Int64,
    "alt_index": pl.Int16,
    "contig": pl.String,  # as the file writes it
    "contig_bare": pl.String,  # without `chr`, M for MT
    "pos": pl.Int64,  # 1-based
    "ref": pl.String,
    "alt": pl.String,
    "ids": pl.List(pl.String),
    "variant_key": pl.String,
    "gene": pl.String,
    "consequence": pl.String,
    "hgvs_c": pl.String,
    "hgvs_p": pl.String,
    "conditions": pl.List(pl.String),
    "tier": pl.Int8,
    "significance_label": pl.String,
    "reading": pl.String,
    "disagrees": pl.Boolean,
    "summary": pl.String,
    "cited": pl.List(pl.String),
    "provider": pl.String,
    "model": pl.String,
    "prompt_version": pl.String,
    "text": pl.String,  # every word that is searched
    "meaning": pl.String,  # the part of it that is made a vector of
    "meaning_id": pl.String,  # 32 hex digits of `meaning`: the same text is embedded once
}
VARIANT_COLUMNS = [
    *("record_no", "alt_index", "contig", "pos", "ref", "alt", "id", "hgvs_c", "hgvs_p"),
]
"""What is read of the table `variants`."""
TRIAGE_COLUMNS = ["record_no", "alt_index", "gene", "consequence", "conditions"]
"""What is read of the table `triaged`."""
ANSWER_COLUMNS = [
    *("row_id", "record_no", "alt_index", "variant_key", "tier", "summary", "significance_label", "reading"),
    *("disagrees", "cited", "provider", "model", "prompt_version"),
]
"""What is read of the table of `ai_annotations`, where the status is annotated."""
LONGEST_VALUE = 200
MOST_VALUES = 20
_KEY = ["record_no", "alt_index"]


def annotation_rows(
    callset_id: str, answered: pl.DataFrame, variants: Iterator[pl.DataFrame], triaged: Iterator[pl.DataFrame]
) -> pl.DataFrame:
    """Rows of ANNOTATION_ROWS, one per answered allele, in their order.

    answered: ANSWER_COLUMNS. variants: VARIANT_COLUMNS, triaged: TRIAGE_COLUMNS, frame by frame; one that a callset's
    own table lacks is null. Memory: the answered rows and one frame. Raises PermanentError (TABLES_DISAGREE) where an
    answered allele is in neither.
    """
    keys = answered.select(_KEY)
    alleles = _found(variants, keys, VARIANT_COLUMNS)
    verdicts = _found(triaged, keys, TRIAGE_COLUMNS)
    frame = answered.join(alleles, on=_KEY, how="left", maintain_order="left").join(
        verdicts, on=_KEY, how="left", maintain_order="left"
    )
    if frame.height != answered.height or frame["contig"].null_count():
        raise PermanentError(
            code="TABLES_DISAGREE",
            where=f"callset {callset_id}",
            expected="the alleles of variants and triaged in ai_annotations",
            got="others",
            repair="Materialise ai_annotations of this callset again.",
        )
    frame = frame.with_columns(
        pl.lit(callset_id).alias("callset_id"),
        bare_contig(pl.col("contig")).alias("contig_bare"),
        _short_list("id").alias("ids"),
        _short_list("conditions").alias("conditions"),
        *(pl.col(name).str.slice(0, LONGEST_VALUE) for name in ("gene", "consequence", "hgvs_c", "hgvs_p")),
    )
    said = pl.col("consequence").str.replace_all("_", " ")
    label = pl.col("significance_label").str.replace_all("_", " ")
    conditions = pl.col("conditions").list.join("; ")
    meaning = _joined([pl.col("gene"), said, label, conditions, pl.col("summary")])
    ids = pl.col("ids").list.join(" ")
    words = [pl.col("meaning"), ids, pl.col("variant_key"), pl.col("hgvs_c"), pl.col("hgvs_p")]
    frame = frame.with_columns(meaning.alias("meaning")).with_columns(_joined(words).alias("text"))
    frame = frame.with_columns(pl.Series("meaning_id", _digests(frame["meaning"].to_list()), dtype=pl.String))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in ANNOTATION_ROWS.items())


def _found(frames: Iterator[pl.DataFrame], keys: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    kept = [frame.join(keys, on=_KEY, how="semi") for frame in frames]
    found = pl.concat(kept) if kept else pl.DataFrame(schema={"record_no": pl.Int64, "alt_index": pl.Int16})
    types = {**ANNOTATION_ROWS, "id": ANNOTATION_ROWS["ids"]}
    return found.select(
        (pl.col(name) if name in found.columns else pl.lit(None).alias(name)).cast(types[name]) for name in columns
    )


def _short_list(column: str) -> pl.Expr:
    """The first values, each cut: a file's text has any length."""
    return pl.col(column).list.head(MOST_VALUES).list.eval(pl.element().str.slice(0, LONGEST_VALUE))


def _joined(parts: Sequence[pl.Expr]) -> pl.Expr:
    return pl.concat_str(list(parts), separator=" . ", ignore_nulls=True)


def _digests(texts: Sequence[str | None]) -> list[str]:
    return [hashlib.blake2b((text or "").encode(), digest_size=16).hexdigest() for text in texts]
