"""Blocks of whole lines → a frame of their columns; the first line that is not as its format says is refused by number.

Also what comment lines tell of the assembly. Not here: what the columns of a format mean (gene_models.py, bed.py,
tsv.py), where blocks come from (adapters/vcf_files).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from vcf_pipeline.domain.errors import DefectFound
from vcf_pipeline.domain.vcf.assembly import Assembly, recognise_assembly
from vcf_pipeline.domain.vcf.header import Contig, Header

INTERVALS: dict[str, pl.DataType | type[pl.DataType]] = {
    "contig": pl.String,  # bare
    "start": pl.Int64,  # 1-based, inclusive
    "end": pl.Int64,  # 1-based, inclusive, at or after start
    "name": pl.String,  # never null
    "id": pl.String,
    "biotype": pl.String,
    "strand": pl.String,  # + or -
}
"""Columns of every source of intervals. Sorted by contig, start."""
MAX_POSITION = 2**40
_SHOWN = 80
_REGION = re.compile(r"^##sequence-region\s+(\S+)\s+1\s+(\d{1,12})\s*$", re.M)
_COMMENT_LIMIT = 2_000


def lines_of(text: bytes, first_line: int, where: str) -> pl.DataFrame:
    """line_no (1-based, of the file) and line of each line that is neither blank nor a comment.

    Raises DefectFound for bytes that are no UTF-8, and for NUL.
    """
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        line = first_line + text.count(b"\n", 0, error.start)
        raise defect(
            where, line, "line", "UTF-8 text", repr(text[error.start : error.start + 8]), "BAD_ENCODING"
        ) from None
    if "\0" in decoded:
        line = first_line + decoded.count("\n", 0, decoded.index("\0"))
        raise defect(where, line, "line", "text", "a NUL byte", "BAD_ENCODING")
    lines = pl.DataFrame({"line": [decoded]}).select(pl.col("line").str.split("\n").explode().str.strip_chars_end("\r"))
    numbered = lines.with_row_index("line_no", offset=first_line).with_columns(pl.col("line_no").cast(pl.Int64))
    return numbered.filter(pl.col("line").str.strip_chars() != "", ~pl.col("line").str.starts_with("#"))


def columns_of(lines: pl.DataFrame, names: Sequence[str], where: str, *, exactly: bool = True) -> pl.DataFrame:
    """line_no and the tab-separated columns of each line, String. exactly: no line may have more of them.

    Raises DefectFound for the first line with too few (or too many).
    """
    n_tabs = pl.col("line").str.count_matches("\t", literal=True)
    wrong = lines.filter((n_tabs != len(names) - 1) if exactly else (n_tabs < len(names) - 1)).head(1)
    if wrong.height:
        number, line = wrong.row(0)
        expected = f"{len(names)} columns, separated by tabs" + ("" if exactly else ", or more")
        raise defect(
            where, number, "line", expected, f"{line.count(chr(9)) + 1} in {shown(line)}", "WRONG_COLUMN_COUNT"
        )
    fields = pl.col("line").str.splitn("\t", len(names) + (not exactly)).struct
    return lines.select("line_no", *(fields.field(f"field_{at}").alias(name) for at, name in enumerate(names)))


def with_positions(frame: pl.DataFrame, where: str, *, lowest: int) -> pl.DataFrame:
    """start and end as Int64. Raises DefectFound for what is no whole number from `lowest`, and an end before start."""
    for name in ("start", "end"):
        number = frame[name].cast(pl.Int64, strict=False)
        is_number = frame[name].str.contains(r"^\d{1,13}$") & number.is_between(lowest, MAX_POSITION)
        if not is_number.fill_null(False).all():
            at = int((~is_number.fill_null(False)).arg_max() or 0)
            raise defect(
                where,
                frame["line_no"][at],
                name,
                f"a whole number from {lowest}",
                shown(frame[name][at]),
                "BAD_POSITION",
            )
        frame = frame.with_columns(number.alias(name))
    backwards = frame.filter(pl.col("end") < pl.col("start")).head(1)
    if backwards.height:
        got = f"{backwards['end'][0]} after a start of {backwards['start'][0]}"
        raise defect(where, backwards["line_no"][0], "end", "an end at or after the start", got, "END_BEFORE_START")
    return frame


def defect(where: str, line: int, column: str, expected: str, got: str, code: str, repair: str = "") -> DefectFound:
    return DefectFound(
        where=f"{where} line {line}, {column}",
        expected=expected,
        got=got,
        repair=repair or "Mend the line, or name the format with --kind.",
        code=code,
        line=line,
        column=column,
    )


def shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def assembly_of_comments(text: str, explicit: str | None) -> Assembly:
    """From the comment lines of a GFF3, GTF, BED or TSV: ##sequence-region lengths, else a name they mention."""
    comments = [line[:_COMMENT_LIMIT] for line in text.splitlines() if line.startswith(("#", "track", "browser"))]
    contigs = tuple(Contig(name, int(length)) for name, length in _REGION.findall(text))
    said = "\n".join(f"##assembly={line.lstrip('#')}" for line in comments if not line.startswith("##sequence-region"))
    return recognise_assembly(Header(text=said, version="", contigs=contigs), explicit)
