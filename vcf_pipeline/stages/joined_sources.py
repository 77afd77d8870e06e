"""Frames of a callset with what registered sources have of the same alleles and places, source by source.

Here: which sources may be joined, what is read of them for a frame, what is kept for the next. Not here: the join of
two frames (domain/triage/joins.py), what follows (stages/triage.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from vcf_pipeline.adapters.ledger.sources import Source
from vcf_pipeline.adapters.sources import Group, SourceRows, SourceTables
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.sources.accessions import with_bare_names
from vcf_pipeline.domain.sources.alleles import stored
from vcf_pipeline.domain.triage.heard_sources import IS_PASSING
from vcf_pipeline.domain.triage.joins import (
    REACH,
    IntervalIndex,
    is_left_aligned,
    named_overlaps,
    place_of_key,
    shifted_away,
)
from vcf_pipeline.domain.triage.presets import ALLELE_KINDS, OVERLAP, PRESETS, Voice

KEPT_INTERVALS = 1_000_000
PROBED_BELOW = 0.05
"""Of the rows of a group: where a frame has fewer alleles than that, their positions are looked at first."""
INDELS = ("ins", "del", "indel")


@dataclass(frozen=True)
class Registered:
    """Where sources are looked up: their rows, and the ledger's list of a tenant's."""

    tables: SourceTables
    listed: Callable[[str], list[Source]]


def last_column(kind: str) -> str:
    """The column that tells where a row of a source ends."""
    return "key_pos" if kind in ALLELE_KINDS else "end"


def usable(sources: Sequence[Source], assembly: str | None) -> tuple[list[Source], dict[str, str]]:
    """(the sources that a callset of this assembly is joined with, name → why another one is not)."""
    used, reasons = [], {}
    for source in sources:
        if assembly is None:
            reasons[source.name] = f"the source is of {source.assembly}, and the callset's assembly is unknown"
        elif source.assembly != assembly:
            reasons[source.name] = f"the source is of {source.assembly}, the callset of {assembly}"
        else:
            used.append(source)
    return used, reasons


def voice_of(source: Source, *, has_consequences: bool = False) -> Voice:
    return Voice(source.name, source.version, source.kind, PRESETS[source.preset], source.fields, has_consequences)


@dataclass
class _Intervals:
    """Row groups of an interval source put together, with their index."""

    rows: pl.DataFrame
    index: IntervalIndex


@dataclass
class _OpenSource:
    source: Source
    rows: SourceRows
    matched: int = 0
    last_group: tuple[Group, pl.DataFrame] | None = None
    kept: dict[tuple[int, ...], _Intervals] = field(default_factory=dict)
    kept_rows: int = 0


class JoinedSources:
    """The sources of one callset, open. used: them; matched: alleles of the callset that each knew so far."""

    def __init__(self, opened: Sequence[_OpenSource], assembly: str | None) -> None:
        self._opened, self._assembly = opened, assembly
        self.used = [one.source for one in opened]

    @property
    def matched(self) -> dict[str, int]:
        return {one.source.name: one.matched for one in self._opened}

    @property
    def groups_read(self) -> dict[str, int]:
        """Row groups that were read whole, by source."""
        return {one.source.name: one.rows.groups_read for one in self._opened}

    def joined(self, variants: pl.DataFrame) -> pl.DataFrame:
        """The rows in the same order, with each source's columns as `Voice.column` names them, and is_key_in_doubt.

        variants: contig, pos, end, variant_type, variant_key. Memory: what a frame and one row group take (of
        intervals: the row groups that the frame touches).
        """
        if not self._opened:
            return variants
        contig, key_pos = place_of_key()
        keys = with_bare_names(variants.select("contig", "pos", "end", "variant_type", "variant_key"), self._assembly)
        keys = keys.with_columns(contig=contig, key_pos=key_pos).with_row_index("at")
        columns: list[pl.Series] = []
        is_matched = np.zeros(keys.height, np.bool_)
        shifted: list[pl.Series] = []
        has_alleles = False
        for one in self._opened:
            if one.source.kind in ALLELE_KINDS:
                found, others = self._alleles(one, keys)
                shifted += others
                own = keys.select("variant_key").join(found, on="variant_key", how="left", maintain_order="left")
                known = own[IS_PASSING].is_not_null()
                is_matched |= known.to_numpy()
                has_alleles = True
            else:
                own = self._intervals(one, keys)
                known = own[OVERLAP].is_not_null()
            one.matched += int(known.sum())
            voice = voice_of(one.source)
            columns += [
                own[name].alias(voice.column(name.removeprefix(stored(""))))
                for name in own.columns
                if name != "variant_key"
            ]
        return variants.with_columns(
            *columns, is_key_in_doubt=_in_doubt(keys, is_matched, shifted) if has_alleles else pl.lit(False)
        )

    def _alleles(self, one: _OpenSource, keys: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.Series]]:
        """(the source's rows of the frame's keys; keys of indels that a row near by may be the same allele as)."""
        given = [name for name in one.rows.columns if name not in ("contig", "key_pos", "is_left_aligned")]
        found, shifted = [], []
        for contig, part in _by_contig(keys.filter(pl.col("variant_key").is_not_null())):
            is_indel = pl.col("variant_type").is_in(INDELS)
            reach = pl.when(is_indel).then(REACH).otherwise(0)
            first = part.select(pl.col("key_pos") - reach).to_series().to_numpy()
            last = part.select(pl.col("key_pos") + reach).to_series().to_numpy()
            indels = part.filter(is_indel)
            places = np.unique(part["key_pos"].to_numpy())
            for group in one.rows.touched(contig, first, last):
                rows = self._group(one, group, first, last)
                if rows is None:
                    continue
                # by place, which is quicker than by text; the join of the frame looks at the keys
                found.append(rows.filter(_lies_in(rows["key_pos"], places)).select(given))
                others = rows.filter(~pl.col("is_left_aligned"))
                if indels.height and others.height:
                    shifted.append(shifted_away(indels, others))
        empty = one.rows.empty().select(given)
        return pl.concat([empty, *found]), shifted

    def _group(self, one: _OpenSource, group: Group, first: np.ndarray, last: np.ndarray) -> pl.DataFrame | None:
        """The rows of the group, or None where a look at their positions shows that none is wanted."""
        if one.last_group is not None and one.last_group[0] == group:
            return one.last_group[1]
        if len(first) < PROBED_BELOW * group.rows:
            positions = one.rows.read(group, ["key_pos"])["key_pos"].to_numpy()
            if not (np.searchsorted(positions, last, side="right") > np.searchsorted(positions, first)).any():
                return None
        one.last_group = None  # not two at once
        rows = one.rows.read(group)
        one.last_group = (group, rows)
        return rows

    def _intervals(self, one: _OpenSource, keys: pl.DataFrame) -> pl.DataFrame:
        """gene and overlap of each row, null where nothing lies there."""
        told = []
        for contig, part in _by_contig(keys):
            groups = list(one.rows.touched(contig, part["pos"].to_numpy(), part["end"].to_numpy()))
            if not groups:
                continue
            kept = _kept_intervals(one, groups)
            overlaps = named_overlaps(part, kept.rows, kept.index)
            told.append(overlaps.with_columns(part["at"].gather(overlaps["at"]).alias("at")))
        if not told:
            nothing = pl.Series([None], dtype=pl.String).new_from_index(0, keys.height)
            return pl.DataFrame({"gene": nothing, OVERLAP: nothing})
        return keys.select("at").join(pl.concat(told), on="at", how="left", maintain_order="left").drop("at")


def _lies_in(positions: pl.Series, places: np.ndarray) -> pl.Series:
    """Whether each position is one of the places, which are sorted and different."""
    wanted = positions.to_numpy()
    at = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    return pl.Series(places[at] == wanted)


def _by_contig(keys: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (contig,), part in keys.group_by("contig", maintain_order=True):
        yield str(contig), part


def _kept_intervals(one: _OpenSource, groups: Sequence[Group]) -> _Intervals:
    """Read and indexed once while they are few: a gene model is asked again by every frame."""
    number = tuple(group.at for group in groups)
    if number not in one.kept:
        rows = pl.concat([one.rows.read(group) for group in groups])
        if one.kept_rows + rows.height > KEPT_INTERVALS:
            one.kept.clear()
            one.kept_rows = 0
        one.kept[number] = _Intervals(rows, IntervalIndex(rows["start"].to_numpy(), rows["end"].to_numpy()))
        one.kept_rows += rows.height
    return one.kept[number]


def _in_doubt(keys: pl.DataFrame, is_matched: np.ndarray, shifted: Sequence[pl.Series]) -> pl.Series:
    """Indels that no source has under their key, though they or a source's are not written furthest left."""
    candidates = keys.with_columns(_matched=pl.Series(is_matched)).select(
        is_open=pl.col("variant_type").is_in(INDELS) & ~pl.col("_matched"), variant_key="variant_key"
    )
    result = np.zeros(keys.height, np.bool_)
    at = np.flatnonzero(candidates["is_open"].fill_null(False).to_numpy())
    if not at.size:
        return pl.Series("is_key_in_doubt", result)
    others = pl.concat([pl.Series([], dtype=pl.String), *shifted]).unique()
    doubtful = candidates[at].select((~is_left_aligned()) | pl.col("variant_key").is_in(others.to_list()))
    result[at] = doubtful.to_series().fill_null(False).to_numpy()
    return pl.Series("is_key_in_doubt", result)


@contextmanager
def joined_sources(
    registered: Registered | None, tenant: str, assembly: str | None
) -> Iterator[tuple[JoinedSources, dict[str, str]]]:
    """The tenant's sources that fit the assembly, open; and why others do not, by name.

    One that is replaced between looking and opening is looked up again. Raises StoreUnavailable (SOURCE_GONE).
    """
    for attempt in range(3):
        with ExitStack() as stack:
            listed = registered.listed(tenant) if registered is not None else []
            used, reasons = usable(listed, assembly)
            try:
                opened = [
                    _OpenSource(
                        source, stack.enter_context(registered.tables.open(source.path, last_column(source.kind)))
                    )
                    for source in used
                    if registered is not None
                ]
            except StoreUnavailable as error:
                if error.code != "SOURCE_GONE" or attempt == 2:
                    raise
                continue
            yield JoinedSources(opened, assembly), reasons
            return
