"""Joins by key and by overlap, the latter against every pair that there is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.triage import joins
from vcf_pipeline.domain.triage.joins import (
    IntervalIndex,
    is_left_aligned,
    named_overlaps,
    net_length,
    place_of_key,
    shifted_away,
)

INTERVAL = st.tuples(st.integers(1, 300), st.integers(0, 2**12)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))
POINTS = st.tuples(st.integers(1, 300), st.integers(0, 3)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))


def pairs(intervals: list[tuple[int, int]], queries: list[tuple[int, int]]) -> list[tuple[int, int]]:
    lanes = [np.array(side, dtype=np.int64) for side in zip(*intervals, strict=True)] or [np.zeros(0, np.int64)] * 2
    asked = [np.array(side, dtype=np.int64) for side in zip(*queries, strict=True)] or [np.zeros(0, np.int64)] * 2
    found = IntervalIndex(*lanes).overlaps(*asked)
    return sorted((int(q), int(i)) for query, interval in found for q, i in zip(query, interval, strict=True))


def every_pair(intervals: list[tuple[int, int]], queries: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(
        (q, i)
        for q, (first, last) in enumerate(queries)
        for i, (start, end) in enumerate(intervals)
        if start <= last and end >= first
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(INTERVAL, max_size=30), st.lists(st.one_of(POINTS, INTERVAL), max_size=20))
def test_overlaps_are_those_of_every_pair_looked_at(intervals, queries):
    assert pairs(intervals, queries) == every_pair(intervals, queries)


def test_pieces_are_bounded_and_together_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    intervals = [(int(at), int(at + length)) for at, length in rng.integers(1, 500, (200, 2))]
    queries = [(int(at), int(at)) for at in rng.integers(1, 900, 300)]
    whole = pairs(intervals, queries)
    monkeypatch.setattr(joins, "CANDIDATES_AT_ONCE", 50)
    assert pairs(intervals, queries) == whole == every_pair(intervals, queries)
    index = IntervalIndex(*(np.array(side) for side in zip(*intervals, strict=True)))
    pieces = list(index.overlaps(*(np.array(side) for side in zip(*queries, strict=True))))
    assert len(pieces) > 10
    assert max(len(query) for query, _ in pieces) <= 200


def named(*intervals: tuple[str, str | None, int, int], pos: int = 50, end: int = 50) -> list[tuple[object, ...]]:
    rows = pl.DataFrame(intervals, schema=["name", "biotype", "start", "end"], orient="row")
    index = IntervalIndex(rows["start"].to_numpy(), rows["end"].to_numpy())
    return named_overlaps(pl.DataFrame({"pos": [pos], "end": [end]}), rows, index).drop("at").rows()


def test_a_coding_gene_comes_before_a_shorter_one_and_then_the_shortest():
    found = named(("AS1", "lncRNA", 40, 60), ("LONG", "protein_coding", 1, 9000), ("SHORT", "protein_coding", 1, 99))
    assert found == [("SHORT", "SHORT, LONG, AS1")]


def test_what_an_allele_spans_is_named_up_to_five_and_counted():
    genes = [(f"G{at}", None, at * 10, at * 10) for at in range(1, 9)]
    assert named(*genes, pos=1, end=1000) == [("G1", "G1, G2, G3, G4, G5 and 3 more")]


def test_both_ends_belong_to_an_interval():
    assert named(("A", None, 40, 49), ("B", None, 51, 60)) == []
    assert named(("A", None, 40, 50), ("B", None, 50, 60))[0][1] == "A, B"


def test_names_are_in_the_order_of_length_across_classes_of_length():
    assert named(("A", None, 1, 5000), ("B", None, 45, 55), ("C", None, 50, 50)) == [("C", "C, B, A")]


@pytest.mark.parametrize(
    ("key", "aligned"),
    [
        *(("1-100-C-T", True), ("1-100-CA-C", True), ("1-100-C-CA", True), ("1-100-AC-GT", True)),
        # the alleles end alike, so that a base further left says the same
        *(("1-100-AA-A", False), ("1-100-A-ACA", False), ("HLA-A*01-100-GCC-GC", False)),
        # nothing can be said of a digest, a symbol or a breakend
        *(
            ("1-100-60:0123456789abcdef-A", True),
            ("1-100-DEL-200-100", True),
            ("1-100-G]17:198982]", True),
            (None, True),
        ),
    ],
)
def test_an_indel_is_left_aligned_when_its_alleles_end_in_different_bases(key, aligned):
    frame = pl.DataFrame({"variant_key": [key]}, schema={"variant_key": pl.String})
    assert frame.select(is_left_aligned()).item() is aligned


def test_a_key_tells_its_place_and_contigs_are_bare():
    frame = pl.DataFrame(
        {"contig": ["chr17", "chrM", "MT", "HLA-A*01:01"], "variant_key": ["17-5-A-C", "M-7-A-C", "odd", None]}
    )
    contig, position = place_of_key()
    assert frame.select(contig).to_series().to_list() == ["17", "M", "M", "HLA-A*01:01"]
    assert frame.select(position).to_series().to_list() == [5, 7, 0, 0]


def test_an_indel_near_by_of_the_same_length_may_be_the_same_allele():
    def keys(*texts: str) -> pl.DataFrame:
        frame = pl.DataFrame({"contig": ["1"] * len(texts), "variant_key": texts})
        return frame.with_columns(key_pos=place_of_key()[1])

    ours = keys("1-100-CA-C", "1-100-C-CA", "1-100-C-T", "1-5000-CA-C")
    assert shifted_away(ours, keys("1-108-AA-A")).to_list() == ["1-100-CA-C"]
    assert shifted_away(ours, keys("1-400-AA-A")).to_list() == []
    assert ours.select(net_length()).to_series().to_list() == [-1, 1, None, -1]
