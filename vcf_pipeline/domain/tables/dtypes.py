"""Dtypes as text, the union of what the blocks of a table needed, and a frame cast to it.

Columns whose names come from a file take the dtype that a block's values need, so parts of one table may differ.
Not here: which columns there are (schemas.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from vcf_pipeline.domain.tables.schemas import NO_ALLELE

Schema = dict[str, pl.DataType]

_INTEGERS: list[type[pl.DataType]] = [pl.Int8, pl.Int16, pl.Int32, pl.Int64]
_OTHERS: list[type[pl.DataType]] = [pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Null]
_SCALARS: dict[str, type[pl.DataType]] = {kind.__name__: kind for kind in (*_INTEGERS, *_OTHERS)}
_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|\d+|[(),:])")


def dtype_text(dtype: Any) -> str:
    """`List(Int32)`, `Array(Int8, 6)`, `Struct(key: String)`: what `parse_dtype` reads back. Raises TypeError."""
    if isinstance(dtype, pl.List):
        return f"List({dtype_text(dtype.inner)})"
    if isinstance(dtype, pl.Array):
        return f"Array({dtype_text(dtype.inner)}, {dtype.size})"
    if isinstance(dtype, pl.Struct):
        return f"Struct({', '.join(f'{item.name}: {dtype_text(item.dtype)}' for item in dtype.fields)})"
    name = str(dtype)
    if name not in _SCALARS:
        raise TypeError(f"no table of ours has a column of {name}")
    return name


def parse_dtype(text: str) -> pl.DataType:
    """Raises ValueError for what `dtype_text` never writes."""
    tokens = _TOKEN.findall(text)
    dtype, end = _parsed(tokens, 0)
    if end != len(tokens) or "".join(tokens) != re.sub(r"\s", "", text):
        raise ValueError(f"{text!r} is no dtype")
    return dtype


def _parsed(tokens: list[str], at: int) -> tuple[pl.DataType, int]:
    try:
        name = tokens[at]
        if name in _SCALARS:
            return _SCALARS[name](), at + 1
        if name == "List":
            inner, at = _parsed(tokens, at + 2)
            return pl.List(inner), at + 1
        if name == "Array":
            inner, at = _parsed(tokens, at + 2)
            return pl.Array(inner, int(tokens[at + 1])), at + 3
        if name == "Struct":
            members, at = {}, at + 2
            while tokens[at] != ")":
                member = tokens[at]
                members[member], at = _parsed(tokens, at + 2)
                at += tokens[at] == ","
            return pl.Struct(members), at + 1
    except IndexError:
        name = "an unfinished text"
    raise ValueError(f"{name!r} is no dtype")


def union_dtype(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """The narrowest dtype that holds both without loss. Raises TypeError where there is none."""
    if other in (one, pl.Null):
        return one
    if one == pl.Null:
        return other
    if one in _INTEGERS and other in _INTEGERS:
        return max(one, other, key=lambda kind: _INTEGERS.index(type(kind)))
    if one.is_numeric() and other.is_numeric():
        return pl.Float64()
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        return pl.List(union_dtype(_inner(one), _inner(other)))
    if isinstance(one, pl.Array) and isinstance(other, pl.Array):
        return pl.Array(union_dtype(_inner(one), _inner(other)), max(one.size, other.size))
    raise TypeError(f"no dtype holds both {one} and {other}")


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    inner = dtype.inner
    return inner if isinstance(inner, pl.DataType) else inner()


def union_schema(one: Mapping[str, pl.DataType], other: Mapping[str, pl.DataType]) -> Schema:
    """Columns of both in the order of `one`; a column only `other` has comes after the one it follows there."""
    order = list(one)
    place = 0
    for name in other:
        if name in one:
            place = order.index(name) + 1
        else:
            order.insert(place, name)
            place += 1
    return {name: union_dtype(one.get(name, pl.Null()), other.get(name, pl.Null())) for name in order}


def conformed(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame with exactly these columns: absent ones null, widths raised, `gt` padded with NO_ALLELE per sample.

    schema: holds the dtypes of the frame (`union_schema`). Columns of the frame that are not in it are dropped.
    """
    if frame.schema == pl.Schema(schema):
        return frame
    n_samples = _sample_count(frame.schema)
    columns = []
    for name, dtype in schema.items():
        if name not in frame.columns:
            columns.append(pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height))
            continue
        columns.append(_widened(frame[name], dtype, n_samples))
    return pl.DataFrame(columns)


def _sample_count(schema: Mapping[str, pl.DataType]) -> int:
    phased = schema.get("phased")
    return phased.size if isinstance(phased, pl.Array) else 0


def _widened(column: pl.Series, dtype: pl.DataType, n_samples: int) -> pl.Series:
    before = column.dtype
    if before == dtype:
        return column
    if isinstance(before, pl.Array) and isinstance(dtype, pl.Array) and before.size != dtype.size:
        return padded(column, dtype, n_samples or 1)
    return column.cast(dtype)


def padded(column: pl.Series, dtype: pl.Array, n_samples: int) -> pl.Series:
    """gt of a narrower block at the width of a wider one: each sample's places filled up with NO_ALLELE."""
    size = column.dtype.size  # type: ignore[attr-defined]
    width, before = dtype.size // n_samples, size // n_samples
    wide = np.full((len(column), n_samples, width), NO_ALLELE, np.int64)
    rows = np.flatnonzero(column.is_not_null().to_numpy())
    values = column.drop_nulls().explode().fill_null(NO_ALLELE).cast(pl.Int64).to_numpy()
    wide[rows, :, :before] = values.reshape(len(rows), n_samples, before)
    whole = pl.Series(column.name, wide.reshape(len(column), dtype.size)).cast(dtype)
    if not column.null_count():
        return whole
    return pl.select(pl.when(column.is_not_null()).then(whole).otherwise(None).alias(column.name)).to_series()
