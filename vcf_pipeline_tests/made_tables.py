"""Frames of a small callset, made without a VCF. Not where parity with bcftools or the reader is the point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import polars as pl

from vcf_pipeline.domain.tables.schemas import TRIAGED, VARIANTS_HEAD, VARIANTS_TAIL

GENES = ("BRCA1", "BRCA2", "C9orf72", "TP53")


def made_variants(n_records: int, *, contig: str = "chr17", first_pos: int = 1000, callset: str = "a") -> pl.DataFrame:
    """One SNV per record, ten bases apart, the genes of GENES in turn; every fifth has none."""
    number = np.arange(n_records)
    pos = first_pos + 10 * number
    bare = contig.removeprefix("chr")
    gene = pl.Series([None if i % 5 == 4 else GENES[i % 5] for i in range(n_records)], dtype=pl.String)
    frame = pl.DataFrame(
        {
            "row_id": [blake2b(f"{callset}/{i}".encode(), digest_size=16).digest() for i in range(n_records)],
            "record_no": number,
            "contig": [contig] * n_records,
            "pos": pos,
            "end": pos,
            "id": [["rs1", "rs2"] if i % 2 else None for i in range(n_records)],
            "ref": ["A"] * n_records,
            "alt": ["T"] * n_records,
            "alt_index": [1] * n_records,
            "qual": [50.0] * n_records,
            "filter": [["PASS"]] * n_records,
            "variant_type": ["snv"] * n_records,
            "variant_key": [f"{bare}-{p}-A-T" for p in pos],
            "gene": gene,
        }
    ).with_columns(
        pl.when(pl.col("gene").is_not_null()).then(pl.lit("missense_variant")).alias("consequence"),
        pl.when(pl.col("gene").is_not_null()).then(pl.lit("MODERATE")).alias("impact"),
    )
    schema = {"row_id": pl.Binary, **VARIANTS_HEAD, **VARIANTS_TAIL}
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in schema.items()
    )


def made_triaged(variants: pl.DataFrame) -> pl.DataFrame:
    """Tiers 1 to 4 and unknown in turn; tier 1 has a claim."""
    tier = pl.Series("tier", [(1, 2, 3, 4, None)[i % 5] for i in range(variants.height)], dtype=pl.Int8)
    is_claimed = pl.col("tier") == 1
    own = [name for name in ("gene", "consequence", "impact") if name in variants.columns]
    frame = variants.select("row_id", "record_no", "alt_index", *own).with_columns(
        tier,
        pl.Series("reasons", [["made_here"]] * variants.height, dtype=pl.List(pl.String)),
        pl.Series("population_af", [(0.001, 0.2, None)[i % 3] for i in range(variants.height)], dtype=pl.Float32),
    )
    frame = frame.with_columns(
        pl.when(is_claimed).then(pl.lit("pathogenic")).alias("significance"),
        pl.when(is_claimed).then(2).cast(pl.Int8).alias("stars"),
        pl.when(is_claimed).then(pl.lit(["Breast cancer"])).alias("conditions"),
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in TRIAGED.items()
    )


def made_genotypes(calls: Sequence[Sequence[int]], *, ploidy: int = 2) -> pl.DataFrame:
    """calls: a row per record, its samples' alleles side by side, `ploidy` of each; none is phased."""
    width = len(calls[0])
    n_samples = max(1, width // ploidy)
    return pl.DataFrame(
        {
            "record_no": np.arange(len(calls)),
            "gt": pl.Series(calls, dtype=pl.Array(pl.Int8, width)),
            "phased": pl.Series([[False] * n_samples] * len(calls), dtype=pl.Array(pl.Boolean, n_samples)),
        }
    )


def cut(frame: pl.DataFrame, *sizes: int) -> Iterator[pl.DataFrame]:
    """The frame in pieces of these sizes, then the rest."""
    start = 0
    for size in sizes:
        yield frame.slice(start, size)
        start += size
    yield frame.slice(start)
