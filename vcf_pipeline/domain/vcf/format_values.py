"""One FORMAT key → its typed column, by FORMAT_RULES of tables/schemas.py.

Not here: where the values lie (sample_cells.py), GT (genotypes.py), INFO (info.py).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.vcf import tokens
from vcf_pipeline.domain.vcf.arrow_columns import COMMA, lists, number_array, split, text_array
from vcf_pipeline.domain.vcf.percent import decoded
from vcf_pipeline.domain.vcf.sample_cells import Ints, Ints32, KeyCells, SampleBlock

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE)
_INT32 = np.iinfo(np.int32)


@dataclass
class _Values:
    """off, length: of each value; owner: the cell it belongs to."""

    cells: KeyCells
    off: Ints32
    length: Ints32
    owner: Ints


def format_column(samples: SampleBlock, cells: KeyCells) -> pl.Series:
    """fmt_KEY: List(T) for Number=1, else List(List(T)), one element per sample; null where FORMAT lacks the key.

    A value that is none of its type is null and noted; a list of another length than Number says stays and is noted.
    """
    declared = samples.header.formats.get(cells.key)
    kind, number = (declared.type, declared.number) if declared else ("String", ".")
    present = np.zeros(samples.n, np.bool_)
    present[cells.records] = True
    if number == "1":
        values = _Values(cells, cells.off, cells.length, np.arange(cells.off.size, dtype=np.int64))
        array = _typed(samples, values, kind)
    else:
        count, item_off, item_len = split(samples.block, cells.off, cells.length, COMMA)
        _note_lengths(samples, cells, number, count)
        owner = np.repeat(np.arange(cells.off.size, dtype=np.int64), count)
        array = lists("", count, _typed(samples, _Values(cells, item_off, item_len, owner), kind)).to_arrow()
    column = lists(f"fmt_{cells.key}", present * samples.n_samples, array, valid=present)
    return column if kind in ("Integer", "Float") else _decoded(samples, column, cells)


def _typed(samples: SampleBlock, values: _Values, kind: str) -> pa.Array:
    if kind == "Integer":
        return _integers(samples, values)
    if kind == "Float":
        return _reals(samples, values)
    return text_array(samples.block, values.off, values.length)


def _integers(samples: SampleBlock, values: _Values) -> pa.Array:
    """Int32, Int64 where one needs it, Float64 where a real stands among them."""
    n = values.off.size
    whole, valid, bad = np.empty(n, np.int64), np.empty(n, np.bool_), np.empty(n, np.int32)
    n_bad = tokens.parse_ints(samples.block.array, values.off, values.length, whole, valid, bad)
    reals: list[int] = []
    hopeless: list[int] = []
    for value in bad[:n_bad].tolist():
        text = samples.text(values.off[value], values.length[value])
        if text:
            (reals if _is_real(text) else hopeless).append(value)
    _note(samples, values, "FORMAT_NOT_INTEGER", hopeless)
    if reals:
        _note(samples, values, "FORMAT_REAL_IN_INTEGER", reals, raw=False)
        promoted = whole.astype(np.float64)
        promoted[reals] = [float(samples.text(values.off[v], values.length[v])) for v in reals]
        valid[reals] = True
        return number_array(promoted, valid)
    narrow = n == 0 or (whole.min() >= _INT32.min and whole.max() <= _INT32.max)
    return number_array(whole.astype(np.int32) if narrow else whole, valid)


def _reals(samples: SampleBlock, values: _Values) -> pa.Array:
    n = values.off.size
    single, valid, bad = np.empty(n, np.float32), np.empty(n, np.bool_), np.empty(n, np.int32)
    n_bad = tokens.parse_floats(
        samples.block.array, values.off, values.length, tokens.POWERS_OF_TEN, single, valid, bad
    )
    hopeless = []
    for value in bad[:n_bad].tolist():
        text = samples.text(values.off[value], values.length[value])
        if _NUMBER.fullmatch(text):
            with np.errstate(over="ignore", under="ignore"):
                single[value] = np.float32(float(text))
            valid[value] = True
        elif text:
            hopeless.append(value)
    _note(samples, values, "FORMAT_NOT_FLOAT", hopeless)
    return number_array(single, valid)


def _is_real(text: str) -> bool:
    """A finite number that is not written as a whole one; whole ones of 19 digits and more do not fit."""
    return bool(_NUMBER.fullmatch(text)) and not text.lstrip("+-").isdigit() and math.isfinite(float(text))


def _note(samples: SampleBlock, values: _Values, code: str, at: list[int], *, raw: bool = True) -> None:
    """The first such value of each record; several values where Number says 1 are a wrong number."""
    if not at:
        return
    which = np.asarray(at, np.int64)
    records, first = np.unique(values.owner[which] // samples.n_samples, return_index=True)
    for record, value in zip(values.cells.records[records], which[first], strict=True):
        text = samples.text(values.off[value], values.length[value])
        told = "FORMAT_WRONG_NUMBER" if "," in text else code
        samples.note(told, values.cells.key, [record], [text], raw=raw)


def _note_lengths(samples: SampleBlock, cells: KeyCells, number: str, count: npt.NDArray[Any]) -> None:
    """Lists that are not as long as Number says. A lone missing value always may stand for the whole list."""
    if number.isdigit():
        expected = np.full(cells.records.size, int(number))
    elif number in ("A", "R"):
        expected = samples.n_alts[cells.records] + (number == "R")
    else:
        return
    wrong = (count != np.repeat(expected, samples.n_samples)) & (count > 0)
    if not wrong.any():
        return
    by_record = wrong.reshape(cells.records.size, samples.n_samples)
    mine = np.flatnonzero(by_record.any(axis=1))
    cell = mine * samples.n_samples + by_record[mine].argmax(axis=1)
    texts = (samples.text(cells.off[c], cells.length[c]) for c in cell)
    # the list stays as it is, so there is no raw text to keep
    samples.note("FORMAT_WRONG_NUMBER", cells.key, cells.records[mine], texts, raw=False)


def _decoded(samples: SampleBlock, column: pl.Series, cells: KeyCells) -> pl.Series:
    found = np.empty(cells.off.size, np.bool_)
    tokens.contains_byte(samples.block.array, cells.off, cells.length, ord("%"), found)
    if not found.any():
        return column
    each = decoded(pl.element())
    if column.dtype == pl.List(pl.List(pl.String)):
        each = pl.element().list.eval(each)
    return column.to_frame().select(pl.first().list.eval(each)).to_series()
