"""How many alleles a second are triaged, on made rows where every one has a claim, an impact and four frequencies.

Run by hand: `.venv/bin/python -m vcf_pipeline_tests.benchmarks.triage_rate [ROWS]`. Real files have less evidence
a row and go faster. The floor of the design is 400,000 a second.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import polars as pl

from vcf_pipeline.domain.triage.tiers import tier_counts, triaged

FRAME_ROWS = 100_000


def made_rows(n: int, seed: int = 1) -> pl.DataFrame:
    """n rows with the columns that triage reads; the seed makes them the same each time."""
    draw = np.random.default_rng(seed)

    def one_of(values: list[object], dtype: pl.DataType) -> pl.Series:
        return pl.Series(values, dtype=dtype).gather(draw.integers(0, len(values), n))

    def frequencies() -> pl.Series:
        return pl.Series(draw.random(n) ** 8, dtype=pl.Float32)

    return pl.DataFrame(
        {
            "row_id": pl.Series([b"0123456789abcdef"]).new_from_index(0, n),
            "record_no": pl.Series(np.arange(n)),
            "alt_index": pl.Series([1], dtype=pl.Int16).new_from_index(0, n),
            "variant_key": pl.Series(np.arange(n)).cast(pl.String) + "-1-A-C",
            "qual": pl.Series(draw.random(n) * 100, dtype=pl.Float32),
            "filter": one_of([["PASS"], None, ["LowQual", "q10"]], pl.List(pl.String())),
            "consequence": one_of(["missense_variant", "stop_gained", "intron_variant"], pl.String()),
            "impact": one_of(["MODERATE", "HIGH", "MODIFIER"], pl.String()),
            "gene": pl.Series(draw.integers(0, 2000, n)).cast(pl.String),
            "consequence_af": frequencies(),
            "an": pl.Series([6], dtype=pl.Int32).new_from_index(0, n),
            "ac": pl.Series(draw.integers(0, 3, n), dtype=pl.Int32),
            "info_gnomAD_AF": frequencies(),
            "info_EXACAF": frequencies(),
            "info_AF_popmax": frequencies().cast(pl.String),
            "info_CLNSIG": one_of(
                [["Pathogenic"], ["Benign/Likely_benign"], ["Uncertain_significance"], ["5|2"]],
                pl.List(pl.String()),
            ),
            "info_CLNREVSTAT": one_of(
                [["criteria_provided", "_multiple_submitters", "_no_conflicts"], ["no_criteria|mult"]],
                pl.List(pl.String()),
            ),
            "info_CLNDN": one_of([["Long_QT_syndrome|not_specified"], ["not_provided"]], pl.List(pl.String())),
        }
    )


def rates(rows: pl.DataFrame) -> tuple[float, float, dict[str, int]]:
    """(alleles a second, alleles a CPU-second, alleles by tier)."""
    triaged(rows[:FRAME_ROWS], has_samples=True, assembly="GRCh38")
    wall, cpu = time.perf_counter(), time.process_time()
    counts = dict.fromkeys(("1", "2", "3", "4", "unknown"), 0)
    for first in range(0, rows.height, FRAME_ROWS):
        frame = triaged(rows[first : first + FRAME_ROWS], has_samples=True, assembly="GRCh38")
        counts = {tier: counts[tier] + more for tier, more in tier_counts(frame).items()}
    return rows.height / (time.perf_counter() - wall), rows.height / (time.process_time() - cpu), counts


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    a_second, a_cpu_second, counts = rates(made_rows(n))
    print(f"{n:,} alleles, tiers {counts}: {a_second:,.0f} a second, {a_cpu_second:,.0f} a CPU-second")


if __name__ == "__main__":
    main()
