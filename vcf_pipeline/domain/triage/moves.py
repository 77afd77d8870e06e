"""Two triages of the same alleles → which moved between tiers, or kept theirs under another claim, and because of what.

A lab's reclassification watch. Not here: where the older one is kept (stages/triage.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from vcf_pipeline.domain.tables.schemas import TIER_MOVES

OLD_COLUMNS = ["row_id", "record_no", "tier", "reasons", "evidence", "significance", "stars"]
"""What is read of the older triage."""
_MADE_LATER = ("because", "moved_at")
SOURCE_INPUT = "source:"
"""What the name of an input of a triage begins with that is a registered source; its value is the version."""


class OlderRows:
    """The rows of the older triage, handed out by record as the newer one goes on. Both ascend in record_no."""

    def __init__(self, frames: Iterator[pl.DataFrame]) -> None:
        self._frames = frames
        self._waiting: pl.DataFrame | None = next(frames, None)

    def through(self, record_no: int) -> pl.DataFrame:
        """All rows not yet handed out up to this record. Memory: those, and one frame."""
        parts = []
        while self._waiting is not None:
            parts.append(self._waiting.filter(pl.col("record_no") <= record_no))
            if self._waiting.height and int(self._waiting["record_no"][-1]) > record_no:
                self._waiting = self._waiting.filter(pl.col("record_no") > record_no)
                break
            self._waiting = next(self._frames, None)
        return pl.concat(parts) if parts else pl.DataFrame(schema={"row_id": pl.Binary, "record_no": pl.Int64})


def moved(old: pl.DataFrame, new: pl.DataFrame, variant_key: pl.Series) -> pl.DataFrame:
    """Rows of TIER_MOVES, without because and moved_at, of the alleles in both whose tier differs; in `new`'s order.

    old: OLD_COLUMNS. new: rows of `triaged`. variant_key: of `new`, row by row.
    """
    return _changes(old, new, variant_key, pl.col("old_tier").ne_missing(pl.col("tier")))


def claims_changed(old: pl.DataFrame, new: pl.DataFrame, variant_key: pl.Series) -> pl.DataFrame:
    """Likewise of the alleles that keep their tier, though their significance or its stars are other ones."""
    # no star and none that is known weigh alike
    stars = pl.col("old_stars").fill_null(0) != pl.col("stars").fill_null(0)
    is_other = pl.col("old_significance").ne_missing(pl.col("significance")) | stars
    return _changes(old, new, variant_key, pl.col("old_tier").eq_missing(pl.col("tier")) & is_other)


def _changes(old: pl.DataFrame, new: pl.DataFrame, variant_key: pl.Series, is_told: pl.Expr) -> pl.DataFrame:
    given = [name for name in TIER_MOVES if name not in _MADE_LATER]
    if not old.height or not new.height:
        return pl.DataFrame(schema={name: TIER_MOVES[name] for name in given})
    before = old.select(
        *("row_id", pl.col("tier", "reasons", "significance", "stars").name.prefix("old_")), _old="evidence"
    )
    both = new.with_columns(variant_key=variant_key).join(before, on="row_id", how="inner", maintain_order="left")
    changed = both.filter(is_told).rename({"tier": "new_tier", "reasons": "new_reasons", "evidence": "_new"})
    said = changed.with_columns(_texts("_old"), _texts("_new"))
    return said.with_columns(
        old_evidence=pl.col("_old").list.set_difference("_new"), new_evidence=pl.col("_new").list.set_difference("_old")
    ).select(pl.col(name).cast(TIER_MOVES[name]) for name in given)


def _texts(column: str) -> pl.Expr:
    """Each statement as "source key=value"."""
    member = pl.element().struct.field
    text = pl.concat_str(member("source"), pl.lit(" "), member("key"), pl.lit("="), member("value"), ignore_nulls=True)
    return pl.col(column).list.eval(text).alias(column)


def because(before: Mapping[str, str], now: Mapping[str, str], *, code: tuple[str, str]) -> str:
    """Which inputs differ, as in "clinvar 3f2a91bc → 9c01aa00; gnomad none → 1177fe02". code: versions before, now."""
    return (
        "; ".join(f"{name} {_short(old)} → {_short(new)}" for name, old, new in changes(before, now, code=code))
        or "asked for again"
    )


def changes(
    before: Mapping[str, str], now: Mapping[str, str], *, code: tuple[str, str]
) -> list[tuple[str, str | None, str | None]]:
    """(name, version before, version now) of each input that differs: a source's name, "rules", "thresholds", …"""
    found = [
        (name.removeprefix(SOURCE_INPUT), before.get(name), now.get(name))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return [*found, ("rules", *code)] if code[0] != code[1] else [*found]


def _short(version: str | None) -> str:
    return "none" if version is None else version if len(version) <= 12 else version.removeprefix("d1:")[:8]
