"""Frames ↔ one Arrow IPC stream under one zstd frame: what the wire leaves out, and how it comes back
dtype-exact.

The schema's metadata names every column with its dtype. Left out: columns that are all null. Narrowed, where
nothing is lost: whole numbers to the width their values need; texts that repeat to dictionaries; lists of one
common length to fixed-size lists; `record_no` and `pos` to differences, `end` to its distance from `pos`; a
`variant_key` that only repeats contig, pos, ref and alt to null. One frame over the whole stream, and not
Arrow's own compression of each buffer, because then one number bounds what inflates, and the many small
columns share a window. Not here: cutting to message size (chunks.py).
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from vcf_pipeline.domain.errors import UnreadableMessage

ZSTD_LEVEL = 1
MAX_INFLATED = 64 << 20
MAX_CELLS = 32 << 20
"""Rows times columns (an Array column counts as its width) that decode accepts: null columns cost no bytes on
the wire.
"""
_SAMPLE_ROWS = 512
_DICTIONARY_SHARE = 0.5
_CODES: dict[str, pl.DataType] = {
    "b": pl.Boolean(),
    "i1": pl.Int8(),
    "i2": pl.Int16(),
    "i4": pl.Int32(),
    "i8": pl.Int64(),
    "f4": pl.Float32(),
    "f8": pl.Float64(),
    "s": pl.String(),
    "x": pl.Binary(),
    "n": pl.Null(),
}
_NAMES = {dtype: code for code, dtype in _CODES.items()}
_CONTIG, _POS, _END, _KEY = "contig", "pos", "end", "variant_key"


def dtype_code(dtype: pl.DataType) -> Any:
    """`i4`; `["L", inner]`; `["A", inner, width]`. Raises TypeError for a dtype that no table of ours has."""
    if isinstance(dtype, pl.List):
        return ["L", dtype_code(_instance(dtype.inner))]
    if isinstance(dtype, pl.Array):
        inner = dtype.inner
        for width in reversed(dtype.shape[1:]):
            inner = pl.Array(inner, width)
        return ["A", dtype_code(_instance(inner)), dtype.shape[0]]
    if dtype not in _NAMES:
        raise TypeError(f"no code for {dtype}")
    return _NAMES[dtype]


def _instance(dtype: Any) -> pl.DataType:
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return instance


def dtype_of(code: Any, depth: int = 0) -> pl.DataType:
    """What dtype_code gave. Raises UnreadableMessage."""
    if isinstance(code, str) and code in _CODES:
        return _CODES[code]
    if isinstance(code, list) and depth < 4:
        if len(code) == 2 and code[0] == "L":
            return pl.List(dtype_of(code[1], depth + 1))
        if len(code) == 3 and code[0] == "A" and isinstance(code[2], int) and 0 <= code[2] <= MAX_CELLS:
            return pl.Array(dtype_of(code[1], depth + 1), code[2])
    raise _unreadable("a dtype of a table", repr(code)[:80])


def encode_frame(frame: pl.DataFrame) -> tuple[bytes, int]:
    """(the zstd frame, how many bytes it inflates to). Deterministic for equal frames and library
    versions.
    """
    columns = [[name, dtype_code(dtype)] for name, dtype in frame.schema.items()]
    present = [name for name in frame.columns if frame[name].null_count() < frame.height]
    sent, recipes = _with_recipes(frame.select(present))
    table = sent.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    arrays = [_narrow(_whole(column)) for column in table.columns]
    described = msgpack.packb({"rows": frame.height, "columns": columns, "recipes": recipes}, use_bin_type=True)
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in zip(sent.columns, arrays, strict=True)],
        metadata={b"vcf_pipeline": described},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if arrays:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    raw = sink.getvalue()
    return pa.Codec("zstd", compression_level=ZSTD_LEVEL).compress(raw, asbytes=True), raw.size


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _with_recipes(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Columns that follow from others replaced by what is left of them, and the names of those so treated."""
    recipes, changed = [], []
    names = set(frame.columns)
    if _KEY in names and {_CONTIG, _POS, "ref", "alt"} <= names:
        plain = frame.select(_plain_key()).to_series()
        key = frame[_KEY]
        if not (key.is_null() & plain.is_not_null()).any():
            changed.append(pl.when(key != plain).then(key).otherwise(None).alias(_KEY))
            recipes.append(_KEY)
    if {_END, _POS} <= names and not frame[_END].null_count() and not frame[_POS].null_count():
        changed.append(pl.col(_END) - pl.col(_POS))
        recipes.append(_END)
    for name in ("record_no", _POS):
        if name in names and frame.schema[name] == pl.Int64 and not frame[name].null_count():
            changed.append(pl.col(name).diff().fill_null(pl.col(name).first()))
            recipes.append(name)
    return frame.with_columns(changed), recipes


def _plain_key() -> pl.Expr:
    """contig-pos-ref-alt as it stands for an allele with nothing to trim; null where alt is."""
    bare = pl.col(_CONTIG).str.strip_prefix("chr")
    bare = pl.when(bare == "M").then(pl.lit("MT")).otherwise(bare)
    return pl.concat_str([bare, pl.col(_POS).cast(pl.String), pl.col("ref"), pl.col("alt")], separator="-")


def _narrow(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_large_string(kind):
        return _narrow_texts(array)
    if pa.types.is_large_list(kind):
        return _narrow_lists(array)
    if kind in (pa.int64(), pa.int32(), pa.int16()):
        return _narrow_numbers(array)
    return array


def _narrow_numbers(array: pa.Array) -> pa.Array:
    extremes = pc.min_max(array)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if low is None:
        return array
    for width, bits in ((pa.int8(), 7), (pa.int16(), 15), (pa.int32(), 31)):
        if -(1 << bits) <= low and high < 1 << bits:
            return array.cast(width)
    return array


def _narrow_texts(array: pa.Array) -> pa.Array:
    """A dictionary where a sample of the rows repeats itself, else 32-bit offsets."""
    head = array.slice(0, _SAMPLE_ROWS)
    if len(array) >= 16 and len(pc.unique(head)) <= max(1, int(len(head) * _DICTIONARY_SHARE)):
        coded = array.dictionary_encode()
        n_texts = len(coded.dictionary)
        if n_texts <= len(array) * _DICTIONARY_SHARE:
            width = pa.int8() if n_texts < 1 << 7 else pa.int16() if n_texts < 1 << 15 else pa.int32()
            return pa.DictionaryArray.from_arrays(coded.indices.cast(width), coded.dictionary.cast(pa.string()))
    return array.cast(pa.string())


def _narrow_lists(array: pa.Array) -> pa.Array:
    """Lists of one common length need no offsets. A null list stays null, with null elements under it."""
    lengths = pc.list_value_length(array)
    extremes = pc.min_max(lengths)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    child = array.flatten()
    mask = pc.is_null(array) if array.null_count else None
    if low is not None and low == high and low > 0:
        if mask is not None:
            is_valid = ~np.asarray(mask)
            places = np.zeros((len(array), low), np.int64)
            places[is_valid] = np.arange(int(is_valid.sum()) * low).reshape(-1, low)
            holes = np.repeat(~is_valid, low)
            child = child.take(pa.array(places.reshape(-1), mask=holes))
        return pa.FixedSizeListArray.from_arrays(_narrow(child), low, mask=mask)
    filled = np.asarray(pc.fill_null(lengths, 0))
    offsets = np.zeros(len(array) + 1, np.int32)
    np.cumsum(filled, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), _narrow(child), mask=mask)


def decode_frame(packed: bytes, inflated: int, max_inflated: int = MAX_INFLATED) -> pl.DataFrame:
    """The frame that was encoded. inflated: what the message says it inflates to; checked before anything is
    made.

    Raises UnreadableMessage for whatever encode_frame did not write.
    """
    raw = inflate(packed, inflated, max_inflated)
    try:
        with pa.ipc.open_stream(raw) as reader:
            table = reader.read_all()
        table.validate(full=True)
        described = msgpack.unpackb((table.schema.metadata or {})[b"vcf_pipeline"], raw=False)
        rows, columns, recipes = described["rows"], described["columns"], described["recipes"]
        schema = {str(name): dtype_of(code) for name, code in columns}
        _check_shape(table, rows, schema)
        frame = pl.DataFrame(
            [
                _widen(name, _whole(table.column(name)), dtype)
                if name in table.column_names
                else pl.Series(name, [None], dtype=dtype).new_from_index(0, rows)
                for name, dtype in schema.items()
            ]
        )
        return _without_recipes(frame, recipes)
    except _FOREIGN as problem:
        raise _unreadable("an Arrow stream of ours", f"{type(problem).__name__}: {str(problem)[:120]}") from None


_FOREIGN: tuple[type[BaseException], ...] = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,  # no Exception: polars raises it where it met what it thought impossible
    msgpack.UnpackException,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)
"""What pyarrow, polars and msgpack raise on bytes that others made."""


def inflate(packed: bytes, inflated: int, max_inflated: int) -> pa.Buffer:
    """Raises UnreadableMessage when the frame does not inflate to exactly `inflated` bytes, or that is too
    much.
    """
    if not 0 <= inflated <= max_inflated:
        raise _unreadable(f"at most {max_inflated} bytes inflated", str(inflated))
    try:
        return pa.Codec("zstd").decompress(packed, decompressed_size=inflated)
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise _unreadable("a zstd frame", str(problem)[:120]) from None


def _check_shape(table: pa.Table, rows: Any, schema: dict[str, pl.DataType]) -> None:
    if not isinstance(rows, int) or rows < 0 or (table.num_columns and table.num_rows != rows):
        raise _unreadable(f"{rows!r} rows", str(table.num_rows))
    if not set(table.column_names) <= set(schema) or len(set(table.column_names)) != table.num_columns:
        raise _unreadable("the columns that its metadata names", "others")
    widths = sum(max(1, dtype.shape[0]) if isinstance(dtype, pl.Array) else 1 for dtype in schema.values())
    if rows * widths > MAX_CELLS:
        raise _unreadable(f"at most {MAX_CELLS} cells", f"{rows} rows of {widths}")
    text_bytes = sum(_dictionary_bytes(_whole(column)) for column in table.columns)
    if text_bytes > MAX_INFLATED * 4:
        raise _unreadable(f"at most {MAX_INFLATED * 4} bytes of text", f"{text_bytes} out of dictionaries")


def _dictionary_bytes(array: pa.Array) -> int:
    """How many bytes a dictionary's texts take once written out: a small one can stand for very much."""
    while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    if not pa.types.is_dictionary(array.type) or not len(array):
        return 0
    lengths = pc.binary_length(array.dictionary)
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0)


def _widen(name: str, array: pa.Array, dtype: pl.DataType) -> pl.Series:
    series = pl.Series(name, pl.from_arrow(_spelled_out(array)))
    return series if series.dtype == dtype else series.cast(dtype)


def _spelled_out(array: pa.Array) -> pa.Array:
    """Dictionaries written out, at any depth."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return array.dictionary_decode()
    if pa.types.is_fixed_size_list(kind) and _has_dictionary(kind):
        return pa.FixedSizeListArray.from_arrays(_spelled_out(array.values), kind.list_size, mask=_mask(array))
    if pa.types.is_list(kind) and _has_dictionary(kind):
        return pa.ListArray.from_arrays(array.offsets, _spelled_out(array.values), mask=_mask(array))
    return array


def _has_dictionary(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_dictionary(kind))


def _mask(array: pa.Array) -> pa.Array | None:
    return pc.is_null(array) if array.null_count else None


def _without_recipes(frame: pl.DataFrame, recipes: Any) -> pl.DataFrame:
    known = {"record_no", _POS, _END, _KEY}
    if not isinstance(recipes, list) or not set(recipes) <= known & set(frame.columns):
        raise _unreadable("recipes that are known", repr(recipes)[:80])
    frame = frame.with_columns(pl.col(name).cum_sum() for name in ("record_no", _POS) if name in recipes)
    if _END in recipes:
        frame = frame.with_columns(pl.col(_END) + pl.col(_POS))
    if _KEY in recipes:
        frame = frame.with_columns(pl.col(_KEY).fill_null(_plain_key()))
    return frame


def _unreadable(expected: str, got: str) -> UnreadableMessage:
    return UnreadableMessage(where="body", expected=expected, got=got)
