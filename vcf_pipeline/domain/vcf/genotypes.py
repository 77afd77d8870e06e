"""FORMAT and the sample columns → the genotypes frame, and the call summary of each allele.

    parse_genotypes(buffer, sample_off, line_end, format_off, format_len, n_alts, record_no, header, settings)
        -> GenotypesParsed(frame, summary, defects, wrong_columns; summary_frame(), defect_counts)

Per record kept by records.py; allele rows are one per ALT allele, and one for a record whose ALT is `.`.
GT is always read; `settings.formats` chooses the other keys.
Not here: loops over bytes (sample_tokens.py, tokens.py), what a defect means (defects.py), which column of
the variants table the summary becomes (batch.py).
Rules: tables/schemas.py (FORMAT_RULES); VCF 4.3 section 1.6.2; 4.4 for the phase of the first allele and 4.5
for LA, LR and LG numbers, which are kept as lists.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.tables.schemas import NO_ALLELE
from vcf_pipeline.domain.vcf import sample_tokens, tokens
from vcf_pipeline.domain.vcf.batch import ReaderSettings
from vcf_pipeline.domain.vcf.header import Field, Header

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

SUMMARY = ("n_called", "ac", "an", "n_het", "n_hom", "n_missing")
WIDEST_PLOIDY = 128
"""A GT with more alleles is malformed: every sample of the block would be given as many."""
_LARGEST_INT8 = 126
_PHASE_PREFIX_SINCE = (4, 4)
_ESCAPES = {"%3A": ":", "%3B": ";", "%3D": "=", "%25": "%", "%2C": ",", "%0D": "\r", "%0A": "\n", "%09": "\t"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE)


@dataclass
class GenotypesParsed:
    """frame: tables/schemas.py GENOTYPES, one row per record, also for those with wrong_columns (all null).

    summary: by allele row, int64 but af, a float32 that is nan where an is 0; has_call (bool, by allele
    row) is false for records without GT. defects: (record index, key, code, text), one for each record, key
    and code; defect_counts: how many by code. wrong_columns: bool[n], records with another number of sample
    columns than the header has.
    """

    frame: pl.DataFrame
    summary: dict[str, npt.NDArray[Any]]
    has_call: Bools
    defects: list[tuple[int, str, str, str]]
    wrong_columns: Bools
    defect_counts: dict[str, int] = field(default_factory=dict)

    def summary_frame(self) -> pl.DataFrame:
        """The summary as the variants table has it: null for records without GT, af null where an is 0."""
        columns = {name: pl.Series(name, self.summary[name].astype(np.int32)) for name in SUMMARY}
        columns["af"] = pl.Series("af", self.summary["af"]).fill_nan(None)
        frame = pl.DataFrame(columns).select("n_called", "ac", "an", "af", "n_het", "n_hom", "n_missing")
        if self.has_call.all():
            return frame
        has_call = pl.Series(self.has_call)
        return frame.select(pl.when(has_call).then(pl.col(c)).otherwise(None).alias(c) for c in frame.columns)


def parse_genotypes(
    buffer: npt.NDArray[np.uint8],
    sample_off: Ints,
    line_end: Ints,
    format_off: Ints,
    format_len: npt.NDArray[Any],
    n_alts: npt.NDArray[Any],
    record_no: Ints,
    header: Header,
    settings: ReaderSettings,
) -> GenotypesParsed:
    """The sample columns of a block's records.

    buffer: the block, uint8. sample_off[n]: where the first sample column starts; line_end[n]: where the line
    ends, exclusive, CR and LF not counted. format_off, format_len[n]: the FORMAT column. n_alts[n]: 0 where
    ALT is `.`. record_no[n]: as in the variants table. Raises nothing: what is wrong is in `defects` and
    `wrong_columns`.
    """
    block = _Block(
        buffer,
        np.ascontiguousarray(sample_off, np.int64),
        np.ascontiguousarray(line_end, np.int64),
        np.ascontiguousarray(format_off, np.int64),
        np.ascontiguousarray(format_len, np.int32),
        np.ascontiguousarray(n_alts, np.int32),
        header,
    )
    formats = _Formats.of(block, header, settings)
    calls_alone = _calls_alone(block, formats)
    rest = np.flatnonzero(~calls_alone.done & ~block.wrong)
    cells = _Cells.of(block, formats, rest)
    columns: dict[str, pl.Series] = {"record_no": pl.Series("record_no", np.asarray(record_no, np.int64))}
    columns |= _gt(block, formats, calls_alone, cells)
    for key in formats.keys:
        if key != "GT":
            columns[f"fmt_{key}"] = _column(block, key, header.formats.get(key), cells)
    _note_formats(block, formats, cells)
    columns["format_raw"] = _format_raw(block)
    rows = block.rows_per_record
    summary = dict(zip(SUMMARY, calls_alone.counts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        summary["af"] = np.where(summary["an"] > 0, summary["ac"] / summary["an"], np.nan).astype(np.float32)
    return GenotypesParsed(
        frame=pl.DataFrame([series.alias(name) for name, series in columns.items()]),
        summary=summary,
        has_call=np.repeat(calls_alone.has_gt, rows),
        defects=block.defects,
        wrong_columns=block.wrong,
        defect_counts=dict(Counter(code for _, _, code, _ in block.defects)),
    )


@dataclass
class _Block:
    """The records' bytes, and what was found wrong in them."""

    buffer: npt.NDArray[np.uint8]
    sample_off: Ints
    line_end: Ints
    format_off: Ints
    format_len: Ints32
    n_alts: Ints32
    header: Header
    defects: list[tuple[int, str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n = self.sample_off.size
        self.n_samples = len(self.header.samples)
        self.rows_per_record = np.maximum(self.n_alts, 1)
        self.first_row = np.concatenate([[0], np.cumsum(self.rows_per_record, dtype=np.int64)])[:-1].astype(
            np.int64
        )
        self.n_rows = int(self.rows_per_record.sum())
        self.raw = np.zeros(self.n, np.bool_)
        wrong = np.zeros(self.n, np.uint8)
        sample_tokens.sample_columns(self.buffer, self.sample_off, self.line_end, self.n_samples, wrong)
        self.wrong = wrong.astype(np.bool_)
        self.arrow_buffer = pa.py_buffer(self.buffer)
        self.prefix_allowed = _version(self.header.version) >= _PHASE_PREFIX_SINCE

    def text(self, start: int, length: int) -> str:
        return bytes(self.buffer[start : start + length]).decode("utf-8", "backslashreplace")

    def note(
        self, code: str, key: str, records: Iterable[int], texts: Iterable[str], *, raw: bool = True
    ) -> None:
        for record, text in zip(records, texts, strict=True):
            self.defects.append((int(record), key, code, text))
            if raw:
                self.raw[record] = True


def _version(text: str) -> tuple[int, int]:
    """(4, 2) of "VCFv4.2" or "4.2"; (0, 0) of anything else."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass
class _Formats:
    """The block's distinct FORMAT texts. keys: the wanted ones, declared first; slot: place in keys."""

    ids: Ints32
    names: list[list[str]]
    keys: list[str]
    slots: Ints32
    n_keys: Ints32

    @classmethod
    def of(cls, block: _Block, header: Header, settings: ReaderSettings) -> _Formats:
        ids = np.empty(block.n, np.int32)
        first = np.empty(block.n, np.int64)
        count = sample_tokens.format_ids(block.buffer, block.format_off, block.format_len, ids, first)
        texts = [block.text(block.format_off[r], max(block.format_len[r], 0)) for r in first[:count]]
        names = [[] if text in ("", ".") else text.split(":") for text in texts]
        met = list(dict.fromkeys(key for keys in names for key in keys))
        wanted = [key for key in met if key == "GT" or settings.formats is None or key in settings.formats]
        keys = [key for key in header.formats if key in set(wanted)]
        keys += [key for key in wanted if key not in header.formats]
        place = {key: slot for slot, key in enumerate(keys)}
        widest = max((len(k) for k in names), default=0)
        slots = np.full((max(count, 1), max(widest, 1)), -1, np.int32)
        for f, of_format in enumerate(names):
            for k, key in enumerate(of_format):
                if key in place and key not in of_format[:k]:
                    slots[f, k] = place[key]
        # a lone `.` stands for no key at all, so that a lone `.` in each sample is no surplus
        n_keys = np.array([max(len(of_format), 1) for of_format in names], np.int32)
        return cls(ids, names, keys, slots, n_keys)

    def records_with(self, key: str) -> Bools:
        if key not in self.keys:
            return np.zeros(self.ids.size, np.bool_)
        has = (self.slots == self.keys.index(key)).any(axis=1)
        return np.asarray(has[self.ids], np.bool_)


@dataclass
class _Calls:
    """What the quick way read: records whose only wanted key is GT, every sample `d|d` or `d/d`."""

    gt: npt.NDArray[np.int8]
    phased: npt.NDArray[np.uint8]
    done: Bools
    has_gt: Bools
    counts: Ints


def _calls_alone(block: _Block, formats: _Formats) -> _Calls:
    alone = np.array([keys == ["GT"] for keys in formats.names], np.bool_)
    rows = np.flatnonzero(alone[formats.ids] & ~block.wrong) if alone.size else np.empty(0, np.int64)
    counts = np.zeros((len(SUMMARY), block.n_rows), np.int64)
    done = np.zeros(block.n, np.uint8)
    shape = (block.n, block.n_samples) if rows.size else (0, 0)
    gt = np.full((*shape, 2), NO_ALLELE, np.int8)
    phased = np.zeros(shape, np.uint8)
    if rows.size:
        sample_tokens.diploid_calls(
            block.buffer, block.sample_off, block.line_end, rows, block.n_samples, block.n_alts,
            block.first_row, gt, phased, done, counts,
        )  # fmt: skip
    return _Calls(gt, phased, done.astype(np.bool_), formats.records_with("GT") & ~block.wrong, counts)


@dataclass
class _Cells:
    """Where each value of each key lies. key → (records that have it, and a cell per sample of each)."""

    records: dict[str, Ints]
    off: dict[str, Ints32]
    length: dict[str, Ints32]
    surplus: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, block: _Block, formats: _Formats, rest: Ints) -> _Cells:
        """rest: the records that are still to be read."""
        n_slots = len(formats.keys)
        cell_row = np.full((max(n_slots, 1), block.n), -1, np.int64)
        starts = [0]
        records = {}
        of_rest = formats.ids[rest]
        for slot, key in enumerate(formats.keys):
            mine = rest[(formats.slots == slot).any(axis=1)[of_rest]]
            cell_row[slot, mine] = starts[-1] + np.arange(mine.size, dtype=np.int64) * block.n_samples
            starts.append(starts[-1] + mine.size * block.n_samples)
            records[key] = mine
        off = np.zeros(starts[-1], np.int32)
        length = np.full(starts[-1], -1, np.int32)
        surplus = np.zeros(block.n, np.uint8)
        if rest.size:
            sample_tokens.sample_cells(
                block.buffer, block.sample_off, block.line_end, rest, formats.ids, formats.slots,
                formats.n_keys, block.n_samples, cell_row, off, length, surplus,
            )  # fmt: skip
        spans = {key: slice(starts[slot], starts[slot + 1]) for slot, key in enumerate(formats.keys)}
        return cls(
            records,
            {key: off[span] for key, span in spans.items()},
            {key: length[span] for key, span in spans.items()},
            surplus,
        )


def _gt(block: _Block, formats: _Formats, quick: _Calls, cells: _Cells) -> dict[str, pl.Series]:
    """gt and phased of all records: the quick way's, and the other cells'."""
    rows = cells.records.get("GT", np.empty(0, np.int64))
    n_samples = block.n_samples
    gt, phased = quick.gt, quick.phased
    if rows.size:
        off, length = cells.off["GT"], cells.length["GT"]
        width = min(sample_tokens.widest_call(block.buffer, off, length), WIDEST_PLOIDY)
        slow = np.empty((rows.size, n_samples, width), np.int16)
        slow_phased = np.empty((rows.size, n_samples), np.uint8)
        status = np.zeros((rows.size, n_samples), np.uint8)
        largest = sample_tokens.gt_of_cells(
            block.buffer, off, length, rows, n_samples, block.prefix_allowed, block.n_alts, block.first_row,
            slow, slow_phased, status, quick.counts,
        )  # fmt: skip
        dtype = np.int8 if largest <= _LARGEST_INT8 else np.int16
        if rows.size == block.n:
            gt, phased = slow.astype(dtype), slow_phased
        else:
            both = max(width, 2) if quick.done.any() else width
            gt = np.full((block.n, n_samples, both), NO_ALLELE, dtype)
            phased = np.zeros((block.n, n_samples), np.uint8)
            gt[rows, :, :width] = slow
            phased[rows] = slow_phased
            if quick.done.any():
                gt[quick.done, :, :2] = quick.gt[quick.done]
                phased[quick.done] = quick.phased[quick.done]
        _note_calls(block, rows, off, length, status)
    elif "GT" not in formats.keys or not quick.done.any():
        gt, phased = np.zeros((block.n, n_samples, 1), np.int8), np.zeros((block.n, n_samples), np.uint8)
    width = gt.shape[2] * n_samples
    return {
        "gt": _fixed(pa.array(gt.reshape(-1)), width, quick.has_gt),
        "phased": _fixed(_bits_array(phased.reshape(-1)), n_samples, quick.has_gt),
    }


def _note_calls(
    block: _Block, rows: Ints, off: Ints32, length: Ints32, status: npt.NDArray[np.uint8]
) -> None:
    """The first defective call of each record; one whose separators a Boolean cannot hold keeps its text."""
    if not status.any():
        return
    for bit, code in ((sample_tokens.BAD, "GT_MALFORMED"), (sample_tokens.OUT_OF_RANGE, "GT_ALLELE_UNKNOWN")):
        hit = (status & bit) > 0
        mine = np.flatnonzero(hit.any(axis=1))
        cell = mine * block.n_samples + hit[mine].argmax(axis=1)
        block.note(code, "GT", rows[mine], (block.text(off[c], length[c]) for c in cell))
    block.raw[rows[(status & sample_tokens.UNEVEN).any(axis=1)]] = True


def _column(block: _Block, key: str, declared: Field | None, cells: _Cells) -> pl.Series:
    """fmt_KEY: List(T) for Number=1, else List(List(T)); null where FORMAT lacks the key."""
    rows, off, length = cells.records[key], cells.off[key], cells.length[key]
    kind = declared.type if declared else "String"
    number = declared.number if declared else "."
    present = np.zeros(block.n, np.bool_)
    present[rows] = True
    outer = np.zeros(block.n + 1, np.int64)
    np.cumsum(present * block.n_samples, out=outer[1:])
    if number == "1":
        values = _values(block, key, kind, rows, off, length, np.arange(off.size, dtype=np.int64))
    else:
        count = np.empty(off.size, np.int32)
        total = tokens.count_items(block.buffer, off, length, 44, count)
        item_off, item_len = np.empty(total, np.int32), np.empty(total, np.int32)
        tokens.split_items(block.buffer, off, length, 44, count, item_off, item_len)
        _note_numbers(block, key, number, rows, off, length, count)
        owner = np.repeat(np.arange(off.size, dtype=np.int64), count)
        inner = np.zeros(off.size + 1, np.int64)
        np.cumsum(count, out=inner[1:])
        values = _large_list(_values(block, key, kind, rows, item_off, item_len, owner), inner, count > 0)
    series = pl.Series(f"fmt_{key}", pl.from_arrow(_large_list(values, outer, present)))
    return _decoded(block, series, off, length) if kind not in ("Integer", "Float") else series


def _values(
    block: _Block, key: str, kind: str, rows: Ints, off: Ints32, length: Ints32, owner: Ints
) -> pa.Array:
    """The values as an Arrow array of the declared type. owner: the cell each belongs to."""
    n = off.size
    valid = np.empty(n, np.bool_)
    if kind not in ("Integer", "Float"):
        views = np.empty((n, 4), np.int32)
        tokens.string_views(block.buffer, off, length, True, views, valid)
        return _array(pa.string_view(), n, valid, [pa.py_buffer(views), block.arrow_buffer])
    bad = np.empty(n, np.int32)
    if kind == "Integer":
        whole = np.empty(n, np.int64)
        n_bad = tokens.parse_ints(block.buffer, off, length, whole, valid, bad)
        hopeless = [c for c in bad[:n_bad] if length[c] > 0 and not _is_real(block.text(off[c], length[c]))]
        if n_bad == 0 or len(hopeless) == int((length[bad[:n_bad]] > 0).sum()):
            _note_values(block, key, "FORMAT_NOT_INTEGER", rows, owner, off, length, hopeless)
            narrow = n == 0 or (whole.min() >= -(2**31) and whole.max() < 2**31)
            out: npt.NDArray[Any] = whole.astype(np.int32) if narrow else whole
            return _array(pa.int32() if narrow else pa.int64(), n, valid, [pa.py_buffer(out)])
        reals = np.setdiff1d(bad[:n_bad], np.asarray(hopeless, np.int32))
        _note_values(block, key, "FORMAT_REAL_IN_INTEGER", rows, owner, off, length, reals, raw=False)
        _note_values(block, key, "FORMAT_NOT_INTEGER", rows, owner, off, length, hopeless)
        double = np.where(valid, whole, 0).astype(np.float64)
        for c in reals:
            double[c] = float(block.text(off[c], length[c]))
            valid[c] = True
        return _array(pa.float64(), n, valid, [pa.py_buffer(double)])
    single = np.empty(n, np.float32)
    n_bad = tokens.parse_floats(block.buffer, off, length, tokens.POWERS_OF_TEN, single, valid, bad)
    hopeless = []
    for c in bad[:n_bad]:
        text = block.text(off[c], length[c])
        if _NUMBER.fullmatch(text):
            with np.errstate(over="ignore", under="ignore"):
                single[c] = np.float32(float(text))
            valid[c] = True
        elif text:
            hopeless.append(c)
    _note_values(block, key, "FORMAT_NOT_FLOAT", rows, owner, off, length, hopeless)
    return _array(pa.float32(), n, valid, [pa.py_buffer(single)])


def _is_real(text: str) -> bool:
    """A finite number that is not written as a whole one; whole ones of 19 digits and more do not fit."""
    return bool(_NUMBER.fullmatch(text)) and not text.lstrip("+-").isdigit() and math.isfinite(float(text))


def _note_values(
    block: _Block, key: str, code: str, rows: Ints, owner: Ints, off: Ints32, length: Ints32, at: Any, *,
    raw: bool = True
) -> None:  # fmt: skip
    """The first defective value of each record; several values where Number says 1 are a wrong number."""
    at = np.asarray(at, np.int64)
    if not at.size:
        return
    records, first = np.unique(owner[at] // block.n_samples, return_index=True)
    for record, c in zip(rows[records], at[first], strict=True):
        text = block.text(off[c], length[c])
        block.note("FORMAT_WRONG_NUMBER" if "," in text else code, key, [record], [text], raw=raw)


def _note_numbers(
    block: _Block, key: str, number: str, rows: Ints, off: Ints32, length: Ints32, count: Ints32
) -> None:
    """Lists that are not as long as Number says. A lone missing value always may stand for the whole list."""
    if number.isdigit():
        expected = np.full(rows.size, int(number))
    elif number in ("A", "R"):
        expected = block.n_alts[rows] + (number == "R")
    else:
        return
    wrong = (count != np.repeat(expected, block.n_samples)) & (count > 0)
    if not wrong.any():
        return
    by_record = wrong.reshape(rows.size, block.n_samples)
    mine = np.flatnonzero(by_record.any(axis=1))
    cell = mine * block.n_samples + by_record[mine].argmax(axis=1)
    # the list stays as it is, so there is no raw text to keep
    block.note(
        "FORMAT_WRONG_NUMBER", key, rows[mine], (block.text(off[c], length[c]) for c in cell), raw=False
    )


def _note_formats(block: _Block, formats: _Formats, cells: _Cells) -> None:
    surplus = np.flatnonzero(cells.surplus)
    block.note("FORMAT_TOO_MANY_VALUES", "FORMAT", surplus, (_samples_shown(block, int(r)) for r in surplus))
    for f, names in enumerate(formats.names):
        repeated = [key for key in dict.fromkeys(names) if names.count(key) > 1]
        unknown = [key for key in dict.fromkeys(names) if key not in block.header.formats]
        if not repeated and not unknown:
            continue
        mine = np.flatnonzero((formats.ids == f) & ~block.wrong)
        for key in repeated:
            block.note("FORMAT_KEY_REPEATED", key, mine, [key] * mine.size)
        for key in unknown:
            block.note("FORMAT_KEY_UNDECLARED", key, mine, [key] * mine.size, raw=False)


def _samples_shown(block: _Block, record: int) -> str:
    start = block.sample_off[record]
    return block.text(start, min(block.line_end[record] - start, 80))


def _format_raw(block: _Block) -> pl.Series:
    """FORMAT and samples verbatim, of the records that block.raw names."""
    rows = np.flatnonzero(block.raw & ~block.wrong)
    raw = pl.Series("format_raw", [None], dtype=pl.String).new_from_index(0, block.n)
    if not rows.size:
        return raw
    off = block.format_off.astype(np.int32)
    length = np.where(block.raw & ~block.wrong, block.line_end - block.format_off, -1).astype(np.int32)
    views, valid = np.empty((block.n, 4), np.int32), np.empty(block.n, np.bool_)
    tokens.string_views(block.buffer, off, length, False, views, valid)
    return _series(_array(pa.string_view(), block.n, valid, [pa.py_buffer(views), block.arrow_buffer]))


def _decoded(block: _Block, series: pl.Series, off: Ints32, length: Ints32) -> pl.Series:
    """The escapes of VCF 4.3 section 1.2 resolved, in one pass, so that `%253A` becomes `%3A`."""
    found = np.empty(off.size, np.bool_)
    tokens.contains_byte(block.buffer, off, length, 37, found)
    if not found.any():
        return series
    decoded = pl.element().str.replace_many(_ESCAPES, ascii_case_insensitive=True)
    if series.dtype == pl.List(pl.List(pl.String)):
        decoded = pl.element().list.eval(decoded)
    return series.to_frame().select(pl.first().list.eval(decoded)).to_series()


def _bits(valid: npt.NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _bits_array(values: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, _bits(values)])


def _array(dtype: pa.DataType, n: int, valid: Bools, buffers: list[pa.Buffer]) -> pa.Array:
    nulls = n - int(valid.sum())
    return pa.Array.from_buffers(dtype, n, [_bits(valid) if nulls else None, *buffers], null_count=nulls)


def _large_list(values: pa.Array, offsets: Ints, present: Bools) -> pa.Array:
    nulls = present.size - int(present.sum())
    buffers = [_bits(present) if nulls else None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(
        pa.large_list(values.type), present.size, buffers, null_count=nulls, children=[values]
    )


def _fixed(values: pa.Array, width: int, present: Bools) -> pl.Series:
    nulls = present.size - int(present.sum())
    dtype = pa.list_(values.type, width)
    return _series(
        pa.Array.from_buffers(
            dtype, present.size, [_bits(present) if nulls else None], null_count=nulls, children=[values]
        )
    )


def _series(array: pa.Array) -> pl.Series:
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)  # noqa: S101 - an Array never becomes a frame
    return series
