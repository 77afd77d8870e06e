"""A VCF of as many records as a measurement asks for: a real file's, repeated, or made up.

Not here: what is measured with it.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from vcf_pipeline.adapters.vcf_files.bgzf import EOF_MARKER, SourceFile, compression_of, inflated
from vcf_pipeline.domain.errors import NotAVcf

_BLOCK = 60_000
_LINES_AT_ONCE = 20_000
_MADE_HEADER = b"""##fileformat=VCFv4.3
##INFO=<ID=AC,Number=A,Type=Integer,Description="Alleles counted">
##INFO=<ID=AF,Number=A,Type=Float,Description="Share of alleles">
##INFO=<ID=AN,Number=1,Type=Integer,Description="Alleles called">
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">
##INFO=<ID=GENE,Number=1,Type=String,Description="Gene">
##FILTER=<ID=LowQual,Description="Low quality">
##contig=<ID=chr1,length=248956422>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
"""


def make_file(target: Path, records: int, source: str | None = None, seed: int = 1) -> int:
    """Write a BGZF VCF, and say how many records it has: whole rounds of the source's, at least one.

    source: a VCF, plain, gzip or BGZF, that fits into memory, whose lines are repeated as they are; None for made-up
    sites, of which equal seeds give equal ones. Raises NotFound, NotAVcf, Truncated, Corrupt.
    """
    if source is None:
        header, texts, count = _MADE_HEADER, _made_up(records, seed), records
    else:
        header, body, n_lines = _read(source)
        times = max(1, records // n_lines)
        texts, count = (body for _ in range(times)), times * n_lines
    with target.open("wb") as file:
        for text in _chained(header, texts):
            for at in range(0, len(text), _BLOCK):
                file.write(_block(text[at : at + _BLOCK]))
        file.write(EOF_MARKER)
    return count


def _chained(header: bytes, texts: Iterable[bytes]) -> Iterator[bytes]:
    yield header
    yield from texts


def _read(path: str) -> tuple[bytes, bytes, int]:
    """(header, data lines, how many)."""
    file = SourceFile(path, hash_bytes=False)
    try:
        first = file.read()
        text = b"".join(inflated(file, first, compression_of(path, first)))
    finally:
        file.close()
    lines = [line for line in text.splitlines(keepends=True) if line.strip()]
    header = [line for line in lines if line.startswith(b"#")]
    body = [line if line.endswith(b"\n") else line + b"\n" for line in lines if not line.startswith(b"#")]
    if not header or not body:
        raise NotAVcf(where=path, expected="a header and records to repeat", got=f"{len(body)} records")
    return b"".join(header), b"".join(body), len(body)


def _made_up(records: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)  # noqa: S311 - a measurement's input, no secret
    genes = [f"GENE{number}" for number in range(500)]
    pos = 10_000
    for start in range(0, records, _LINES_AT_ONCE):
        lines = []
        for _ in range(min(_LINES_AT_ONCE, records - start)):
            pos += chance.randint(1, 200)
            ref = chance.choice("ACGT")
            alt = chance.choice("ACGT".replace(ref, ""))
            count = chance.randint(1, 5008)
            qual, depth = chance.randint(10, 3000), chance.randint(5000, 30000)
            passed = "LowQual" if chance.random() < 0.3 else "PASS"
            gene = genes[pos // 60_000 % len(genes)]
            lines.append(
                f"chr1\t{pos}\t.\t{ref}\t{alt}\t{qual}\t{passed}\t"
                f"AC={count};AF={count / 5008:.6g};AN=5008;DP={depth};GENE={gene}\n"
            )
        yield "".join(lines).encode()


def _block(text: bytes) -> bytes:
    """One BGZF block (SAM specification 4.1), at the level that bgzip takes."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = deflater.compress(text) + deflater.flush()
    head = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(text), len(text))
