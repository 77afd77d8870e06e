"""Rows of a callset and rows of a source side by side: exact by variant_key, or by overlap of intervals.

Frames and arrays in, frames and arrays out; a source comes row group by row group (stages/joined_sources.py), so that
memory is one frame, one row group and what they share. Not here: what a source says (evidence.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from vcf_pipeline.domain.projections.search_rows import bare_contig

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
REACH = 200
"""Bases: how far right of its leftmost place an indel of a repeat is looked for when keys do not match."""
CANDIDATES_AT_ONCE = 2_000_000
NAMES_SHOWN = 5


# --- exact


def place_of_key() -> tuple[pl.Expr, pl.Expr]:
    """(bare contig String, key_pos Int64) of a frame with contig and variant_key.

    The position is the key's, that of the trimmed allele: equal keys lie at equal places, whatever REF was written.
    0 for a key that tells none, on both sides alike.
    """
    position = pl.col("variant_key").str.extract(r"-(\d+)-", 1).cast(pl.Int64, strict=False)
    return bare_contig(pl.col("contig")), position.fill_null(0)


def is_left_aligned() -> pl.Expr:
    """False where a trimmed indel could be written further left; true for all else. Boolean, from variant_key.

    Trimmed alleles keep a base each, so those that still end in the same base can be shifted (Tan, Abecasis and Kang
    2015). Alleles above 50 bases are digests in the key, and nothing is said of them.
    """
    alleles = pl.col("variant_key").str.extract_groups(r"-([ACGTN]+)-([ACGTN]+)$")
    ref, alt = alleles.struct.field("1"), alleles.struct.field("2")
    is_shiftable = (ref.str.len_bytes() != alt.str.len_bytes()) & (ref.str.slice(-1) == alt.str.slice(-1))
    return ~is_shiftable.fill_null(False)


def net_length() -> pl.Expr:
    """Bases that the allele adds (negative: takes away), from variant_key; null where it is no plain indel."""
    alleles = pl.col("variant_key").str.extract_groups(r"-([ACGTN]+)-([ACGTN]+)$")
    ref, alt = alleles.struct.field("1"), alleles.struct.field("2")
    net = alt.str.len_bytes().cast(pl.Int64) - ref.str.len_bytes().cast(pl.Int64)
    return pl.when(net != 0).then(net)


def shifted_away(unmatched: pl.DataFrame, others: pl.DataFrame) -> pl.Series:
    """variant_key of the indels for which `others` has one that is not left-aligned, of the same length, near by.

    unmatched: contig, key_pos, variant_key of the callset's indels. others: the same of a source's rows that are not
    left-aligned. It may be the same allele written elsewhere; only a reference can tell.
    """
    ours = unmatched.with_columns(net=net_length()).filter(pl.col("net").is_not_null())
    theirs = others.select("contig", their_pos="key_pos", net=net_length())
    near = ours.join(theirs, on=["contig", "net"], how="inner").filter(
        (pl.col("their_pos") - pl.col("key_pos")).is_between(-REACH, REACH)
    )
    return near["variant_key"].unique()


# --- intervals


@dataclass(frozen=True)
class _LengthClass:
    """Intervals shorter than `limit`, sorted by start."""

    limit: int
    starts: Ints
    ends: Ints
    at: Ints


class IntervalIndex:
    """Intervals of one contig in classes by length, each four times the one before.

    In a class no interval is longer than its limit, so that those overlapping a query begin within that limit before
    it: a search by position finds few that do not overlap, however long the longest interval is.
    """

    def __init__(self, starts: Ints, ends: Ints) -> None:
        """1-based, inclusive, in any order; every end is at or after its start."""
        self._classes: list[_LengthClass] = []
        lengths = ends - starts + 1
        limit = 1
        while len(lengths) and limit <= int(lengths.max()) * 4:
            lower = limit
            limit *= 4
            inside = np.flatnonzero((lengths >= lower) & (lengths < limit))
            if inside.size:
                order = inside[np.argsort(starts[inside], kind="stable")]
                self._classes.append(_LengthClass(limit, starts[order], ends[order], order))

    def overlaps(self, starts: Ints, ends: Ints) -> Iterator[tuple[Ints, Ints]]:
        """(numbers of queries, numbers of intervals) of every overlapping pair, piece by piece, in no order.

        starts, ends: of the queries, 1-based, inclusive. A piece examines CANDIDATES_AT_ONCE pairs, or one query's.
        """
        for kind in self._classes:
            first = np.searchsorted(kind.starts, starts - kind.limit + 1, side="left")
            counts = np.searchsorted(kind.starts, ends, side="right") - first
            counts = np.maximum(counts, 0)
            done = np.concatenate([[0], np.cumsum(counts)])
            begin = 0
            while begin < len(counts):
                end = int(np.searchsorted(done, done[begin] + CANDIDATES_AT_ONCE, side="right")) - 1
                end = min(max(end, begin + 1), len(counts))
                query = np.repeat(np.arange(begin, end), counts[begin:end])
                within = np.arange(len(query)) - np.repeat(done[begin:end] - done[begin], counts[begin:end])
                candidate = first[query] + within
                hit = kind.ends[candidate] >= starts[query]
                if hit.any():
                    yield query[hit], kind.at[candidate[hit]]
                begin = end


def named_overlaps(queries: pl.DataFrame, intervals: pl.DataFrame, index: IntervalIndex) -> pl.DataFrame:
    """For each query that overlaps something, in their order: `at` (its number, UInt32), gene and overlap.

    queries: pos, end. intervals: those of `index`, in its order: name, biotype, start, end. gene: the name of the best
    overlapping interval: protein coding before another, then the shortest, then by name. overlap: up to NAMES_SHOWN
    names in that order, joined by ", ", and how many more there are.
    """
    rank, names = _ranked(intervals)
    counts = np.zeros(queries.height, np.int64)
    # a pair is one number, so that sorting pairs is sorting numbers
    pairs = [np.empty(0, np.int64)]
    for query, interval in index.overlaps(queries["pos"].to_numpy(), queries["end"].to_numpy()):
        counts += np.bincount(query, minlength=queries.height)
        pairs.append(_best_of_each(query * len(names) + rank[interval], len(names)))
    # pieces of other length classes tell of the same queries
    query, ranks = np.divmod(_best_of_each(np.concatenate(pairs), len(names)), max(len(names), 1))
    at, first, shown = np.unique(query, return_index=True, return_counts=True)
    best = np.full((len(at), NAMES_SHOWN), -1, np.int64)
    best[np.repeat(np.arange(len(at)), shown), np.arange(len(query)) - np.repeat(first, shown)] = ranks
    # neighbours lie in the same intervals: what they overlap is put into words once
    is_new = np.ones(len(at), np.bool_)
    is_new[1:] = (best[1:] != best[:-1]).any(axis=1) | (counts[at[1:]] != counts[at[:-1]])
    words = _in_words(best[is_new], counts[at[is_new]], names)
    return words[np.cumsum(is_new) - 1].select(pl.Series("at", at, dtype=pl.UInt32), "gene", "overlap")


def _ranked(intervals: pl.DataFrame) -> tuple[Ints, pl.Series]:
    """(place of each interval in the order of preference, names in that order)."""
    order = intervals.select(
        is_coding=(pl.col("biotype") == "protein_coding").fill_null(False),
        length=pl.col("end") - pl.col("start"),
        name="name",
    ).with_row_index("interval")
    ranked = order.sort(["is_coding", "length", "name"], descending=[True, False, False])
    rank = np.empty(order.height, np.int64)
    rank[ranked["interval"].to_numpy()] = np.arange(order.height)
    return rank, ranked["name"]


def _best_of_each(pairs: Ints, n_ranks: int) -> Ints:
    """Of pairs (query * n_ranks + rank): the NAMES_SHOWN best of each query, sorted."""
    pairs = np.sort(pairs)
    if not len(pairs):
        return pairs
    query = pairs // n_ranks
    starts = np.flatnonzero(np.concatenate([[True], query[1:] != query[:-1]]))
    within = np.arange(len(pairs)) - np.repeat(starts, np.diff(starts, append=len(pairs)))
    return pairs[within < NAMES_SHOWN]


def _in_words(best: np.ndarray, counts: Ints, names: pl.Series) -> pl.DataFrame:
    """gene and overlap. best: ranks, at most NAMES_SHOWN a row, the rest -1. counts: how many there are in all."""
    rows, columns = np.nonzero(best >= 0)
    shown = pl.DataFrame({"row": rows, "name": names.gather(best[rows, columns])})
    told = shown.group_by("row", maintain_order=True).agg("name").with_columns(n=pl.Series(counts, dtype=pl.Int64))
    more = " and " + (pl.col("n") - NAMES_SHOWN).cast(pl.String) + " more"
    listed = pl.col("name").list.join(", ")
    return told.select(
        gene=pl.col("name").list.first(),
        overlap=pl.when(pl.col("n") > NAMES_SHOWN).then(listed + more).otherwise(listed),
    )
