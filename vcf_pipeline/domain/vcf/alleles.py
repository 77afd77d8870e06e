"""Records → allele rows: core columns, trimmed alleles, variant_type, svtype, svlen, end, variant_key.

Not here: which records are kept (records.py), left alignment (it needs a reference).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from vcf_pipeline.domain.vcf.allele_tokens import (
    BREAKEND,
    NO_ALT,
    NONREF,
    SEQUENCE,
    STAR,
    SYMBOLIC,
    trim_alleles,
    write_keys,
)
from vcf_pipeline.domain.vcf.arrow_columns import SEMICOLON, Block, numbers, text_lists, texts, words
from vcf_pipeline.domain.vcf.defects import DefectLog
from vcf_pipeline.domain.vcf.records import CHROM, FILTER, ID, QUAL, REF, Records, quality
from vcf_pipeline.domain.vcf.tokens import ABSENT, Array, parse_ints, pick_item

VARIANT_TYPES = ("snv", "mnv", "ins", "del", "indel", "sv", "bnd", "star", "nonref", "ref")
LONG_ALLELE = 50
_SPANNING = ("DEL", "DUP", "INV", "CNV")


@dataclass
class InfoTokens:
    """Where a key's value stands in each record (int32; length ABSENT, WITHOUT_VALUE or the value's)."""

    off: Array
    length: Array


@dataclass
class AlleleRows:
    """Which allele rows there are. record: int64, data line of the block; alt_index: int16; all by row.

    one_each: every record has one row, in order, none left out: gathering can be skipped.
    """

    record: Array
    alt_index: Array
    alt_off: Array
    alt_len: Array
    kind: Array
    n_alts: Array
    one_each: bool

    def take(self, by_record: Array) -> Array:
        """Values by data line → by allele row."""
        return by_record if self.one_each else by_record[self.record]


def allele_rows(records: Records) -> AlleleRows:
    """The rows of the records that are kept."""
    n = records.reason.size
    record, alt_index = records.item_record, records.alt_index
    alt_off, alt_len, kind = records.item_off, records.item_len, records.kind
    if records.reason.any():
        kept = records.reason[record] == 0
        record, alt_index, alt_off, alt_len, kind = (
            array[kept] for array in (record, alt_index, alt_off, alt_len, kind)
        )
        one_each = False
    else:
        one_each = record.size == n
    return AlleleRows(
        record,
        alt_index,
        alt_off,
        alt_len,
        kind,
        records.n_alts if one_each else records.n_alts[record],
        one_each,
    )


def core_columns(
    records: Records,
    rows: AlleleRows,
    tokens: dict[str, InfoTokens],
    first_record_no: int,
    *,
    old_chrm: bool,
    log: DefectLog,
) -> list[pl.Series]:
    """The columns of VARIANTS_HEAD, and qual_raw where a QUAL is no number.

    tokens: those of END, SVLEN, SVTYPE that the block has, by data line.
    """
    block = records.block
    contig_off, contig_len = rows.take(records.off[CHROM]), rows.take(records.length[CHROM])
    ref_off, ref_len = rows.take(records.off[REF]), rows.take(records.length[REF])
    pos = rows.take(records.pos)
    skipped, trimmed_ref, trimmed_alt = (np.empty(pos.size, np.int32) for _ in range(3))
    type_code = np.empty(pos.size, np.uint8)
    trim_alleles(
        *(block.array, ref_off, ref_len, rows.alt_off, rows.alt_len, rows.kind),
        *(skipped, trimmed_ref, trimmed_alt, type_code),
    )
    ref = texts("ref", block, ref_off, ref_len, dot_is_null=False)
    alt_len = np.where(rows.kind == NO_ALT, np.int32(ABSENT), rows.alt_len)
    alt = texts("alt", block, rows.alt_off, alt_len, dot_is_null=False)
    contig = texts("contig", block, contig_off, contig_len, dot_is_null=False)
    symbol = _symbols(block, rows)
    svtype = _svtype(block, rows, tokens.get("SVTYPE"), symbol)
    svlen, has_svlen = _svlen(block, rows, tokens.get("SVLEN"))
    end = _end(block, rows, pos, ref_len, tokens.get("END"), symbol, (svlen, has_svlen), log)
    key = _keys(
        *(block, rows, contig, pos, end, svlen, has_svlen, symbol, alt),
        (contig_off, contig_len, ref_off, trimmed_ref, trimmed_alt, skipped),
        old_chrm=old_chrm,
    )
    every = np.arange(records.reason.size, dtype=np.int64)
    kept = every if rows.one_each else np.flatnonzero(records.reason == 0)
    qual, has_qual, no_number = quality(records, kept, log)
    if not rows.one_each:
        at = np.zeros(records.reason.size, np.int64)
        at[records.reason == 0] = np.arange(qual.size)
        qual, has_qual, no_number = (values[at[rows.record]] for values in (qual, has_qual, no_number))
    return [
        pl.Series("record_no", rows.record + first_record_no),
        contig,
        pl.Series("pos", pos),
        pl.Series("end", end),
        text_lists("id", block, rows.take(records.off[ID]), rows.take(records.length[ID]), SEMICOLON),
        ref.str.to_uppercase() if records.some_ref_lower else ref,
        alt,
        pl.Series("alt_index", rows.alt_index),
        numbers("qual", qual, has_qual),
        text_lists("filter", block, rows.take(records.off[FILTER]), rows.take(records.length[FILTER]), SEMICOLON),
        words("variant_type", type_code, VARIANT_TYPES),
        svtype,
        numbers("svlen", svlen, has_svlen),
        key,
        *([_qual_raw(records, rows, no_number)] if no_number.any() else []),
    ]


def _qual_raw(records: Records, rows: AlleleRows, no_number: Array) -> pl.Series:
    length = np.where(no_number, rows.take(records.length[QUAL]), np.int32(ABSENT)).astype(np.int32)
    return texts("qual_raw", records.block, rows.take(records.off[QUAL]), length, dot_is_null=False)


def _symbols(block: Block, rows: AlleleRows) -> pl.Series | None:
    """What stands inside < >, null elsewhere; None where no allele is symbolic."""
    symbolic = rows.kind == SYMBOLIC
    if not symbolic.any():
        return None
    length = np.where(symbolic, rows.alt_len - 2, np.int32(ABSENT)).astype(np.int32)
    return texts("symbol", block, rows.alt_off + np.int32(1), length, dot_is_null=False)


def _svtype(block: Block, rows: AlleleRows, token: InfoTokens | None, symbol: pl.Series | None) -> pl.Series:
    """INFO/SVTYPE, else the symbolic allele's first word, else BND for a breakend."""
    n = rows.record.size
    breakend = rows.kind == BREAKEND
    if token is None and symbol is None and not breakend.any():
        return pl.Series("svtype", [None], dtype=pl.String).new_from_index(0, n)
    svtype = pl.Series("svtype", [None], dtype=pl.String).new_from_index(0, n)
    if token is not None:
        svtype = texts("svtype", block, rows.take(token.off), rows.take(token.length))
    frame = pl.DataFrame({"svtype": svtype, "bnd": breakend})
    if symbol is not None:
        frame = frame.with_columns(symbol=symbol.str.split(":").list.first())
        frame = frame.with_columns(svtype=pl.coalesce("svtype", "symbol"))
    return frame.select(
        pl.when(pl.col("svtype").is_null() & pl.col("bnd")).then(pl.lit("BND")).otherwise("svtype").alias("svtype")
    )["svtype"]


def _svlen(block: Block, rows: AlleleRows, token: InfoTokens | None) -> tuple[Array, Array]:
    """(int64, valid) the allele's own SVLEN, sign included; a single value holds for all alleles."""
    n = rows.record.size
    value, valid = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    if token is None:
        return value, valid
    off, length = rows.take(token.off), rows.take(token.length)
    item_off, item_len, count = (np.empty(n, np.int32) for _ in range(3))
    pick_item(
        block.array,
        off,
        length,
        np.maximum(rows.alt_index - 1, 0).astype(np.int32),
        item_off,
        item_len,
        count,
    )
    alone = count == 1
    item_off, item_len = np.where(alone, off, item_off), np.where(alone, length, item_len)
    parse_ints(block.array, item_off, item_len, value, valid, np.empty(n, np.int32))
    return value, valid


def _end(
    block: Block,
    rows: AlleleRows,
    pos: Array,
    ref_len: Array,
    token: InfoTokens | None,
    symbol: pl.Series | None,
    svlen: tuple[Array, Array],
    log: DefectLog,
) -> Array:
    """int64, 1-based, inclusive: INFO/END, else pos + |SVLEN| for what spans the reference, else by REF.

    An END before POS (breakends of older callers give the mate's place) is passed over, with a warning.
    """
    end: Array = pos + np.maximum(ref_len, 1) - 1
    if symbol is not None and svlen[1].any():
        spans = symbol.str.split(":").list.first().is_in(_SPANNING).fill_null(False).to_numpy() & svlen[1]
        end = np.where(spans, pos + np.abs(svlen[0]), end)
    if token is not None:
        value, valid = np.empty(pos.size, np.int64), np.empty(pos.size, np.bool_)
        parse_ints(
            block.array,
            rows.take(token.off),
            rows.take(token.length),
            value,
            valid,
            np.empty(pos.size, np.int32),
        )
        before = valid & (value < pos)
        if before.any():
            log.note("END_BEFORE_POS", "END", rows.record[before], lambda record: f"record {record}")
            valid &= ~before
        end = np.where(valid, value, end)
    return end


def _keys(
    block: Block,
    rows: AlleleRows,
    contig: pl.Series,
    pos: Array,
    end: Array,
    svlen: Array,
    has_svlen: Array,
    symbol: pl.Series | None,
    alt: pl.Series,
    trimmed: tuple[Array, Array, Array, Array, Array, Array],
    *,
    old_chrm: bool,
) -> pl.Series:
    """variant_key. Sequences of up to 50 bases by a kernel; the others by expressions over those rows
    alone.
    """
    contig_off, contig_len, ref_off, trimmed_ref, trimmed_alt, skipped = trimmed
    sequence = rows.kind == SEQUENCE
    plain = sequence & (trimmed_ref <= LONG_ALLELE) & (trimmed_alt <= LONG_ALLELE)
    size = int((contig_len + trimmed_ref + trimmed_alt)[plain].sum()) + 28 * int(plain.sum())
    out = np.empty(size, np.uint8)
    key_off, key_len = np.empty(pos.size, np.int32), np.empty(pos.size, np.int32)
    used = write_keys(
        *(block.array, contig_off, contig_len, pos, ref_off, trimmed_ref, rows.alt_off, trimmed_alt, skipped),
        *(plain, old_chrm, out, key_off, key_len),
    )
    keys = texts("variant_key", Block(out[:used].tobytes()), key_off, key_len, dot_is_null=False)
    others = np.flatnonzero(~plain & (rows.kind != NO_ALT))
    if others.size == 0:
        return keys
    frame = pl.DataFrame(
        {
            "contig": contig.gather(others),
            "pos": pos[others],
            "end": end[others],
            "kind": rows.kind[others],
            "alt": alt.gather(others),
            "symbol": symbol.gather(others) if symbol is not None else [None] * others.size,
            "svlen": pl.select(
                pl.when(pl.Series(has_svlen[others])).then(pl.Series(np.abs(svlen[others])))
            ).to_series(),
            "start": pos[others] + skipped[others],
            "ref_text": texts("r", block, (ref_off + skipped)[others], trimmed_ref[others], dot_is_null=False),
            "alt_text": texts("a", block, (rows.alt_off + skipped)[others], trimmed_alt[others], dot_is_null=False),
        },
        schema_overrides={"symbol": pl.String},
    )
    kind = pl.col("kind")
    place = _bare_contig(old_chrm) + "-" + pl.col("pos").cast(pl.String) + "-"
    length = pl.coalesce("svlen", pl.col("end") - pl.col("pos"))
    spanned = "-" + pl.col("end").cast(pl.String) + "-" + length.cast(pl.String)
    long = pl.concat_str(_bare_contig(old_chrm), pl.col("start"), _short("ref_text"), _short("alt_text"), separator="-")
    special = frame.select(
        pl.when(kind == SYMBOLIC)
        .then(place + pl.col("symbol") + spanned)
        .when(kind == NONREF)
        .then(place + pl.lit("NON_REF") + spanned)
        .when(kind == STAR)
        .then(place + _short("ref_text") + "-*")
        .when(kind == BREAKEND)
        .then(place + pl.col("alt"))
        .otherwise(long)
        .alias("variant_key")
    )["variant_key"]
    at = np.arange(pos.size)
    at[others] = pos.size + np.arange(others.size)
    return pl.concat([keys, special]).gather(at)


def _bare_contig(old_chrm: bool) -> pl.Expr:
    contig = pl.col("contig")
    bare = contig.str.replace("^(?i:chr)(.)", "${1}")
    bare = pl.when(bare == "MT").then(pl.lit("M")).otherwise(bare)
    if old_chrm:
        bare = pl.when((bare == "M") & (contig.str.len_bytes() == 4)).then(pl.lit("M16571")).otherwise(bare)
    return bare


def _short(column: str) -> pl.Expr:
    """The bases in upper case; more than 50 as `length:digest` (blake2b, 16 hex digits)."""
    return pl.col(column).map_batches(_shorten, return_dtype=pl.String)


def _shorten(alleles: pl.Series) -> pl.Series:
    upper = alleles.str.to_uppercase()
    if not (upper.str.len_bytes() > LONG_ALLELE).any():
        return upper
    # one digest per allele of more than 50 bases: its cost is that of reading the bases
    return pl.Series(
        alleles.name,
        [text if text is None or len(text) <= LONG_ALLELE else _digest(text) for text in upper.to_list()],
        dtype=pl.String,
    )


def _digest(bases: str) -> str:
    return f"{len(bases)}:{hashlib.blake2b(bases.encode(), digest_size=8).hexdigest()}"
