"""Pieces of inflated text → the header's text, then blocks of whole lines with their numbers.

Not here: inflating (bgzf.py), what a line means (domain/vcf).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vcf_pipeline.domain.errors import NotAVcf, Truncated

HEADER_LIMIT = 256 << 20
LINE_LIMIT = 256 << 20
NEWLINE = 10
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class LineBlock:
    """Whole lines, the last with its newline unless the file lacks it.

    first_line: 1-based, of the file. byte_offset: 0-based, in the inflated text.
    """

    text: bytes
    first_line: int
    byte_offset: int


class BlockCutter:
    """Counts lines and bytes through texts of whole lines, and cuts those with too many lines.

    line: 1-based, of the next text's first line. offset: 0-based, of its first byte.
    """

    def __init__(self, line: int, offset: int, max_lines: int) -> None:
        self.line, self.offset, self._max_lines = line, offset, max_lines

    def cut(self, text: bytes) -> Iterator[LineBlock]:
        """Blocks of at most max_lines."""
        # three times as fast as bytes.count, which goes from hit to hit
        n_lines = int(np.count_nonzero(np.frombuffer(text, np.uint8) == NEWLINE))
        if n_lines <= self._max_lines:
            yield self._block(text, n_lines)
            return
        start = at = 0
        while start < len(text):
            for _ in range(self._max_lines):
                end = text.find(b"\n", at)
                at = end + 1 if end >= 0 else len(text)
                if at >= len(text):
                    break
            part = text[start:at]
            yield self._block(part, part.count(b"\n"))
            start = at

    def _block(self, text: bytes, n_lines: int) -> LineBlock:
        block = LineBlock(text, self.line, self.offset)
        self.line += n_lines
        self.offset += len(text)
        return block


class LineReader:
    """The text of one file, read once: `header_text`, then `blocks()`.

    Raises NotAVcf: no text, UTF-16, NUL bytes, a line before #CHROM that does not begin with `#`, no #CHROM
    line. `warnings`: sentences about the text itself.
    """

    def __init__(self, path: str, pieces: Iterator[bytes]) -> None:
        self._path, self._pieces = path, pieces
        self.warnings: list[str] = []
        self._offset = 0
        head = self._read_header()
        if b"\0" in head:
            raise self._refused("a VCF header", "NUL bytes in it")
        self._line = head.count(b"\n") + 1
        try:
            self.header_text = head.decode()
        except UnicodeDecodeError:
            self.header_text = head.decode("latin-1")
            self.warnings.append("the header is no UTF-8; read as Latin-1")

    def _read_header(self) -> bytes:
        parts: list[bytes] = []
        size, checked = 0, 0
        for inflated in self._pieces:
            piece = inflated if parts else self._first(inflated)
            parts.append(piece)
            size += len(piece)
            if b"\n" not in piece and size < HEADER_LIMIT:
                continue
            buffer = b"".join(parts)
            parts = [buffer]
            end, checked = self._end_of_header(buffer, checked)
            if end:
                self._rest = buffer[end:]
                self._offset += end
                return buffer[:end]
            if size > HEADER_LIMIT:
                break
        buffer = b"".join(parts)
        if not buffer:
            raise self._refused("a VCF", "a file without text")
        if buffer[buffer.rfind(b"\n") + 1 :].startswith(b"#CHROM"):
            self._rest = b""
            self._offset += len(buffer)
            return buffer + b"\n"
        raise self._refused("a #CHROM line", "none")

    def _first(self, piece: bytes) -> bytes:
        if piece.startswith(_UTF16):
            raise self._refused("UTF-8 text", "UTF-16", "Convert the file to UTF-8.")
        if piece.startswith(_BOM):
            self.warnings.append("the file begins with a byte order mark")
            self._offset = len(_BOM)
            piece = piece[len(_BOM) :]
        if not piece.startswith(b"#") and piece.lstrip(b"\r\n \t")[:1] != b"#":
            raise self._refused("a VCF header", repr(piece[:40].decode("utf-8", "backslashreplace")))
        return piece

    def _end_of_header(self, buffer: bytes, at: int) -> tuple[int, int]:
        """(where the records begin, 0 when that is not yet read; start of the first line not yet checked)."""
        while True:
            end = buffer.find(b"\n", at)
            if end < 0:
                return 0, at
            if buffer.startswith(b"#CHROM", at):
                return end + 1, at
            if buffer[at : at + 1] != b"#" and buffer[at:end].strip():
                raise self._refused("a #CHROM line before the records", "none")
            at = end + 1

    def _refused(self, expected: str, got: str, repair: str = "Give a VCF or BCF file.") -> NotAVcf:
        return NotAVcf(where=self._path, expected=expected, got=got, repair=repair)

    def blocks(self, block_bytes: int, max_lines: int) -> Iterator[LineBlock]:
        """Blocks of up to block_bytes and max_lines; a longer line is a block of its own.

        Raises Truncated for a line above LINE_LIMIT (its newline never came).
        """
        cutter = BlockCutter(self._line, self._offset, max_lines)
        parts, size = [self._rest] if self._rest else [], len(self._rest)
        self._rest = b""
        for piece in self._pieces:
            parts.append(piece)
            size += len(piece)
            if size < block_bytes or (b"\n" not in piece and size <= LINE_LIMIT):
                continue
            buffer = b"".join(parts)
            at = 0
            while size - at >= block_bytes and (end := _end_of_lines(buffer, at, block_bytes)):
                yield from cutter.cut(buffer[at:end])
                at = end
            if size - at > LINE_LIMIT:
                raise Truncated(
                    where=f"{self._path} line {cutter.line}",
                    expected=f"lines of at most {LINE_LIMIT >> 20} MiB",
                    got=f"{size - at} bytes without a newline",
                    repair="Check the file's line ends.",
                    code="LINE_TOO_LONG",
                )
            parts, size = ([buffer[at:]], size - at) if at < size else ([], 0)
        rest = b"".join(parts)
        at = 0
        while at < size:
            end = (size - at > block_bytes and _end_of_lines(rest, at, block_bytes)) or size
            yield from cutter.cut(rest[at:end])
            at = end


def _end_of_lines(text: bytes, at: int, block_bytes: int) -> int:
    """Where the last line within block_bytes from `at` ends, else the first line beyond; 0 when none ends."""
    return text.rfind(b"\n", at, at + block_bytes) + 1 or text.find(b"\n", at) + 1
