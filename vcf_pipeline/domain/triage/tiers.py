"""The rules applied: the first line that holds gives tier and reasons, doubts about the call cap it.

Not here: the rules themselves (rules.py), where the evidence comes from (evidence.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.evidence import with_evidence
from vcf_pipeline.domain.triage.presets import Voice
from vcf_pipeline.domain.triage.rules import (
    CAPS,
    NOTES,
    RULES,
    Cap,
    Note,
    Rule,
    ba1_exceptions,
    caps_of,
    rules_of,
)
from vcf_pipeline.domain.triage.thresholds import TriageThresholds

CODE_VERSION = "triage-4"
"""Raised with every change that could give a row another tier, reason or evidence: old ones are stale."""

TIER_NAMES = ("1", "2", "3", "4", "unknown")


def triaged(
    variants: pl.DataFrame,
    *,
    has_samples: bool,
    assembly: str | None,
    thresholds: TriageThresholds | None = None,
    voices: Sequence[Voice] = (),
) -> pl.DataFrame:
    """Rows of `variants` → rows of `triaged_variants` (TRIAGED) in the same order.

    variants: as in tables/schemas.py; `evidence.wanted_columns` of it suffice, with the columns of `voices` where
    registered sources are joined, and is_key_in_doubt Boolean. assembly: as recognised.
    """
    thresholds = thresholds or TriageThresholds()
    if "is_key_in_doubt" not in variants.columns:
        variants = variants.with_columns(is_key_in_doubt=pl.lit(False))
    frame = with_evidence(variants, has_samples=has_samples, min_an=thresholds.min_an, voices=voices).with_columns(
        is_ba1_exception=pl.col("variant_key").is_in(ba1_exceptions(assembly)).fill_null(False)
    )
    decided = _decided(frame, thresholds)
    return decided.select(pl.col(name).cast(dtype) for name, dtype in TRIAGED.items())


def decide(holding: Collection[str]) -> tuple[int | None, list[str]]:
    """Tier and reasons from the codes that hold: of rules in RULES, of caps in CAPS, of notes in NOTES."""
    line, tier = next((rule.line, rule.tier) for rule in RULES if rule.code in holding)
    reasons = [rule.code for rule in RULES if rule.line == line and rule.code in holding]
    caps = [cap for cap in CAPS if cap.code in holding]
    if tier is not None:
        # judged by the tier of the rules, so that several doubts weigh no more than one
        tier = max([tier, *(cap.best_tier_of_first if tier == 1 else cap.best_tier for cap in caps)])
    notes = [note.code for note in NOTES if note.code in holding]
    return tier, [*reasons, *(cap.code for cap in caps), *notes]


def held_back(tier: int | None, reasons: Sequence[str] | None) -> str | None:
    """A sentence where doubts about the call hold an allele in another tier than its evidence gives; else None.

    It is of the callset: for the people who read it, never in a brief.
    """
    by_evidence = next((rule.tier for rule in RULES if rule.code in (reasons or ())), None)
    if tier is None or by_evidence is None or tier <= by_evidence:
        return None
    doubts = [cap.doubt for cap in CAPS if cap.code in (reasons or ())]
    return f"Doubts about the call hold it in tier {tier}, where its evidence alone gives tier {by_evidence}: " + (
        f"{', and '.join(doubts)}."
    )


def tier_counts(frame: pl.DataFrame) -> dict[str, int]:
    """Rows by tier, always all of TIER_NAMES. frame: with `tier` Int8, null is unknown."""
    counted = dict(frame.group_by("tier").len().iter_rows())
    return {name: int(counted.get(None if name == "unknown" else int(name), 0)) for name in TIER_NAMES}


def _decided(frame: pl.DataFrame, thresholds: TriageThresholds) -> pl.DataFrame:
    """Adds tier and reasons. A row's codes are bits of one number; each different number is decided once."""
    tests: list[Rule | Cap | Note] = [*rules_of(thresholds), *caps_of(thresholds), *NOTES]
    bits = [test.when.fill_null(False).cast(pl.UInt32) * (1 << at) for at, test in enumerate(tests)]
    marked = frame.with_columns(_holding=pl.sum_horizontal(bits))
    distinct = marked["_holding"].unique()
    decisions = [decide({test.code for at, test in enumerate(tests) if mask >> at & 1}) for mask in distinct]
    table = pl.DataFrame(
        {
            "_holding": distinct,
            "tier": pl.Series([tier for tier, _ in decisions], dtype=pl.Int8),
            "reasons": pl.Series([reasons for _, reasons in decisions], dtype=pl.List(pl.String)),
        }
    )
    return marked.join(table, on="_holding", how="left", maintain_order="left")
