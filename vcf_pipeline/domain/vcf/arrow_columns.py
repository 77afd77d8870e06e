"""Token offsets and numpy arrays → Polars columns, without copying the text of the block.

Not here: which column holds what (records.py, info.py, alleles.py).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.vcf.tokens import Array, count_items, split_items, string_views

COMMA, SEMICOLON = 44, 59


class Block:
    """Bytes of whole lines, as numpy and as Arrow see them; both only look at them."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.array: Array = np.frombuffer(text, np.uint8)
        self.buffer = pa.py_buffer(text)

    def cut(self, off: int, length: int) -> str:
        """The text at an offset; undecodable bytes as \\xNN."""
        return self.text[off : off + max(length, 0)].decode("utf-8", "backslashreplace")


def to_series(name: str, array: pa.Array) -> pl.Series:
    """A Polars column over Arrow's memory."""
    return cast(pl.Series, pl.from_arrow(array)).alias(name)


def bitmap(valid: Array, nulls: int) -> pa.Buffer | None:
    """Arrow's validity; None where nothing is null."""
    return pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None


def numbers(name: str, values: Array, valid: Array) -> pl.Series:
    """values: int32, int64, float32 or float64; valid: bool, same length."""
    return to_series(name, number_array(values, valid))


def number_array(values: Array, valid: Array) -> pa.Array:
    nulls = values.size - int(np.count_nonzero(valid))
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, values.size, [bitmap(valid, nulls), pa.py_buffer(values)], null_count=nulls)


def text_array(block: Block, off: Array, length: Array, *, dot_is_null: bool = True) -> pa.Array:
    """String views into the block; length <= 0 is null. off, length: int32."""
    views = np.empty((off.size, 2), np.uint64)
    valid = np.empty(off.size, np.bool_)
    nulls = string_views(block.array, off, length, dot_is_null, views, valid)
    return pa.Array.from_buffers(
        pa.string_view(),
        off.size,
        [bitmap(valid, nulls), pa.py_buffer(views), block.buffer],
        null_count=nulls,
    )


def texts(name: str, block: Block, off: Array, length: Array, *, dot_is_null: bool = True) -> pl.Series:
    """String column of views into the block."""
    return to_series(name, text_array(block, off, length, dot_is_null=dot_is_null))


def split(block: Block, off: Array, length: Array, separator: int) -> tuple[Array, Array, Array]:
    """(items per row, offsets of all items, their lengths), int32 each."""
    count = np.empty(off.size, np.int32)
    total = count_items(block.array, off, length, separator, count)
    if total == off.size and count.size and int(count.min()) == 1:
        return count, off, length
    item_off = np.empty(total, np.int32)
    item_len = np.empty(total, np.int32)
    split_items(block.array, off, length, separator, count, item_off, item_len)
    return count, item_off, item_len


def lists(name: str, count: Array, items: pa.Array, *, valid: Array | None = None) -> pl.Series:
    """List column: count items a row; a row with 0 items is null unless `valid` says otherwise."""
    offsets = np.zeros(count.size + 1, np.int64)
    np.cumsum(count, out=offsets[1:])
    present = count > 0 if valid is None else valid
    nulls = count.size - int(np.count_nonzero(present))
    array = pa.Array.from_buffers(
        pa.large_list(items.type),
        count.size,
        [bitmap(present, nulls), pa.py_buffer(offsets)],
        null_count=nulls,
        children=[items],
    )
    return to_series(name, array)


def text_lists(name: str, block: Block, off: Array, length: Array, separator: int) -> pl.Series:
    """List(String) of the separated texts; a lone `.` is null."""
    count, item_off, item_len = split(block, off, length, separator)
    return lists(name, count, text_array(block, item_off, item_len, dot_is_null=False))


def words(name: str, codes: Array, table: tuple[str, ...]) -> pl.Series:
    """String column by code; words of at most 12 letters, which need no buffer beside their views."""
    views = np.zeros((len(table), 4), np.int32)
    for row, word in enumerate(table):
        raw = word.encode()
        views[row, 0] = len(raw)
        views[row, 1:] = np.frombuffer(raw.ljust(12, b"\0"), np.int32)
    taken = np.ascontiguousarray(views[codes])
    return to_series(name, pa.Array.from_buffers(pa.string_view(), codes.size, [None, pa.py_buffer(taken)]))
