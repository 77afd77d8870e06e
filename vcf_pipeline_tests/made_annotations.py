"""Rows of `ai_annotations` for the callsets of made_tables.py, made without a provider."""

from __future__ import annotations

import polars as pl

from vcf_pipeline.domain.tables.schemas import AI_ANNOTATIONS


def made_answers(
    variants: pl.DataFrame, triaged: pl.DataFrame, *, tiers: tuple[int, ...] = (1, 2), word: str = "known"
) -> pl.DataFrame:
    """Alleles of these tiers are annotated by rules; the last of them is skipped instead. word: in every summary."""
    frame = variants.select("row_id", "record_no", "alt_index", "variant_key", "gene").join(
        triaged.select("record_no", "alt_index", "tier", "significance"), on=["record_no", "alt_index"]
    )
    frame = frame.filter(pl.col("tier").is_in(tiers)).with_row_index("n")
    is_last = pl.col("n") == pl.len() - 1
    frame = frame.with_columns(
        pl.when(is_last).then(pl.lit("skipped")).otherwise(pl.lit("annotated")).alias("status"),
        pl.when(is_last).then(pl.lit("BUDGET_SPENT")).alias("reason"),
        pl.when(~is_last)
        .then(
            pl.concat_str(
                pl.col("variant_key"),
                pl.lit(f"is {word} to be"),
                pl.col("significance").fill_null("unclaimed"),
                separator=" ",
            )
        )
        .alias("summary"),
        pl.col("significance").fill_null("no_claim").alias("significance_label"),
        pl.lit(["INFO:CLNSIG"]).alias("cited"),
        pl.lit("rules").alias("provider"),
        pl.lit("rules-1").alias("model"),
        pl.lit("explain-2").alias("prompt_version"),
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in AI_ANNOTATIONS.items()
    )
