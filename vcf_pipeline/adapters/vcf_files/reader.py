"""A path → Header and ParsedBatches; the engine is chosen by the file's content.

Not here: what the lines mean (domain/vcf/batch.py), where batches go (stages).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

from vcf_pipeline.adapters.vcf_files.bgzf import SourceFile, compression_of, inflated
from vcf_pipeline.adapters.vcf_files.htslib import HtslibSource, open_htslib
from vcf_pipeline.adapters.vcf_files.lines import BlockCutter, LineBlock, LineReader
from vcf_pipeline.domain.errors import DefectFound, NotAVcf, TooManyRejects, Truncated
from vcf_pipeline.domain.vcf.assembly import Assembly, recognise_assembly
from vcf_pipeline.domain.vcf.batch import BlockParser, ParsedBatch
from vcf_pipeline.domain.vcf.header import Header, parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

BCF_MAGIC = b"BCF\x02"
_CELLS_A_BLOCK = 8_000_000
"""Values a block may have at most: rows × (INFO keys + samples × FORMAT keys). It bounds memory for wide
files.
"""


class VcfReader:
    """A BatchSource over one file; made by open_reader."""

    def __init__(
        self,
        path: str,
        settings: ReaderSettings,
        header: Header,
        blocks: Iterator[LineBlock],
        file: SourceFile,
        *,
        engine: str,
        sha256: str | None,
        progress: Callable[[], tuple[int, int]],
    ) -> None:
        self.path, self.settings, self.header = path, settings, header
        self.assembly: Assembly = recognise_assembly(header, settings.assembly)
        self.vcf_version = header.version
        self.engine = engine
        self._blocks, self._file, self._sha256, self._progress = blocks, file, sha256, progress

    @property
    def source(self) -> dict[str, Any]:
        """uri, sha256 (None until every batch was read, unless it was given), size_bytes."""
        return {"uri": self.path, "sha256": self._sha256, "size_bytes": self._file.size_bytes}

    def progress(self) -> tuple[int, int]:
        """(bytes of the file read, its size)."""
        return self._progress()

    def batches(self) -> Iterator[ParsedBatch]:
        """In record order, once; a file without records gives none.

        Raises Truncated, Corrupt, DefectFound (strict), EngineStopped, ChangedWhileRead; TooManyRejects after
        the last batch, or before the first when that one is nothing but rejects.
        """
        parser = BlockParser(self.header, self.settings)
        records = rejected = 0
        by_code: Counter[str] = Counter()
        first = ""
        for block in self._blocks:
            _check_last_line(self.path, block, self.header)
            try:
                batch = parser.parse(block.text, records, block.first_line, block.byte_offset)
            except DefectFound as defect:
                raise _with_file(defect, self.path) from None
            by_code.update(dict(batch.rejects["code"].value_counts().iter_rows()))
            if not first and batch.rejects.height:
                first = "line {}, {}".format(*batch.rejects.select("line", "message").row(0))
            if records == 0 and batch.n_records and batch.rejects.height == batch.n_records:
                self._check_rejects(batch.n_records, batch.n_records, by_code, first)
            records += batch.n_records
            rejected += batch.rejects.height
            yield batch
        self._check_rejects(records, rejected, by_code, first)
        # htslib reads through a descriptor of its own; what it read is hashed and compared here
        while self._file.read():
            pass
        self._file.check_unchanged()
        self._sha256 = self._file.sha256() or self._sha256

    def _check_rejects(self, records: int, rejected: int, by_code: Counter[str], first: str) -> None:
        """first: where the first one is and what is wrong with it; refused, the file leaves no table to look it up."""
        if rejected <= records * self.settings.max_reject_share:
            return
        told = ", ".join(f"{code} × {count:,}" for code, count in by_code.most_common(3))
        raise TooManyRejects(
            where=self.path,
            expected=f"at most {self.settings.max_reject_share:.3%} of the records set aside",
            got=f"{rejected:,} of {records:,}: {told}",
            repair=f"The first: {first} Mend the file, or raise the share with --max-reject-share.",
            rejected=rejected,
            records=records,
            by_code=dict(by_code),
        )


@contextmanager
def open_reader(path: str, settings: ReaderSettings, *, sha256: str | None = None) -> Iterator[VcfReader]:
    """The file, opened once and read as it comes. sha256: of its bytes, when known; else computed while
    reading.

    Raises NotFound (missing, a directory), NotAVcf (no bytes, no #CHROM line, another kind of file),
    Truncated, Corrupt.
    """
    file = SourceFile(path, hash_bytes=sha256 is None)
    with ExitStack() as stack:
        stack.callback(file.close)
        first = file.read()
        if not first:
            raise NotAVcf(where=path, expected="a VCF or BCF file", got="0 bytes", repair="Write the file again.")
        pieces = inflated(file, first, compression_of(path, first))
        start = next(pieces, b"")
        is_bcf = start.startswith(BCF_MAGIC)
        if is_bcf and settings.engine == "own":
            raise NotAVcf(
                where=path,
                expected="VCF text, which the own engine reads",
                got="BCF",
                repair="Choose the engine `auto` or `cyvcf2`.",
            )
        # a text that is no VCF is refused before htslib sees it
        lines = None if is_bcf else LineReader(path, chain([start] if start else [], pieces))
        header = None if lines is None else _header(path, lines.header_text, lines.warnings)
        progress: Callable[[], tuple[int, int]]
        if header is None or lines is None or settings.engine == "cyvcf2":
            htslib = stack.enter_context(open_htslib(path, block_bytes=settings.block_bytes))
            header = header or _header(path, htslib.header_text, [])
            blocks, engine, progress = _htslib_blocks(htslib, header), "cyvcf2", htslib.progress
        else:
            blocks = lines.blocks(settings.block_bytes, _max_lines(header))
            engine, progress = "own", file.progress
        yield VcfReader(path, settings, header, blocks, file, engine=engine, sha256=sha256, progress=progress)


def _htslib_blocks(source: HtslibSource, header: Header) -> Iterator[LineBlock]:
    """htslib's text, cut as the own engine's is; lines are counted as in a VCF of that text."""
    cutter = BlockCutter(header.n_lines + 1, len(header.text.encode()), _max_lines(header))
    for text in source.blocks():
        yield from cutter.cut(text)


def _header(path: str, text: str, warnings: list[str]) -> Header:
    try:
        header = parse_header(text)
    except NotAVcf as error:
        raise NotAVcf(
            where=f"{path} {error.where}",
            expected=error.expected,
            got=error.got,
            repair=error.repair,
            code=error.code,
        ) from None
    return replace(header, warnings=(*warnings, *header.warnings))


def _check_last_line(path: str, block: LineBlock, header: Header) -> None:
    """Only a file's last line may lack its end. Short of columns too, it is what a broken copy or sender leaves: set
    aside as one bad record, it would hide all that should have followed.
    """
    if block.text.endswith(b"\n"):
        return
    last = block.text.rpartition(b"\n")[2]
    wanted = 9 + len(header.samples) if header.samples else 8
    columns = last.count(b"\t") + 1
    line = block.first_line + block.text.count(b"\n")
    if last.strip() and columns < wanted:
        raise Truncated(
            where=f"{path} line {line}",
            expected="a last line that is whole",
            got=f"{columns} of {wanted} columns, and no line end",
            repair="Copy or send it again from its source; if nothing is missing, mend that line.",
        )


def _max_lines(header: Header) -> int:
    wide = len(header.info) + len(header.samples) * max(len(header.formats), 1)
    return max(_CELLS_A_BLOCK // max(wide, 1), 16)


def _with_file(defect: DefectFound, path: str) -> DefectFound:
    return DefectFound(
        where=f"{path} {defect.where}",
        expected=defect.expected,
        got=defect.got,
        repair=defect.repair,
        code=defect.code,
        line=defect.line,
        column=defect.column,
    )
