"""BED → intervals. BED counts from 0 and leaves the end out; INTERVALS count from 1, with the end.

A feature of no length (start = end) lies between two bases and is given both. Rule: the BED format 1.0 of GA4GH.
Not here: what a line is (lines.py).
"""

from __future__ import annotations

import polars as pl

from vcf_pipeline.domain.projections.search_rows import bare_contig
from vcf_pipeline.domain.sources.lines import INTERVALS, columns_of, lines_of, with_positions


def bed_intervals(text: bytes, first_line: int, where: str) -> pl.DataFrame:
    """The lines of a block as INTERVALS. Columns apart by tabs, or else by blanks; name: the fourth, or the place.

    Raises DefectFound.
    """
    lines = lines_of(text, first_line, where).filter(~pl.col("line").str.contains(r"^(?:track|browser)\b"))
    blanks = pl.col("line").str.replace_all(r"[ \t]+", "\t")
    lines = lines.with_columns(pl.when(pl.col("line").str.contains("\t", literal=True)).then("line").otherwise(blanks))
    frame = with_positions(columns_of(lines, ("contig", "start", "end"), where, exactly=False), where, lowest=0)
    fields = lines["line"].str.split("\t")
    name = fields.list.get(3, null_on_oob=True).replace(["", "."], [None, None])
    strand = fields.list.get(5, null_on_oob=True)
    is_empty = pl.col("start") == pl.col("end")
    start = pl.col("start") + pl.when(is_empty).then(0).otherwise(1)
    end = pl.col("end") + pl.when(is_empty).then(1).otherwise(0)
    return frame.select(
        contig=bare_contig(pl.col("contig")),
        start=pl.max_horizontal(start, pl.lit(1, pl.Int64)),
        end=end,
        name=pl.coalesce(name, pl.concat_str("contig", pl.lit(":"), pl.col("start") + 1, pl.lit("-"), pl.col("end"))),
        id=pl.lit(None, pl.String),
        biotype=pl.lit(None, pl.String),
        strand=pl.when(strand.is_in(["+", "-"])).then(strand),
    ).select(pl.col(column).cast(dtype) for column, dtype in INTERVALS.items())
