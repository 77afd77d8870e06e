"""A table of alleles, tab-separated with a header line → allele rows as a VCF would give them, and their fields.

Its alleles are read by the same rules as a VCF's: the lines are written as such ones and parsed.
Not here: what becomes of the fields (alleles.py), what a line is (lines.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from vcf_pipeline.domain.errors import BadSetting
from vcf_pipeline.domain.sources.lines import columns_of, lines_of, shown
from vcf_pipeline.domain.vcf.batch import BlockParser
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

_ALLELE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "contig": ("chrom", "chr", "contig", "chromosome"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference"),
    "alt": ("alt", "alternate"),
}
"""What the four columns of an allele may be called, in lower case; POS is 1-based, as in a VCF."""
_VCF_HEADER = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


class TsvReader:
    """Blocks of one table, in order, → alleles and their fields."""

    def __init__(self, header_line: str, fields: Sequence[str], where: str) -> None:
        """header_line: names of the columns, with or without `#`. Raises BadSetting where one is missing."""
        self.columns = [name.strip() for name in header_line.lstrip("#").rstrip("\r\n").split("\t")]
        self._where = where
        lower = [name.lower() for name in self.columns]
        places = {
            what: next((lower.index(name) for name in names if name in lower), None)
            for what, names in _ALLELE_COLUMNS.items()
        }
        missing = [what for what, at in places.items() if at is None]
        missing += [name for name in fields if name not in self.columns]
        if missing:
            raise BadSetting(
                where=f"{where}, its first line",
                expected="a header line with the columns chrom, pos, ref and alt, and those that --fields names",
                got=f"{shown(header_line)}, without {', '.join(missing)}",
                repair="Write the names of the columns into the first line, separated by tabs.",
                code="COLUMNS_MISSING",
            )
        # by number, since a table may call its columns anything
        self._names = [f"c{at}" for at in range(len(self.columns))]
        self._places = {what: f"c{at}" for what, at in places.items()}
        self._fields = {f"info_{name}": f"c{self.columns.index(name)}" for name in fields}
        self._parser = BlockParser(parse_header(_VCF_HEADER), ReaderSettings())
        self.n_lines = 0

    def alleles(self, text: bytes, first_line: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """(rows as of `variants`, record_no with an `info_` column of text per field, rejects as of that table).

        Raises DefectFound for a line with another number of columns than the first.
        """
        lines = columns_of(lines_of(text, first_line, self._where), self._names, self._where)
        place = self._places
        vcf = lines.select(
            pl.concat_str(
                *(pl.col(place["contig"]), pl.col(place["pos"]), pl.lit("."), pl.col(place["ref"])),
                *(pl.col(place["alt"]), pl.lit(".\t.\t.\n")),
                separator="\t",
            ).alias("line")
        )["line"]
        first = self.n_lines
        batch = self._parser.parse("".join(vcf).encode(), first, 1, 0) if lines.height else None
        self.n_lines += lines.height
        texts = lines.select(
            pl.Series("record_no", range(first, first + lines.height), dtype=pl.Int64),
            *(
                pl.col(column).str.strip_chars().replace(["", "."], [None, None]).alias(name)
                for name, column in self._fields.items()
            ),
        )
        if batch is None:
            empty = self._parser.parse(b"", first, 1, 0)
            return empty.variants, texts, empty.rejects
        # the number of the line in the table instead of the one in the lines made from it
        numbers = lines.select(record_no=pl.Series(range(first, first + lines.height), dtype=pl.Int64), line="line_no")
        rejects = batch.rejects.drop("line").join(numbers, on="record_no", how="left").select(batch.rejects.columns)
        return batch.variants, texts, rejects
