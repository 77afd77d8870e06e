"""INFO columns of any type → text, a number for each allele, a frequency; and how a frequency's AN is called.

Not here: which keys are known (evidence.py, presets.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class ClaimKeys:
    """INFO keys of one claim: significance, review status, what the submitters said, conditions."""

    significance: str
    review: str
    detail: str
    conditions: tuple[str, ...]

    def all(self) -> tuple[str, ...]:
        return (self.significance, self.review, self.detail, *self.conditions)


def clinvar_keys(prefix: str = "") -> ClaimKeys:
    """As ClinVar names them, with what annotators put before the names."""
    return ClaimKeys(
        f"{prefix}CLNSIG", f"{prefix}CLNREVSTAT", f"{prefix}CLNSIGCONF", (f"{prefix}CLNDN", f"{prefix}CLNDBN")
    )


def an_key(key: str) -> str:
    """The key that counts the alleles of a frequency's key: gnomAD_AF → gnomAD_AN, AF_popmax → AN_popmax."""
    return re.sub(r"(A|a)(F|f)(?=_|$)", lambda found: found[1] + ("N" if found[2] == "F" else "n"), key, count=1)


def as_frequency(number: pl.Expr) -> pl.Expr:
    """Float32, null where it is not between 0 and 1."""
    return pl.when(number.is_between(0, 1)).then(number).cast(pl.Float32)


def as_text(frame: pl.DataFrame, key: str) -> pl.Expr:
    """An INFO column of any type as the text that the file has; null where it is absent or empty."""
    column = f"info_{key}"
    if column not in frame.columns:
        return pl.lit(None, pl.String)
    text = pl.col(column)
    if isinstance(frame.schema[column], pl.List):
        if (frame[column].list.len() > 1).any():
            joined = text.cast(pl.List(pl.String)).list.join(",", ignore_nulls=True)
            return joined.replace(["", "."], [None, None])
        text = text.list.get(0, null_on_oob=True)  # twenty times quicker, and most lists are of one
    text = text.cast(pl.String)
    return pl.when(~text.is_in(["", "."])).then(text)


def as_number(frame: pl.DataFrame, key: str, dtype: pl.DataType) -> pl.Expr:
    """An INFO column of any type as one number for each allele; null where it is absent or no number.

    A list of one is for all alleles; of a longer one each allele takes its own, so that a rare allele never
    inherits the frequency of a common one beside it.
    """
    column = f"info_{key}"
    if column not in frame.columns or frame.schema[column] == pl.Boolean:
        return pl.lit(None, dtype)
    values = pl.col(column)
    if frame.schema[column] == pl.String:
        if not frame[column].str.contains(",", literal=True).any():
            return values.cast(dtype, strict=False)
        values = values.str.split(",")
    elif not isinstance(frame.schema[column], pl.List):
        return values.cast(dtype, strict=False)
    own = values.list.get(pl.col("alt_index").cast(pl.Int64) - 1, null_on_oob=True)
    one = pl.when(values.list.len() == 1).then(values.list.first()).when(pl.col("alt_index") > 0).then(own)
    return one.cast(dtype, strict=False)
