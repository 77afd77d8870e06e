"""Texts that are no VCF (GFF3, GTF, BED, TSV, FASTA): inflated with the same checks, cut into blocks of whole lines.

Not here: VCFs (reader.py), what the lines mean (domain/sources).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vcf_pipeline.adapters.vcf_files.bgzf import SourceFile, compression_of, inflated
from vcf_pipeline.adapters.vcf_files.lines import LINE_LIMIT, LineBlock
from vcf_pipeline.domain.errors import NotAVcf, Truncated

BLOCK_BYTES = 8 << 20


class TextFile:
    """One pass over a text; made by open_text."""

    def __init__(self, path: str, file: SourceFile, pieces: Iterator[bytes]) -> None:
        self.path = path
        self._file, self._pieces = file, pieces

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[LineBlock]:
        """Whole lines, in order, once. Raises Truncated, Corrupt, ChangedWhileRead."""
        kept, line, offset = b"", 1, 0
        parts: list[bytes] = []
        size = 0
        for piece in self._pieces:
            parts.append(piece)
            size += len(piece)
            if size < block_bytes:
                continue
            text = kept + b"".join(parts)
            parts, size = [], 0
            end = text.rfind(b"\n") + 1
            kept = text[end:]
            if len(kept) > LINE_LIMIT:
                raise Truncated(
                    where=f"{self.path} line {line}",
                    expected=f"lines of at most {LINE_LIMIT >> 20} MiB",
                    got=f"{len(kept)} bytes without a newline",
                    repair="Check the file's line ends.",
                    code="LINE_TOO_LONG",
                )
            if end:
                yield LineBlock(text[:end], line, offset)
                line += text.count(b"\n", 0, end)
                offset += end
        text = kept + b"".join(parts)
        if text:
            yield LineBlock(text, line, offset)
        self._file.check_unchanged()

    def progress(self) -> tuple[int, int]:
        """(bytes of the file read, its size)."""
        return self._file.progress()


@contextmanager
def open_text(path: str) -> Iterator[TextFile]:
    """A plain, gzip or BGZF text. Raises NotFound, NotAVcf (another kind of archive, no bytes)."""
    file = SourceFile(path, hash_bytes=False)
    try:
        first = file.read()
        if not first:
            raise NotAVcf(
                where=path, expected="a text file", got="0 bytes", repair="Write it again.", code="EMPTY_FILE"
            )
        yield TextFile(path, file, inflated(file, first, compression_of(path, first)))
    finally:
        file.close()


def fasta_contigs(path: str, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Names of the sequences of a FASTA, in its order. Raises what open_text raises, NotAVcf for no FASTA."""
    names: list[str] = []
    with open_text(path) as text:
        for block in text.blocks():
            if block.first_line == 1 and not block.text.startswith(b">"):
                raise NotAVcf(
                    where=path,
                    expected="a FASTA, which begins with `>`",
                    got=repr(block.text[:40].decode("utf-8", "backslashreplace")),
                    repair="Give --fasta the reference's sequence.",
                    code="NOT_A_FASTA",
                )
            at = 0 if block.text.startswith(b">") else block.text.find(b"\n>") + 1
            while at or block.text[:1] == b">":
                end = block.text.find(b"\n", at)
                word = block.text[at + 1 : end if end >= 0 else None].split(None, 1)
                names.append(word[0].decode("utf-8", "backslashreplace") if word else "")
                at = block.text.find(b"\n>", at) + 1
                if not at:
                    break
            if progress is not None:
                progress(*text.progress())
    return names
