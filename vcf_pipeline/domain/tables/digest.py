"""The digest of tables: a hash of rows in any order, equal however the rows were cut, read or sent.

Per row a 128-bit hash of the table's name and its non-null (column name, value) pairs, summed mod 2^128. So it does not
see the order of rows or columns, the cuts between batches, a column that is all null or absent, the width of a number,
or the padding of `gt`. `row_id` is left out: it is made on the spot and says where rows lie, not what they hold. So
are the columns of `ai_annotations` that say what an answer cost this time.

Values: a whole number hashes as an integer whatever its dtype, another number by its float32 (htslib's precision), a
text by its bytes, a list by its length and the place of its non-null elements, a struct by its fields' names. `gt`
hashes by (sample, place of the allele), NO_ALLELE and null alike adding nothing; `phased` says how many samples.

Arithmetic is mod 2^64 in two lanes; constants are splitmix64's (Steele, Lea and Flood 2014). It tells accidents apart;
it is no signature against somebody who builds collisions. Not here: checksums of files (adapters/objects.py).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.kernel import kernel
from vcf_pipeline.domain.tables.schemas import NO_ALLELE

EXCLUDED = frozenset({"row_id", "cost_microusd", "latency_ms", "cache_hit"})
CALLS = frozenset({"gt", "phased"})
PREFIX = "d1:"
_MODULUS = 1 << 128
_ROWS_AT_ONCE = 65_536  # two lanes of a column of that length stay in the CPU's cache

_U = np.uint64
_MIX_1 = _U(0xBF58476D1CE4E5B9)
_MIX_2 = _U(0x94D049BB133111EB)
_STEP = _U(0x9E3779B97F4A7C15)
_LANE_B = _U(0xD6E8FEB86659FD93)
_FLOAT = _U(0x7F4A7C15F39CC060)
_BOOL = _U(0x2545F4914F6CDD1D)
_TEXT = _U(0x632BE59BD9B4E019)
_NAN_BITS = np.uint32(0x7FC00000)
_WHOLE_LIMIT = 9.2e18  # below it a whole float64 fits an int64

Lanes = tuple[np.ndarray, np.ndarray]


class TableDigest:
    """The sum so far. `total` is an int below 2^128; digests of parts add up to the digest of the whole."""

    def __init__(self, total: int = 0) -> None:
        self.total = total % _MODULUS

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Add the rows of a frame. Raises TypeError for a dtype that no table of ours has."""
        self.add_arrow(table, frame.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def add_arrow(self, table: str, rows: pa.Table) -> None:
        """The same for Arrow's classic layouts (large_string and large_list, no views)."""
        if not rows.num_rows:
            return
        seed_a, seed_b = _name_seeds("table", table)
        for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
            sum_a = np.full(batch.num_rows, seed_a, np.uint64)
            sum_b = np.full(batch.num_rows, seed_b, np.uint64)
            n_samples = _sample_count(batch.schema)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name in EXCLUDED or column.null_count == len(column):
                    continue
                lanes = _call_lanes(column, n_samples) if name in CALLS else _lanes(column)
                _add_column(sum_a, sum_b, *_read_only(*lanes), *_validity(column), *_name_seeds("column", name))
            high, low = _sum_rows(sum_a, sum_b)
            self.total = (self.total + (int(high) << 64) + int(low)) % _MODULUS

    def merge(self, other: TableDigest) -> None:
        self.total = (self.total + other.total) % _MODULUS

    def value(self) -> str:
        """`d1:` and 32 hex digits."""
        return f"{PREFIX}{self.total:032x}"


@cache
def _name_seeds(kind: str, name: str) -> tuple[np.uint64, np.uint64]:
    """Two 64-bit seeds of a name, apart for tables, columns and struct fields."""
    raw = hashlib.blake2b(f"{kind}\x1f{name}".encode(), digest_size=16).digest()
    return _U(int.from_bytes(raw[:8], "little")), _U(int.from_bytes(raw[8:], "little"))


def _sample_count(schema: pa.Schema) -> int:
    """How many samples a genotypes row has: the width of `phased`; 0 where there is none."""
    index = schema.get_field_index("phased")
    return schema.field(index).type.list_size if index >= 0 and pa.types.is_fixed_size_list(schema.types[index]) else 0


@cache
def _place_keys(n_samples: int, ploidy: int) -> Lanes:
    """A key per (sample, allele place), the same at any ploidy: place 1 of sample 7 is where it is in a wider block."""
    places = (np.arange(n_samples, dtype=np.uint64)[:, None] << _U(16)) | np.arange(ploidy, dtype=np.uint64)[None, :]
    flat = places.reshape(-1)
    return _keys_of(flat, _STEP), _keys_of(flat, _LANE_B)


def _call_lanes(column: pa.Array, n_samples: int) -> Lanes:
    """gt and phased, sample-major: the sum of weight · key(sample, allele place).

    gt weighs an allele number + 2, so that padding adds nothing; phased weighs false 1 and true 2. A null adds nothing.
    """
    if not pa.types.is_fixed_size_list(column.type):
        return _lanes(column)
    width = column.type.list_size
    samples = n_samples if n_samples and width % n_samples == 0 else width
    keys_a, keys_b = _place_keys(samples, width // samples if samples else 0)
    inner = column.values.slice(column.offset * width, len(column) * width)
    if pa.types.is_boolean(inner.type):
        numbers, padding = *_read_only(_unpacked(_plain(inner.buffers()[1]), inner.offset, len(inner))), 1
    else:
        numbers, padding = _values(inner), -NO_ALLELE
    lanes: Lanes = _weighted_rows(numbers, padding, *_validity(inner), len(column), keys_a, keys_b, _U(samples))
    return lanes


def _lanes(column: pa.Array) -> Lanes:
    """Two 64-bit codes per element. What stands at a null is meaningless: whoever takes the lanes looks at validity."""
    kind = column.type
    lanes: Lanes
    if pa.types.is_integer(kind):
        whole = _values(column).astype(np.int64, copy=False).view(np.uint64)
        return whole, whole
    if pa.types.is_floating(kind):
        narrow = np.empty(1, np.float32)
        values = _values(column).astype(np.float64, copy=False)
        lanes = _float_lanes(*_read_only(values), narrow, narrow.view(np.uint32))
        return lanes
    if pa.types.is_boolean(kind):
        lanes = _bool_lanes(_unpacked(_plain(column.buffers()[1]), column.offset, len(column)))
        return lanes
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return _text_column(column, np.int64)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _text_column(column, np.int32)
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        offsets = column.offsets.to_numpy().astype(np.int64, copy=False)
        first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
        inner = column.values.slice(first, last - first)
        lanes = _list_lanes(offsets - first, *_read_only(*_lanes(inner)), *_validity(inner))
        return lanes
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
        inner = column.values.slice(column.offset * width, len(column) * width)
        offsets = np.arange(len(column) + 1, dtype=np.int64) * width
        lanes = _list_lanes(offsets, *_read_only(*_lanes(inner)), *_validity(inner))
        return lanes
    if pa.types.is_struct(kind):
        return _struct_lanes(column)
    if pa.types.is_null(kind):
        return np.zeros(len(column), np.uint64), np.zeros(len(column), np.uint64)
    raise TypeError(f"no digest for a column of {kind}")


def _plain(buffer: pa.Buffer | None) -> np.ndarray:
    return _read_only(np.frombuffer(b"" if buffer is None else buffer, np.uint8))[0]


def _read_only(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same arrays, all as Arrow's buffers are: a kernel given both kinds is compiled for each."""
    for array in arrays:
        array.flags.writeable = False
    return arrays


def _values(column: pa.Array) -> np.ndarray:
    """A column of numbers as it lies in memory, without a copy."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    end = column.offset + len(column)
    values: np.ndarray = _plain(column.buffers()[1])[: end * dtype.itemsize].view(dtype)[column.offset : end]
    return values


def _text_column(column: pa.Array, offset_dtype: type[np.int32] | type[np.int64]) -> Lanes:
    _, offset_buffer, text_buffer = column.buffers()
    if not len(column):
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    offsets = _plain(offset_buffer).view(offset_dtype)[column.offset : column.offset + len(column) + 1]
    lanes: Lanes = _text_lanes(*_read_only(offsets.astype(np.int64, copy=False)), _plain(text_buffer))
    return lanes


def _struct_lanes(column: pa.Array) -> Lanes:
    sum_a, sum_b = np.zeros(len(column), np.uint64), np.zeros(len(column), np.uint64)
    for index, member in enumerate(column.type):
        inner = column.field(index)  # cut as the struct is
        if inner.null_count != len(inner):
            lanes, seeds = _read_only(*_lanes(inner)), _name_seeds("field", member.name)
            _add_column(sum_a, sum_b, *lanes, *_validity(inner), *seeds)
    return sum_a, sum_b


def _validity(column: pa.Array) -> tuple[np.ndarray, int]:
    """(bitmap, offset of the first bit); an empty bitmap where nothing is null."""
    return _plain(column.buffers()[0] if column.null_count else None), column.offset


@kernel
def _mix(x: Any) -> Any:
    """splitmix64's finaliser: every bit of the input moves every bit of the output."""
    x = (x ^ (x >> _U(30))) * _MIX_1
    x = (x ^ (x >> _U(27))) * _MIX_2
    return x ^ (x >> _U(31))


@kernel
def _is_valid(bitmap: Any, index: int) -> Any:
    return bitmap.size == 0 or (bitmap[index >> 3] >> (index & 7)) & 1 == 1


@kernel
def _keys_of(places: Any, step: Any) -> Any:
    keys = np.empty(places.size, np.uint64)
    for i in range(places.size):
        # odd, so that a multiple of it mod 2^64 loses nothing of the allele number
        keys[i] = _mix((places[i] + _U(1)) * step) | _U(1)
    return keys


@kernel
def _unpacked(bits: Any, shift: int, n: int) -> Any:
    """A bit-packed column as one int8 a value."""
    values = np.empty(n, np.int8)
    for i in range(n):
        values[i] = (bits[(shift + i) >> 3] >> ((shift + i) & 7)) & 1
    return values


@kernel
def _weighted_rows(
    numbers: Any, padding: int, bitmap: Any, shift: int, n_rows: int, keys_a: Any, keys_b: Any, samples: Any
) -> Any:
    lane_a, lane_b = np.empty(n_rows, np.uint64), np.empty(n_rows, np.uint64)
    width = keys_a.size
    for row in range(n_rows):
        a, b = samples * _STEP, samples * _LANE_B
        base = row * width
        if bitmap.size == 0:
            for i in range(width):
                weight = _U(np.int64(numbers[base + i]) + padding)
                a += weight * keys_a[i]
                b += weight * keys_b[i]
        else:
            for i in range(width):
                if _is_valid(bitmap, shift + base + i):
                    weight = _U(np.int64(numbers[base + i]) + padding)
                    a += weight * keys_a[i]
                    b += weight * keys_b[i]
        lane_a[row], lane_b[row] = _mix(a), _mix(b)
    return lane_a, lane_b


@kernel
def _float_lanes(values: Any, narrow: Any, bits: Any) -> Any:
    """narrow: one float32 to work in; bits: the same memory."""
    lane_a, lane_b = np.empty(values.size, np.uint64), np.empty(values.size, np.uint64)
    for i in range(values.size):
        value = values[i]
        if not (abs(value) < _WHOLE_LIMIT and value == np.floor(value)):
            narrow[0] = value
            value = np.float64(narrow[0])
        if abs(value) < _WHOLE_LIMIT and value == np.floor(value):
            code = _U(np.int64(value))
            lane_a[i], lane_b[i] = code, code
        else:
            code = _U(_NAN_BITS) if np.isnan(value) else _U(bits[0])
            lane_a[i], lane_b[i] = code + _FLOAT, code ^ _LANE_B
    return lane_a, lane_b


@kernel
def _bool_lanes(values: Any) -> Any:
    lane_a, lane_b = np.empty(values.size, np.uint64), np.empty(values.size, np.uint64)
    for i in range(values.size):
        code = _U(values[i])
        lane_a[i], lane_b[i] = code + _BOOL, code ^ _LANE_B
    return lane_a, lane_b


@kernel
def _text_lanes(offsets: Any, text: Any) -> Any:
    n = offsets.size - 1
    lane_a, lane_b = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for i in range(n):
        at, end = offsets[i], offsets[i + 1]
        a = _TEXT + _U(end - at) * _STEP
        b = _TEXT ^ (_U(end - at) * _LANE_B)
        while at < end:
            word = _U(0)
            if end - at >= 8:
                for k in range(8):
                    word |= _U(text[at + k]) << _U(8 * k)
            else:
                for k in range(end - at):
                    word |= _U(text[at + k]) << _U(8 * k)
            a = (a ^ word) * _MIX_1
            a ^= a >> _U(32)
            b = (b + word) * _MIX_2
            b ^= b >> _U(29)
            at += 8
        lane_a[i], lane_b[i] = a, b
    return lane_a, lane_b


@kernel
def _list_lanes(offsets: Any, inner_a: Any, inner_b: Any, bitmap: Any, shift: int) -> Any:
    n = offsets.size - 1
    lane_a, lane_b = np.empty(n, np.uint64), np.empty(n, np.uint64)
    for i in range(n):
        first, end = offsets[i], offsets[i + 1]
        a = _U(end - first) * _STEP
        b = _U(end - first) * _LANE_B
        for j in range(first, end):
            if _is_valid(bitmap, shift + j):
                place = _U(j - first + 1)
                a += _mix(inner_a[j] + place * _STEP)
                b += _mix(inner_b[j] ^ (place * _LANE_B))
        lane_a[i], lane_b[i] = _mix(a), _mix(b + _STEP)
    return lane_a, lane_b


@kernel
def _add_column(
    sum_a: Any, sum_b: Any, lane_a: Any, lane_b: Any, bitmap: Any, shift: int, seed_a: Any, seed_b: Any
) -> None:
    if bitmap.size == 0:
        for i in range(sum_a.size):
            sum_a[i] += _mix(lane_a[i] ^ seed_a)
            sum_b[i] += _mix(lane_b[i] + seed_b)
    else:
        for i in range(sum_a.size):
            if _is_valid(bitmap, shift + i):
                sum_a[i] += _mix(lane_a[i] ^ seed_a)
                sum_b[i] += _mix(lane_b[i] + seed_b)


@kernel
def _sum_rows(sum_a: Any, sum_b: Any) -> Any:
    """Each row's lanes are mixed with one another, so that values cannot change rows unseen; then the 128-bit sum."""
    high, low = _U(0), _U(0)
    for i in range(sum_a.size):
        b = _mix(sum_b[i] + sum_a[i] * _STEP)
        a = _mix(sum_a[i] ^ (b * _LANE_B))
        low += b
        if low < b:
            high += _U(1)
        high += a
    return high, low
