"""Builds tiny VCFs, and parses them in one call.

Not for tests where parity with another reader is the point: those take real files, which nobody here made up.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import polars as pl

from vcf_pipeline.adapters.vcf_files.bgzf import EOF_MARKER
from vcf_pipeline.domain.vcf.batch import BlockParser, ParsedBatch
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings


def header_text(
    *,
    info: tuple[str, ...] = (),
    formats: tuple[str, ...] = (),
    samples: tuple[str, ...] = (),
    lines: tuple[str, ...] = (),
    version: str = "VCFv4.3",
) -> str:
    """info, formats: `ID,Number,Type`. lines: other ## lines, whole."""
    text = [f"##fileformat={version}", *lines]
    for kind, declared in (("INFO", info), ("FORMAT", formats)):
        for entry in declared:
            key, number, type_ = entry.split(",")
            text.append(f'##{kind}=<ID={key},Number={number},Type={type_},Description="{key}">')
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
    if samples:
        columns += ["FORMAT", *samples]
    return "\n".join([*text, "\t".join(columns)]) + "\n"


def record(
    alt: str = "C",
    info: str = ".",
    *samples: str,
    pos: int | str = 100,
    ref: str = "A",
    contig: str = "1",
    id: str = ".",
    qual: str = ".",
    filter: str = "PASS",
) -> str:
    """One line. samples: FORMAT first, then a text per sample."""
    return "\t".join([contig, str(pos), id, ref, alt, qual, filter, info, *samples]) + "\n"


def parse(*records: str | bytes, settings: ReaderSettings | None = None, **header: Any) -> ParsedBatch:
    """The records as one block under a header of header_text()."""
    text = header_text(**header)
    parser = BlockParser(parse_header(text), settings or ReaderSettings())
    lines = b"".join(line.encode() if isinstance(line, str) else line for line in records)
    return parser.parse(lines, 0, text.count("\n") + 1, len(text.encode()))


def column(name: str, *records: str, **header: Any) -> list[Any]:
    """One column of the variants of the records."""
    return parse(*records, **header).variants[name].to_list()


def joined(batches: list[ParsedBatch], table: str = "variants") -> pl.DataFrame:
    """The frames of several batches as one."""
    return pl.concat([getattr(batch, table) for batch in batches], how="diagonal_relaxed")


def bgzf(text: bytes, *, block_bytes: int = 60_000, end_marker: bool = True, level: int = 1) -> bytes:
    """The text as BGZF (SAM specification 4.1). level: of deflate; bgzip writes 6."""
    blocks = []
    for at in range(0, len(text), block_bytes):
        part = text[at : at + block_bytes]
        deflater = zlib.compressobj(level, zlib.DEFLATED, -15)
        body = deflater.compress(part) + deflater.flush()
        head = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(body) + 25)
        blocks.append(head + body + struct.pack("<II", zlib.crc32(part), len(part)))
    return b"".join(blocks) + (EOF_MARKER if end_marker else b"")
