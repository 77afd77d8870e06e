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

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.tables.schemas import NO_ALLELE
from vcf_pipeline.domain.vcf import sample_tokens
from vcf_pipeline.domain.vcf.arrow_columns import Block, bitmap, texts, to_series
from vcf_pipeline.domain.vcf.format_values import format_column
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.domain.vcf.sample_cells import (
    Bools,
    Formats,
    Ints,
    Ints32,
    KeyCells,
    SampleBlock,
    find_cells,
    note_formats,
)

SUMMARY = ("n_called", "ac", "an", "n_het", "n_hom", "n_missing")
WIDEST_PLOIDY = 128
"""A GT with more alleles is malformed: every sample of the block would be given as many."""
_LARGEST_INT8 = 126


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
    text = buffer.base if isinstance(buffer.base, bytes) else buffer.tobytes()
    samples = SampleBlock(
        Block(text),
        np.ascontiguousarray(sample_off, np.int64),
        np.ascontiguousarray(line_end, np.int64),
        np.ascontiguousarray(format_off, np.int64),
        np.ascontiguousarray(format_len, np.int32),
        np.ascontiguousarray(n_alts, np.int32),
        header,
    )
    formats = Formats.of(samples, settings.formats)
    quick = _calls_alone(samples, formats)
    cells = find_cells(samples, formats, np.flatnonzero(~quick.done & ~samples.wrong))
    columns: dict[str, pl.Series] = {"record_no": pl.Series("record_no", np.asarray(record_no, np.int64))}
    columns |= _gt(samples, formats, quick, cells.get("GT"))
    columns |= {f"fmt_{key}": format_column(samples, cells[key]) for key in formats.keys if key != "GT"}
    note_formats(samples, formats)
    columns["format_raw"] = _format_raw(samples)
    summary = dict(zip(SUMMARY, quick.counts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        summary["af"] = np.where(summary["an"] > 0, summary["ac"] / summary["an"], np.nan).astype(np.float32)
    return GenotypesParsed(
        frame=pl.DataFrame([series.alias(name) for name, series in columns.items()]),
        summary=summary,
        has_call=np.repeat(quick.has_gt, samples.rows_per_record),
        defects=samples.defects,
        wrong_columns=samples.wrong,
        defect_counts=dict(Counter(code for _, _, code, _ in samples.defects)),
    )


@dataclass
class _Calls:
    """What the quick way read: records whose only wanted key is GT, every sample `d|d` or `d/d`."""

    gt: npt.NDArray[np.int8]
    phased: npt.NDArray[np.uint8]
    done: Bools
    has_gt: Bools
    counts: Ints


def _calls_alone(samples: SampleBlock, formats: Formats) -> _Calls:
    alone = np.array([keys == ["GT"] for keys in formats.names], np.bool_)
    rows = np.flatnonzero(alone[formats.ids] & ~samples.wrong) if alone.size else np.empty(0, np.int64)
    counts = np.zeros((len(SUMMARY), samples.n_rows), np.int64)
    done = np.zeros(samples.n, np.uint8)
    shape = (samples.n, samples.n_samples) if rows.size else (0, 0)
    gt = np.full((*shape, 2), NO_ALLELE, np.int8)
    phased = np.zeros(shape, np.uint8)
    if rows.size:
        sample_tokens.diploid_calls(
            samples.block.array, samples.sample_off, samples.line_end, rows, samples.n_samples, samples.n_alts,
            samples.first_row, gt, phased, done, counts,
        )  # fmt: skip
    return _Calls(gt, phased, done.astype(np.bool_), formats.records_with("GT") & ~samples.wrong, counts)


def _gt(samples: SampleBlock, formats: Formats, quick: _Calls, cells: KeyCells | None) -> dict[str, pl.Series]:
    """gt and phased of all records: the quick way's, and the other cells'."""
    n_samples = samples.n_samples
    gt, phased = quick.gt, quick.phased
    if cells is not None and cells.records.size:
        rows, off, length = cells.records, cells.off, cells.length
        width = min(sample_tokens.widest_call(samples.block.array, off, length), WIDEST_PLOIDY)
        slow = np.empty((rows.size, n_samples, width), np.int16)
        slow_phased = np.empty((rows.size, n_samples), np.uint8)
        status = np.zeros((rows.size, n_samples), np.uint8)
        largest = sample_tokens.gt_of_cells(
            samples.block.array, off, length, rows, n_samples, samples.prefix_allowed, samples.n_alts,
            samples.first_row, slow, slow_phased, status, quick.counts,
        )  # fmt: skip
        dtype = np.int8 if largest <= _LARGEST_INT8 else np.int16
        if rows.size == samples.n:
            gt, phased = slow.astype(dtype), slow_phased
        else:
            both = max(width, 2) if quick.done.any() else width
            gt = np.full((samples.n, n_samples, both), NO_ALLELE, dtype)
            phased = np.zeros((samples.n, n_samples), np.uint8)
            gt[rows, :, :width] = slow
            phased[rows] = slow_phased
            if quick.done.any():
                gt[quick.done, :, :2] = quick.gt[quick.done]
                phased[quick.done] = quick.phased[quick.done]
        _note_calls(samples, rows, off, length, status)
    elif "GT" not in formats.keys or not quick.done.any():
        gt, phased = np.zeros((samples.n, n_samples, 1), np.int8), np.zeros((samples.n, n_samples), np.uint8)
    width = gt.shape[2] * n_samples
    return {
        "gt": _fixed(pa.array(gt.reshape(-1)), width, quick.has_gt),
        "phased": _fixed(_flags(phased.reshape(-1)), n_samples, quick.has_gt),
    }


def _note_calls(samples: SampleBlock, rows: Ints, off: Ints32, length: Ints32, status: npt.NDArray[np.uint8]) -> None:
    """The first defective call of each record; one whose separators a Boolean cannot hold keeps its text."""
    if not status.any():
        return
    for bit, code in ((sample_tokens.BAD, "GT_MALFORMED"), (sample_tokens.OUT_OF_RANGE, "GT_ALLELE_UNKNOWN")):
        hit = (status & bit) > 0
        mine = np.flatnonzero(hit.any(axis=1))
        cell = mine * samples.n_samples + hit[mine].argmax(axis=1)
        samples.note(code, "GT", rows[mine], (samples.text(off[c], length[c]) for c in cell))
    samples.raw[rows[(status & sample_tokens.UNEVEN).any(axis=1)]] = True


def _format_raw(samples: SampleBlock) -> pl.Series:
    """FORMAT and samples verbatim, of the records that samples.raw names."""
    keep = samples.raw & ~samples.wrong
    if not keep.any():
        return pl.Series("format_raw", [None], dtype=pl.String).new_from_index(0, samples.n)
    length = np.where(keep, samples.line_end - samples.format_off, -1).astype(np.int32)
    return texts("format_raw", samples.block, samples.format_off.astype(np.int32), length, dot_is_null=False)


def _flags(values: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, bitmap(values, 1)])


def _fixed(values: pa.Array, width: int, present: Bools) -> pl.Series:
    nulls = present.size - int(np.count_nonzero(present))
    buffers = [bitmap(present, nulls)]
    kind = pa.list_(values.type, width)
    return to_series("", pa.Array.from_buffers(kind, present.size, buffers, null_count=nulls, children=[values]))
