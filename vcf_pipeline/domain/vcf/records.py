"""Lines of a block → core columns, one row per record, and the records that are set aside.

Only a defect of the text's decoding, the column count, CHROM, POS, REF or ALT sets a record aside.
Not here: a row per allele (alleles.py), INFO (info.py), samples (genotypes.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from vcf_pipeline.domain.tables.schemas import REJECTS
from vcf_pipeline.domain.vcf.allele_tokens import NO_ALT, NOT_AN_ALLELE, classify_alts, explode
from vcf_pipeline.domain.vcf.arrow_columns import COMMA, Block
from vcf_pipeline.domain.vcf.defects import DefectLog, defect, message
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.tokens import (
    POWERS_OF_TEN,
    Array,
    classify_bytes,
    count_items,
    find_columns,
    parse_floats,
    parse_ints,
    split_items,
)

CHROM, POS, ID, REF, ALT, QUAL, FILTER, INFO, FORMAT = range(9)
RAW_LIMIT = 4096
ALT_LIMIT = 10_000
"""ALT alleles of a record: each becomes a row, and alt_index is an Int16."""
_LOWER, _AMBIGUOUS, _NO_BASE = 1, 2, 4
_REASONS = (
    "",
    "TEXT_NOT_UTF8",
    "TEXT_HAS_NUL",
    "COLUMN_COUNT",
    "CONTIG_EMPTY",
    "POS_NOT_INTEGER",
    "POS_NEGATIVE",
    "REF_NOT_BASES",
    "ALT_NOT_ALLELE",
)
_COLUMN_OF = ("", "line", "line", "line", "CHROM", "POS", "POS", "REF", "ALT")


def _base_classes() -> tuple[Array, Array]:
    """(uint8[256] bits of REF's letters, uint8[256] non-zero where a letter may stand in an ALT)."""
    of_ref = np.full(256, _NO_BASE, np.uint8)
    of_alt = np.zeros(256, np.uint8)
    for letter in b"ACGTN":
        of_ref[letter] = 0
        of_ref[letter + 32] = _LOWER
    # IUPAC letters stand in real files (dbSNP, ClinVar): kept, and counted
    for letter in b"RYSWKMBDHVU":
        of_ref[letter] = _AMBIGUOUS
        of_ref[letter + 32] = _AMBIGUOUS | _LOWER
    of_alt[of_ref != _NO_BASE] = 1
    return of_ref, of_alt


_REF_CLASSES, _ALT_BASES = _base_classes()


@dataclass
class Records:
    """The data lines of a block and their columns; all arrays by data line unless said otherwise.

    start, end: int32, line without CR and LF. off, length: int32 [column, line]. pos: int64. reason: uint8, 0
    is kept. line: int64, number of the line inside the block, blank ones counted. By ALT item: item_record
    (int64), alt_index (int16; 0 where ALT is `.`), item_off, item_len (int32), kind (uint8,
    allele_tokens.py). n_alts: int32, 0 for `.`. ref_ambiguous: int64, numbers of data lines.
    """

    block: Block
    start: Array
    end: Array
    line: Array
    off: Array
    length: Array
    pos: Array
    reason: Array
    item_record: Array
    alt_index: Array
    item_off: Array
    item_len: Array
    kind: Array
    n_alts: Array
    some_ref_lower: bool
    ref_ambiguous: Array

    def cut(self, column: int, record: int) -> str:
        """The text of a column."""
        return self.block.cut(int(self.off[column, record]), int(self.length[column, record]))

    def whole(self, record: int) -> str:
        return self.block.cut(int(self.start[record]), int(self.end[record] - self.start[record]))


def read_records(block: Block, header: Header) -> tuple[Records, int]:
    """The block's data lines, with the reason why one is set aside, and how many blank lines it has."""
    start, end, line = _lines(block)
    n = start.size
    blank = line.size - n
    if blank:
        line = line[line >= 0]
    n_columns = 9 if header.samples else 8
    off = np.empty((n_columns, n), np.int32)
    length = np.empty((n_columns, n), np.int32)
    found = np.empty(n, np.int32)
    find_columns(block.array, start, end, off, length, found)
    reason = np.zeros(n, np.uint8)
    _decoding(block, start, end, reason)
    _set(reason, "COLUMN_COUNT", _wrong_columns(found, header))
    _set(reason, "CONTIG_EMPTY", length[CHROM] == 0)
    pos = np.empty(n, np.int64)
    valid = np.empty(n, np.bool_)
    parse_ints(block.array, off[POS], length[POS], pos, valid, np.empty(n, np.int32))
    _set(reason, "POS_NOT_INTEGER", ~valid)
    _set(reason, "POS_NEGATIVE", pos < 0)
    ref_class = np.empty(n, np.uint8)
    classify_bytes(block.array, off[REF], length[REF], _REF_CLASSES, ref_class)
    _set(reason, "REF_NOT_BASES", ((ref_class & _NO_BASE) != 0) | (length[REF] <= 0))

    count = np.empty(n, np.int32)
    count_items(block.array, off[ALT], length[ALT], COMMA, count)
    np.maximum(count, 1, out=count)
    total = int(count.sum())
    item_record = np.empty(total, np.int64)
    alt_index = np.empty(total, np.int16)
    explode(count, item_record, alt_index)
    item_off = np.empty(total, np.int32)
    item_len = np.empty(total, np.int32)
    split_items(block.array, off[ALT], length[ALT], COMMA, count, item_off, item_len)
    kind = np.empty(total, np.uint8)
    classify_alts(block.array, item_off, item_len, _ALT_BASES, kind)
    no_alt = kind == NO_ALT
    alleles = count[item_record]
    wrong = (kind == NOT_AN_ALLELE) | (no_alt & (alleles > 1)) | (alleles > ALT_LIMIT)
    if wrong.any():
        bad = np.zeros(n, np.bool_)
        bad[item_record[wrong]] = True
        _set(reason, "ALT_NOT_ALLELE", bad)
    alt_index[no_alt] = 0
    n_alts = count
    n_alts[item_record[no_alt]] -= 1
    return (
        Records(
            *(block, start, end, line, off, length, pos, reason),
            *(item_record, alt_index, item_off, item_len, kind, n_alts),
            bool((ref_class & _LOWER).any()),
            np.flatnonzero((ref_class & (_AMBIGUOUS | _NO_BASE)) == _AMBIGUOUS),
        ),
        blank,
    )


def _lines(block: Block) -> tuple[Array, Array, Array]:
    """(start, end of each data line, number of every line in the block with -1 for a blank one)."""
    breaks = np.flatnonzero(block.array == 10).astype(np.int32)
    if block.array.size and (breaks.size == 0 or breaks[-1] != block.array.size - 1):
        breaks = np.append(breaks, np.int32(block.array.size))
    start = np.empty(breaks.size, np.int32)
    if start.size:
        start[0] = 0
        start[1:] = breaks[:-1] + 1
    end = breaks.copy()
    filled = end > start
    end[filled] -= block.array[end[filled] - 1] == 13
    line = np.arange(start.size, dtype=np.int64)
    blank = end <= start
    if blank.any():
        line[blank] = -1
        start, end = start[~blank], end[~blank]
    return start, end, line


def _decoding(block: Block, start: Array, end: Array, reason: Array) -> None:
    """Lines that are no UTF-8, or have a NUL."""
    if not block.text.isascii():
        try:
            block.text.decode()
        except UnicodeDecodeError:
            high = np.add.reduceat(block.array >= 128, start) if start.size else np.empty(0)
            for record in np.flatnonzero(high):
                try:
                    block.text[start[record] : end[record]].decode()
                except UnicodeDecodeError:
                    reason[record] = _REASONS.index("TEXT_NOT_UTF8")
    if b"\0" in block.text:
        zeros = np.flatnonzero(block.array == 0)
        bad = np.zeros(reason.size, np.bool_)
        bad[np.searchsorted(start, zeros, side="right") - 1] = True
        _set(reason, "TEXT_HAS_NUL", bad)


def _wrong_columns(found: Array, header: Header) -> Array:
    if header.samples:
        short: Array = found < 10
        return short
    if header.text.rstrip("\r\n").endswith("\tFORMAT"):
        missing: Array = found < 8
        return missing
    wrong: Array = found != 8
    return wrong


def _set(reason: Array, code: str, bad: Array) -> None:
    reason[bad & (reason == 0)] = _REASONS.index(code)


def set_aside(records: Records, wrong: Array) -> None:
    """wrong: numbers of records whose sample columns are too few or too many."""
    reason = _REASONS.index("COLUMN_COUNT")
    records.reason[wrong] = reason


def rejects(records: Records, header: Header, first_record_no: int, first_line: int, byte_offset: int) -> pl.DataFrame:
    """A row of REJECTS per record set aside."""
    rows = []
    for record in np.flatnonzero(records.reason):
        code = _REASONS[records.reason[record]]
        column, text = reject_text(records, header, int(record))
        raw = records.whole(int(record))[:RAW_LIMIT]
        rows.append(
            (
                first_record_no + int(record),
                first_line + int(records.line[record]),
                byte_offset + int(records.start[record]),
                column,
                code,
                f"{message(code, column, text)}. {defect(code).repair}.",
                raw,
            )
        )
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def reject_text(records: Records, header: Header, record: int) -> tuple[str, str]:
    """(column, what stands there) of a record set aside."""
    code = int(records.reason[record])
    name = _COLUMN_OF[code]
    if _REASONS[code] == "COLUMN_COUNT":
        wanted = 9 + len(header.samples) if header.samples else 8
        count = records.block.text.count(b"\t", int(records.start[record]), int(records.end[record])) + 1
        return name, f"{count} columns instead of {wanted}"
    if name == "line":
        return name, records.whole(record)[:80]
    return name, records.cut(("CHROM", "POS", "ID", "REF", "ALT").index(name), record)


def note_rejects(records: Records, header: Header, log: DefectLog) -> None:
    """Counts of the records set aside, and of ambiguous bases."""
    for code in np.unique(records.reason[records.reason > 0]):
        name = _REASONS[code]
        lines = np.flatnonzero(records.reason == code)
        log.note(name, _COLUMN_OF[code], lines, lambda record: reject_text(records, header, record)[1])
    kept = records.ref_ambiguous[records.reason[records.ref_ambiguous] == 0]
    log.note("REF_AMBIGUOUS", "REF", kept, lambda record: records.cut(REF, record))


def quality(records: Records, rows: Array, log: DefectLog) -> tuple[Array, Array, Array]:
    """QUAL of the records `rows` → (float32, valid, is_wrong: neither a number nor `.`)."""
    block = records.block
    off, length = records.off[QUAL][rows], records.length[QUAL][rows]
    values = np.empty(off.size, np.float32)
    valid = np.empty(off.size, np.bool_)
    bad = np.empty(off.size, np.int32)
    is_wrong = np.zeros(off.size, np.bool_)
    n_bad = parse_floats(block.array, off, length, POWERS_OF_TEN, values, valid, bad)
    if n_bad:
        wrong = slow_floats(block, off, length, bad[:n_bad], values, valid)
        is_wrong[wrong] = True
        log.note("QUAL_NOT_NUMBER", "QUAL", rows[wrong], lambda record: records.cut(QUAL, record))
    return values, valid, is_wrong


def slow_floats(block: Block, off: Array, length: Array, bad: Array, values: Array, valid: Array) -> Array:
    """The rows `bad` once more, exactly; inf and nan are numbers. Returns those that are none."""
    wrong = []
    for row in bad:
        size = int(length[row])
        text = block.text[off[row] : off[row] + size] if size > 0 else b""
        try:
            # float() takes `1_0` and blanks, which are no VCF numbers
            if b"_" in text or text != text.strip():
                raise ValueError
            with np.errstate(over="ignore"):
                values[row] = float(text)
            valid[row] = True
        except ValueError:
            wrong.append(row)
    return np.array(wrong, np.int64)
