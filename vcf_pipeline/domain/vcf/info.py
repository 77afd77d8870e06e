"""INFO text → one typed column per key, by the rules INFO_RULES of tables/schemas.py.

Not here: END, SVLEN and SVTYPE as core columns (alleles.py), what CSQ, ANN … mean (consequences.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.vcf.alleles import AlleleRows, InfoTokens
from vcf_pipeline.domain.vcf.arrow_columns import (
    COMMA,
    Block,
    lists,
    number_array,
    split,
    text_array,
    to_series,
)
from vcf_pipeline.domain.vcf.defects import DefectLog
from vcf_pipeline.domain.vcf.header import Field, Header
from vcf_pipeline.domain.vcf.info_tokens import EMPTY_ENTRY, REPEATED_KEY, UNKNOWN_KEY, fill_key_table, find_info
from vcf_pipeline.domain.vcf.percent import decoded
from vcf_pipeline.domain.vcf.records import INFO, Records, slow_floats
from vcf_pipeline.domain.vcf.tokens import (
    ABSENT,
    POWERS_OF_TEN,
    WITHOUT_VALUE,
    Array,
    contains_byte,
    count_items,
    parse_floats,
    parse_ints,
    pick_item,
)

CORE_KEYS = ("END", "SVLEN", "SVTYPE")
UNDECLARED_LIMIT = 500
"""Undeclared keys that get a column; a file with another key in every record must not get a million
columns.
"""
MANY_ALLELES = 50
REPEATED_VALUES_LIMIT = 1_000_000
"""Values that one list may come to when every allele row of its record repeats it."""
_UNKNOWN_AT_ONCE = 1 << 16
_INT32 = np.iinfo(np.int32)

Shape = Literal["flag", "one", "A", "R", "list"]


@dataclass(frozen=True)
class Key:
    """A key and the column it gets; wanted: whether it gets one at all."""

    name: str
    shape: Shape
    type: str
    size: int | None = None
    declared: bool = True
    wanted: bool = True

    @property
    def column(self) -> str:
        """info_KEY; a key called `raw` would meet the column of raw texts."""
        return "info_raw_" if self.name == "raw" else f"info_{self.name}"

    @property
    def dtype(self) -> pl.DataType:
        """Before any promotion."""
        if self.shape == "flag":
            return pl.Boolean()
        one: pl.DataType = {"Integer": pl.Int32(), "Float": pl.Float32()}.get(self.type, pl.String())
        return one if self.shape in ("one", "A") else pl.List(one)


def declared_key(field: Field, *, wanted: bool) -> Key:
    if field.type == "Flag" or field.number == "0":
        return Key(field.key, "flag", "Flag", wanted=wanted)
    if field.number == "1":
        return Key(field.key, "one", field.type, wanted=wanted)
    if field.number == "A":
        return Key(field.key, "A", field.type, wanted=wanted)
    if field.number == "R":
        return Key(field.key, "R", field.type, wanted=wanted)
    size = int(field.number) if field.number.isdecimal() else None
    return Key(field.key, "list", field.type, size, wanted=wanted)


class InfoReader:
    """The keys of one file: declared ones from the start, undeclared ones from where they are first seen."""

    def __init__(self, header: Header, selection: tuple[str, ...] | None) -> None:
        self._selection = None if selection is None else frozenset(selection)
        self.keys = [
            declared_key(field, wanted=selection is None or name in selection) for name, field in header.info.items()
        ]
        self._known = {key.name for key in self.keys}
        self._undeclared = 0
        self._build()

    def _build(self) -> None:
        names = [key.name.encode() for key in self.keys]
        self._bytes: Array = np.frombuffer(b"".join(names) or b"\0", np.uint8)
        self._start = np.zeros(len(names) + 1, np.int32)
        self._start[1:] = np.cumsum([len(name) for name in names])
        size = 8
        while size < 4 * len(names) + 8:
            size *= 2
        self._table = np.full(size, -1, np.int32)
        self._word, self._mask = np.zeros(len(names), np.uint64), np.zeros(len(names), np.uint64)
        fill_key_table(self._bytes, self._start, self._table, self._word, self._mask)

    def tokenise(self, records: Records, log: DefectLog) -> InfoBlock:
        """Where every key's value stands; registers undeclared keys as they are met."""
        block = records.block
        off, length = records.off[INFO], records.length[INFO]
        if records.reason.any():
            length = np.where(records.reason == 0, length, np.int32(ABSENT)).astype(np.int32)
        n = off.size
        while True:
            token_off = np.empty((len(self.keys), n), np.int32)
            token_len = np.full((len(self.keys), n), ABSENT, np.int32)
            flags, seen = np.zeros(n, np.uint8), np.zeros(len(self.keys), np.uint8)
            unknown_off, unknown_len = (
                np.empty(_UNKNOWN_AT_ONCE, np.int32),
                np.empty(_UNKNOWN_AT_ONCE, np.int32),
            )
            n_unknown = find_info(
                *(block.array, off, length, self._bytes, self._start, self._table, self._word, self._mask),
                np.full(len(self.keys) + 1, -1, np.int32),
                *(token_off, token_len, flags, seen, unknown_off, unknown_len),
            )
            met = min(n_unknown, _UNKNOWN_AT_ONCE)
            if not met or not self._register(block, unknown_off[:met], unknown_len[:met]):
                break
        self._note(records, log, flags)
        return InfoBlock(tuple(self.keys), token_off, token_len, seen)

    def _register(self, block: Block, off: Array, length: Array) -> bool:
        """Whether there was a new key that gets a place in the table."""
        before = len(self.keys)
        for at, size in zip(off.tolist(), length.tolist(), strict=True):
            name = block.text[at : at + size].decode("utf-8", "replace")
            if name in self._known or not name or self._undeclared >= UNDECLARED_LIMIT:
                continue
            wanted = self._selection is None or name in self._selection
            if not wanted and name not in CORE_KEYS:
                continue
            with_value = block.text[at + size : at + size + 1] == b"="
            self._known.add(name)
            self._undeclared += 1
            self.keys.append(Key(name, "list" if with_value else "flag", "String", declared=False, wanted=wanted))
        if len(self.keys) == before:
            return False
        self._build()
        return True

    def _note(self, records: Records, log: DefectLog, flags: Array) -> None:
        def whole(record: int) -> str:
            return records.cut(INFO, record)

        if not flags.any():
            return
        log.note("INFO_KEY_REPEATED", "INFO", np.flatnonzero(flags & REPEATED_KEY), whole, keep_raw=True)
        log.note("INFO_EMPTY_ENTRY", "INFO", np.flatnonzero(flags & EMPTY_ENTRY), whole)
        unknown = np.flatnonzero(flags & UNKNOWN_KEY)
        if self._selection is None:
            log.note("INFO_KEY_UNREADABLE", "INFO", unknown, whole, keep_raw=True)
        else:
            log.raw[unknown] = True


@dataclass
class InfoBlock:
    """Tokens of one block: off, length int32 [key, data line]; seen: uint8 by key."""

    keys: tuple[Key, ...]
    off: Array
    length: Array
    seen: Array

    def tokens(self, names: tuple[str, ...]) -> dict[str, InfoTokens]:
        """Those of the named keys that the block has."""
        return {
            key.name: InfoTokens(self.off[row], self.length[row])
            for row, key in enumerate(self.keys)
            if key.name in names and self.seen[row]
        }

    def columns(self, records: Records, rows: AlleleRows, log: DefectLog) -> list[pl.Series]:
        """info_* by allele row: every wanted declared key, and the undeclared ones that the block has."""
        percent = b"%" in records.block.text
        made = []
        for row, key in enumerate(self.keys):
            if not self.seen[row]:
                if key.wanted and key.declared:
                    made.append(pl.Series(key.column, [None], dtype=key.dtype).new_from_index(0, rows.record.size))
                continue
            if not key.wanted:
                log.raw[self.length[row] != ABSENT] = True
                continue
            column = _Column(records, rows, key, InfoTokens(self.off[row], self.length[row]), log, percent)
            made.append(column.series().alias(key.column))
            if not key.declared:
                present = np.flatnonzero(self.length[row] != ABSENT)
                log.note("INFO_KEY_UNDECLARED", key.name, present, column.text, keep_raw=True)
        return made


class _Column:
    """One key of one block on its way to a column."""

    def __init__(
        self, records: Records, rows: AlleleRows, key: Key, token: InfoTokens, log: DefectLog, percent: bool
    ) -> None:
        self.block, self.rows, self.key, self.token, self.log = records.block, rows, key, token, log
        self.percent = percent
        self.off, self.length = rows.take(token.off), rows.take(token.length)

    def text(self, record: int) -> str:
        return self.block.cut(int(self.token.off[record]), int(self.token.length[record]))

    def note(self, code: str, rows: Array) -> None:
        """rows: numbers of allele rows."""
        keep_raw = code != "INFO_REAL_IN_INTEGER"
        self.log.note(code, self.key.name, self.rows.record[rows], self.text, keep_raw=keep_raw)

    def series(self) -> pl.Series:
        shape = self.key.shape
        if shape == "flag":
            return self._flag()
        if shape == "one":
            every = np.arange(self.off.size) if self.key.type in ("Integer", "Float") else None
            return to_series("", self._items(self.off, self.length, every, whole=True))
        if shape == "A":
            return self._own_value()
        if shape == "R":
            return self._reference_and_own()
        return self._list()

    def _flag(self) -> pl.Series:
        present = self.length != ABSENT
        self.note("INFO_FLAG_WITH_VALUE", np.flatnonzero(self.length >= 0))
        # true or null: both bits are the same one
        bits = pa.py_buffer(np.packbits(present, bitorder="little"))
        nulls = present.size - int(np.count_nonzero(present))
        return to_series("", pa.Array.from_buffers(pa.bool_(), present.size, [bits, bits], null_count=nulls))

    def _own_value(self) -> pl.Series:
        """Number=A: the value at the allele's place; a list of another length is a defect."""
        if self.rows.one_each and not _has(self.block, self.off, self.length, COMMA):
            return to_series("", self._items(self.off, self.length, None))
        which = np.maximum(self.rows.alt_index - 1, 0).astype(np.int32)
        item_off, item_len, count = self._pick(which)
        # a record without ALT has no such value; some callers write one all the same
        wrong = (count > 0) & (count != np.maximum(self.rows.n_alts, 1))
        if wrong.any():
            self.note("INFO_WRONG_NUMBER", np.flatnonzero(wrong))
            item_len[wrong] = ABSENT
        return to_series("", self._items(item_off, item_len, None))

    def _reference_and_own(self) -> pl.Series:
        """Number=R: [REF's, the allele's]; [REF's] where ALT is `.`."""
        n = self.off.size
        ref_off, ref_len, count = self._pick(np.zeros(n, np.int32))
        own_off, own_len, _ = self._pick(self.rows.alt_index.astype(np.int32))
        wrong = (count > 0) & (count != self.rows.n_alts + 1)
        self.note("INFO_WRONG_NUMBER", np.flatnonzero(wrong))
        self.note("INFO_VALUE_MISSING", np.flatnonzero((self.length == 0) | (self.length == WITHOUT_VALUE)))
        size = np.where((count == 0) | wrong, 0, np.where(self.rows.n_alts == 0, 1, 2))
        use = np.stack([size > 0, size > 1], axis=1).reshape(-1)
        item_off = np.stack([ref_off, own_off], axis=1).reshape(-1)[use]
        item_len = np.stack([ref_len, own_len], axis=1).reshape(-1)[use]
        return lists("", size, self._items(item_off, item_len, np.repeat(np.arange(n), size)))

    def _list(self) -> pl.Series:
        self._drop_lists_that_multiply()
        count, item_off, item_len = split(self.block, self.off, self.length, COMMA)
        self.note("INFO_VALUE_MISSING", np.flatnonzero((self.length == 0) | (self.length == WITHOUT_VALUE)))
        if self.key.size is not None:
            self.note("INFO_WRONG_NUMBER", np.flatnonzero((count > 0) & (count != self.key.size)))
        if item_off is self.off:
            return lists("", count, self._items(item_off, item_len, None))
        return lists("", count, self._items(item_off, item_len, np.repeat(np.arange(count.size), count)))

    def _drop_lists_that_multiply(self) -> None:
        """A list stands on every allele of its record: thousands of both in one line would be billions of values."""
        if int(self.rows.n_alts.max(initial=0)) < MANY_ALLELES:
            return
        count = np.empty(self.off.size, np.int32)
        count_items(self.block.array, self.off, self.length, COMMA, count)
        heavy = count.astype(np.int64) * self.rows.n_alts > REPEATED_VALUES_LIMIT
        self.note("INFO_LIST_TOO_LONG", np.flatnonzero(heavy))
        self.length = np.where(heavy, np.int32(ABSENT), self.length).astype(np.int32)

    def _pick(self, which: Array) -> tuple[Array, Array, Array]:
        item_off, item_len, count = (np.empty(self.off.size, np.int32) for _ in range(3))
        pick_item(self.block.array, self.off, self.length, which, item_off, item_len, count)
        return item_off, item_len, count

    def _items(self, off: Array, length: Array, row: Array | None, *, whole: bool = False) -> pa.Array:
        """Values of the key's type. row: the allele row of each item, None where items are rows.

        whole: the item is the key's whole value, in which a comma says that there are too many.
        """
        if self.key.type == "Integer":
            return self._integers(off, length, row, whole)
        if self.key.type == "Float":
            return self._floats(off, length, row, whole)
        if row is None:
            self.note("INFO_VALUE_MISSING", np.flatnonzero((length == 0) | (length == WITHOUT_VALUE)))
        array = text_array(self.block, off, length)
        return _percent_decoded(array) if self.percent else array

    def _integers(self, off: Array, length: Array, row: Array | None, whole: bool) -> pa.Array:
        values, valid = np.empty(off.size, np.int64), np.empty(off.size, np.bool_)
        bad = np.empty(off.size, np.int32)
        n_bad = parse_ints(self.block.array, off, length, values, valid, bad)
        reals: list[tuple[int, float]] = []
        if n_bad:
            wrong = []
            for item in bad[:n_bad].tolist():
                number = _finite(self.block.cut(int(off[item]), int(length[item])))
                if number is None:
                    wrong.append(item)
                else:
                    reals.append((item, number))
            self._wrong("INFO_NOT_INTEGER", np.array(wrong, np.int64), off, length, row, whole)
        if reals:
            at = np.array([item for item, _ in reals])
            self.note("INFO_REAL_IN_INTEGER", at if row is None else row[at])
            promoted = values.astype(np.float64)
            promoted[at] = [number for _, number in reals]
            valid[at] = True
            return number_array(promoted, valid)
        if values.size and (values.min() < _INT32.min or values.max() > _INT32.max):
            return number_array(values, valid)
        return number_array(values.astype(np.int32), valid)

    def _floats(self, off: Array, length: Array, row: Array | None, whole: bool) -> pa.Array:
        values, valid = np.empty(off.size, np.float32), np.empty(off.size, np.bool_)
        bad = np.empty(off.size, np.int32)
        n_bad = parse_floats(self.block.array, off, length, POWERS_OF_TEN, values, valid, bad)
        if n_bad:
            wrong = slow_floats(self.block, off, length, bad[:n_bad], values, valid)
            self._wrong("INFO_NOT_FLOAT", wrong, off, length, row, whole)
        return number_array(values, valid)

    def _wrong(self, code: str, items: Array, off: Array, length: Array, row: Array | None, whole: bool) -> None:
        """Items that are no numbers: empty ones, lists where one value is due, and the rest."""
        if items.size == 0:
            return
        empty = length[items] <= 0
        several = np.zeros(items.size, np.bool_)
        if whole:
            contains_byte(
                self.block.array,
                np.ascontiguousarray(off[items]),
                np.ascontiguousarray(length[items]),
                COMMA,
                several,
            )
        of_row = items if row is None else row[items]
        self.note("INFO_VALUE_MISSING", of_row[empty])
        self.note("INFO_WRONG_NUMBER", of_row[several])
        self.note(code, of_row[~empty & ~several])


def _has(block: Block, off: Array, length: Array, byte: int) -> bool:
    """Whether the byte stands in one of the values."""
    found = np.empty(off.size, np.bool_)
    contains_byte(block.array, off, length, byte, found)
    return bool(found.any())


def _finite(text: str) -> float | None:
    """The real number in a place for whole ones; None for anything else."""
    if "_" in text or text != text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _percent_decoded(array: pa.Array) -> pa.Array:
    series = to_series("", array)
    if not series.str.contains("%", literal=True).any():
        return array
    return pl.select(decoded(pl.lit(series))).to_series().to_arrow()


def info_raw(records: Records, rows: AlleleRows, log: DefectLog) -> pl.Series:
    """The whole INFO text of the rows whose record's text has to stay, null elsewhere."""
    n = rows.record.size
    keep = log.raw[rows.record]
    if not keep.any():
        return pl.Series("info_raw", [None], dtype=pl.String).new_from_index(0, n)
    length = np.where(keep, rows.take(records.length[INFO]), np.int32(ABSENT)).astype(np.int32)
    return to_series("info_raw", text_array(records.block, rows.take(records.off[INFO]), length, dot_is_null=False))
