"""What moved between two triages is told row by row, however both are cut."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.moves import OLD_COLUMNS, OlderRows, because, claims_changed, moved


def triage(*tiers: int | None, facts: str = "x") -> pl.DataFrame:
    rows = [
        {
            **dict.fromkeys(TRIAGED),
            "row_id": bytes([at]) * 16,
            "record_no": at,
            "alt_index": 1,
            "tier": tier,
            "reasons": [f"r{tier}"],
            "evidence": [{"key": "K", "value": facts, "source": "clinvar", "version": None}],
        }
        for at, tier in enumerate(tiers)
    ]
    return pl.DataFrame(rows, schema=TRIAGED)


def keys(frame: pl.DataFrame) -> pl.Series:
    return pl.Series([f"1-{at}-A-C" for at in frame["record_no"]], dtype=pl.String)


def test_only_what_moved_is_told_unknown_counting_as_a_tier():
    old, new = triage(1, 2, None, None, 4), triage(1, 3, None, 4, None, facts="y")
    found = moved(old.select(OLD_COLUMNS), new, keys(new))
    assert found.select("variant_key", "old_tier", "new_tier").rows() == [
        ("1-1-A-C", 2, 3),
        ("1-3-A-C", None, 4),
        ("1-4-A-C", 4, None),
    ]
    assert found["old_reasons"].to_list() == [["r2"], ["rNone"], ["r4"]]
    assert found["old_evidence"].to_list() == [["clinvar K=x"]] * 3
    assert found["new_evidence"].to_list() == [["clinvar K=y"]] * 3


def test_what_stands_on_both_sides_is_told_on_neither():
    found = moved(triage(1).select(OLD_COLUMNS), triage(2), keys(triage(2)))
    assert (found["old_evidence"].to_list(), found["new_evidence"].to_list()) == ([[]], [[]])


def test_a_claim_that_changes_under_a_tier_that_stays_is_told_apart():
    def claimed(*claims: tuple[str | None, int | None], tier: int = 2) -> pl.DataFrame:
        rows = triage(*[tier] * len(claims), facts=str(claims))
        return rows.with_columns(
            pl.Series("significance", [claim for claim, _ in claims], dtype=pl.String),
            pl.Series("stars", [stars for _, stars in claims], dtype=pl.Int8),
        )

    old = claimed(("pathogenic", 0), ("pathogenic", 0), ("pathogenic", 0), (None, None), ("benign", None))
    new = claimed((None, None), ("pathogenic", 1), ("pathogenic", 0), ("uncertain", 1), ("benign", 0))
    found = claims_changed(old.select(OLD_COLUMNS), new, keys(new))
    assert found.select("variant_key", "old_tier", "new_tier").rows() == [(f"1-{at}-A-C", 2, 2) for at in (0, 1, 3)]
    assert moved(old.select(OLD_COLUMNS), new, keys(new)).height == 0
    other = claimed((None, None), ("pathogenic", 1), ("pathogenic", 0), ("uncertain", 1), ("benign", 0), tier=3)
    assert claims_changed(old.select(OLD_COLUMNS), other, keys(other)).height == 0


def test_an_allele_of_one_side_alone_has_not_moved():
    new = triage(3, 3)
    assert moved(triage(1).select(OLD_COLUMNS), new, keys(new)).height == 1
    assert moved(triage().select(OLD_COLUMNS), new, keys(new)).height == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 6), max_size=8), st.lists(st.integers(1, 6), max_size=8))
def test_the_older_rows_are_handed_out_once_and_in_time_however_both_are_cut(old_cuts, new_cuts):
    old = triage(*[1] * sum(old_cuts)).select(OLD_COLUMNS)
    at = 0
    frames = []
    for size in old_cuts:
        frames.append(old.slice(at, size))
        at += size
    older, seen, last = OlderRows(iter(frames)), [], -1
    for size in new_cuts:
        last += size
        seen.append(older.through(last)["record_no"].to_list())
        assert all(number <= last for number in seen[-1])
    expected = [number for number in range(sum(old_cuts)) if number <= last]
    assert [number for part in seen for number in part] == expected


def test_because_names_the_inputs_that_differ():
    before = {"source:clinvar": "a" * 32, "thresholds": "f439bf2520362841", "assembly": "GRCh38"}
    now = {
        "source:clinvar": "b" * 32,
        "source:gnomad": "c" * 32,
        "thresholds": "f439bf2520362841",
        "assembly": "GRCh38",
    }
    assert because(before, now, code=("triage-2", "triage-3")) == (
        "clinvar aaaaaaaa → bbbbbbbb; gnomad none → cccccccc; rules triage-2 → triage-3"
    )
    assert because(before, before, code=("1", "1")) == "asked for again"
