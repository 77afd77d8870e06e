"""A block of whole lines through the files of this folder → ParsedBatch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl

from vcf_pipeline.domain.tables.schemas import CONSEQUENCES, VARIANTS_TAIL
from vcf_pipeline.domain.vcf.alleles import AlleleRows, allele_rows, core_columns
from vcf_pipeline.domain.vcf.arrow_columns import Block, texts
from vcf_pipeline.domain.vcf.assembly import Assembly, has_old_chrm
from vcf_pipeline.domain.vcf.consequences import consequence_fields, parse_consequences
from vcf_pipeline.domain.vcf.defects import DefectLog, refuse
from vcf_pipeline.domain.vcf.genotypes import GenotypesParsed, parse_genotypes
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.info import CORE_KEYS, InfoBlock, InfoReader, info_raw
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.domain.vcf.records import FORMAT, Records, note_rejects, read_records, rejects, set_aside


@dataclass
class ParsedBatch:
    """A block parsed. record_no runs on from batch to batch; `n_records` counts data lines, rejected ones
    too.

    Frames have the columns of tables/schemas.py, without row_id. `genotypes` is None for a file without
    samples; the others may be empty. `defect_counts`: occurrences by defect code, of values made null and of
    rejects alike.
    """

    first_record_no: int
    n_records: int
    variants: pl.DataFrame
    genotypes: pl.DataFrame | None
    consequences: pl.DataFrame
    rejects: pl.DataFrame
    defect_counts: dict[str, int] = field(default_factory=dict)

    def own_frames(self) -> dict[str, pl.DataFrame]:
        """The tables by name, for another thread: the same columns in frames of their own.

        A frame is behind a lock of polars', for which a thread waits without giving up the interpreter's: two threads
        that ask one frame for its Arrow form and its dtypes wait for each other for good (one of thirty
        publications did).
        """
        named = {
            "variants": self.variants,
            "genotypes": self.genotypes,
            "consequences": self.consequences,
            "rejects": self.rejects,
        }
        return {name: rows.clone() for name, rows in named.items() if rows is not None}


class BatchSource(Protocol):
    """Where ParsedBatches come from: a file (adapters/vcf_files/reader.py) or a stream
    (stages/receive.py).
    """

    @property
    def header(self) -> Header: ...
    @property
    def assembly(self) -> Assembly: ...
    @property
    def settings(self) -> ReaderSettings: ...
    @property
    def engine(self) -> str:
        """Which engine reads: "own" or "cyvcf2"; "stream" where chunks are received."""
        ...

    @property
    def source(self) -> dict[str, Any]:
        """For the manifest: {"uri", "sha256", "size_bytes"} or {"segments": […]}."""
        ...

    def batches(self) -> Iterator[ParsedBatch]:
        """In record order, once. Raises InputRefused, StreamBroken or a TransientError; TooManyRejects at the
        end.
        """
        ...

    def progress(self) -> tuple[int, int]:
        """(bytes or chunks done, of how many); 0 of 0 when nobody knows."""
        ...


class BlockParser:
    """Blocks of whole lines of one file, in order, → ParsedBatches. It remembers the undeclared keys it has
    met.
    """

    def __init__(self, header: Header, settings: ReaderSettings) -> None:
        self._header, self._settings = header, settings
        self._info = InfoReader(header, settings.info)
        self._old_chrm = has_old_chrm(header)
        self._consequence_fields = consequence_fields(header)
        self._contigs = frozenset(contig.id for contig in header.contigs)
        self._filters = frozenset(header.filters) | {"PASS", "0", "."}

    def parse(self, block: bytes, first_record_no: int, first_line: int, byte_offset: int) -> ParsedBatch:
        """block: whole lines of less than 2 GiB, the last with or without its newline. first_line: 1-based.

        Raises DefectFound in strict mode, for the first line with more than a warning.
        """
        text = Block(block)
        records, n_blank = read_records(text, self._header)
        called = self._genotypes(records, first_record_no)
        log = DefectLog(np.zeros(records.reason.size, np.bool_))
        note_rejects(records, self._header, log)
        rows = allele_rows(records)
        info = self._info.tokenise(records, log)
        columns = core_columns(
            *(records, rows, info.tokens(CORE_KEYS), first_record_no),
            old_chrm=self._old_chrm,
            log=log,
        )
        self._note_undeclared(columns, rows, log)
        columns += info.columns(records, rows, log)
        columns.append(info_raw(records, rows, log))
        consequences = self._consequences(records, rows, info, columns)
        self._note_calls(called, records, log)
        if n_blank:
            log.counts["BLANK_LINE"] = n_blank
        if self._settings.mode == "strict" and log.first is not None:
            raise refuse(log.first, first_line + int(records.line[log.first.record]))
        columns += called.summary_frame().get_columns() if called else []
        return ParsedBatch(
            first_record_no=first_record_no,
            n_records=records.reason.size,
            variants=_with_missing(columns, rows.record.size),
            genotypes=called.frame if called else None,
            consequences=consequences,
            rejects=rejects(records, self._header, first_record_no, first_line, byte_offset),
            defect_counts=log.counts,
        )

    def _genotypes(self, records: Records, first_record_no: int) -> GenotypesParsed | None:
        """The samples of the records that are kept; sets those aside that have too few or too many of
        them.
        """
        if not self._header.samples:
            return None
        while True:
            kept = np.flatnonzero(records.reason == 0)
            off, length = records.off[FORMAT][kept], records.length[FORMAT][kept]
            called = parse_genotypes(
                records.block.array,
                (off + length + 1).astype(np.int64),
                records.end[kept].astype(np.int64),
                off.astype(np.int64),
                length,
                records.n_alts[kept],
                kept + first_record_no,
                self._header,
                self._settings,
            )
            if not called.wrong_columns.any():
                return called
            set_aside(records, kept[called.wrong_columns])

    def _consequences(
        self, records: Records, rows: AlleleRows, info: InfoBlock, columns: list[pl.Series]
    ) -> pl.DataFrame:
        """The CONSEQUENCES frame; appends the worst of each allele to the columns."""
        found = info.tokens(tuple(field.key for field in self._consequence_fields))
        if not found:
            return pl.DataFrame(schema=CONSEQUENCES)
        texts_by_key = {
            key: texts(key, records.block, rows.take(token.off), rows.take(token.length))
            for key, token in found.items()
        }
        by_name = {column.name: column for column in columns}
        alleles = pl.DataFrame([by_name[name] for name in ("record_no", "alt_index", "pos", "ref", "alt")])
        alleles = alleles.with_columns(n_alts=pl.Series(rows.n_alts))
        table, worst = parse_consequences(alleles, texts_by_key, self._consequence_fields)
        columns += worst.get_columns()
        return table

    def _note_calls(self, called: GenotypesParsed | None, records: Records, log: DefectLog) -> None:
        if called is None or not called.defects:
            return
        for code, count in called.defect_counts.items():
            log.counts[code] = log.counts.get(code, 0) + count
        kept = np.flatnonzero(records.reason == 0)
        for record, key, code, text in called.defects:
            log.consider(int(kept[record]), code, f"FORMAT/{key}" if key != "FORMAT" else key, text)

    def _note_undeclared(self, columns: list[pl.Series], rows: AlleleRows, log: DefectLog) -> None:
        """Contigs and filters that the header does not declare, where it declares any."""
        by_name = {column.name: column for column in columns}
        if self._contigs:
            unknown = [name for name in by_name["contig"].unique() if name not in self._contigs]
            if unknown:
                lines = rows.record[by_name["contig"].is_in(unknown).to_numpy()]
                log.note("CONTIG_UNDECLARED", "CHROM", lines, str)
        if len(self._filters) > 3:
            filters = by_name["filter"].explode()
            unknown = [name for name in filters.unique() if name is not None and name not in self._filters]
            if unknown:
                hits = by_name["filter"].list.eval(pl.element().is_in(unknown)).list.any().fill_null(False)
                log.note("FILTER_UNDECLARED", "FILTER", rows.record[hits.to_numpy()], str)


def _with_missing(columns: list[pl.Series], n: int) -> pl.DataFrame:
    """The columns in the order of tables/schemas.py, those that the file cannot fill as nulls."""
    tail = {column.name: column for column in columns if column.name in VARIANTS_TAIL}
    ordered = [column for column in columns if column.name not in tail]
    for name, dtype in VARIANTS_TAIL.items():
        ordered.append(tail[name] if name in tail else pl.Series(name, [None], dtype=dtype).new_from_index(0, n))
    return pl.DataFrame(ordered)
