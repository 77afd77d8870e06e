"""Catalogue of what can be wrong in a VCF's lines: code, severity, what was expected, how to repair, where it
says so.

Not here: who notices a defect (the file of this folder that reads the thing), defects of whole files
(errors.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vcf_pipeline.domain.errors import DefectFound

Severity = Literal["record", "value", "warning"]
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Defect:
    """severity: "record" sets the record aside; "value" leaves a null, or a value as it was, beside the raw
    text;

    "warning" is only counted. section: of the VCF 4.3–4.5 specification.
    """

    code: str
    severity: Severity
    expected: str
    repair: str
    section: str


_TABLE: tuple[tuple[str, Severity, str, str, str], ...] = (
    (
        "COLUMN_COUNT",
        "record",
        "as many tab-separated columns as the #CHROM line names",
        "Mend the line",
        "1.6",
    ),
    ("TEXT_NOT_UTF8", "record", "UTF-8 text", "Convert the file to UTF-8", "1.2"),
    ("TEXT_HAS_NUL", "record", "text without NUL bytes", "Restore the line from its source", "1.2"),
    ("CONTIG_EMPTY", "record", "a contig's name", "Name the contig", "1.6.1"),
    ("POS_NOT_INTEGER", "record", "a whole number", "Mend the position", "1.6.1"),
    ("POS_NEGATIVE", "record", "a position of at least 0", "Mend the position", "1.6.1"),
    ("REF_NOT_BASES", "record", "bases A, C, G, T or N", "Mend REF", "1.6.1"),
    ("ALT_NOT_ALLELE", "record", "bases, *, <ID>, a breakend or a lone .", "Mend ALT", "1.6.1"),
    ("QUAL_NOT_NUMBER", "value", "a number or .", "Mend QUAL", "1.6.1"),
    ("INFO_NOT_INTEGER", "value", "a whole number", "Mend the value or the Type in the header", "1.6.1"),
    ("INFO_NOT_FLOAT", "value", "a number", "Mend the value or the Type in the header", "1.6.1"),
    (
        "INFO_WRONG_NUMBER",
        "value",
        "as many values as the header's Number",
        "Mend the values or the Number",
        "1.4.2",
    ),
    (
        "INFO_VALUE_MISSING",
        "value",
        "a value after =",
        "Write key=value, or a dot for a missing value",
        "1.6.1",
    ),
    ("INFO_FLAG_WITH_VALUE", "value", "a flag without a value", "Remove the value or mend the Type", "1.4.2"),
    ("INFO_KEY_REPEATED", "value", "each key once in a record", "Remove one of them", "1.6.1"),
    (
        "INFO_LIST_TOO_LONG",
        "value",
        "a list of at most a million values over all alleles",
        "Split the record",
        "1.4.2",
    ),
    (
        "INFO_KEY_UNREADABLE",
        "value",
        "a key that the header declares",
        "Declare the key in the header",
        "1.4.2",
    ),
    ("INFO_KEY_UNDECLARED", "warning", "keys that the header declares", "Add ##INFO lines", "1.4.2"),
    ("INFO_REAL_IN_INTEGER", "warning", "whole numbers", "Declare the key as Float", "1.4.2"),
    ("INFO_EMPTY_ENTRY", "warning", "single semicolons between entries", "Remove the empty entry", "1.6.1"),
    ("REF_AMBIGUOUS", "warning", "bases A, C, G, T or N", "Write a concrete base", "1.6.1"),
    ("END_BEFORE_POS", "warning", "END of at least POS", "Mend END", "1.6.1"),
    ("FILTER_UNDECLARED", "warning", "filters that the header declares", "Add ##FILTER lines", "1.4.3"),
    ("CONTIG_UNDECLARED", "warning", "contigs that the header declares", "Add ##contig lines", "1.4.7"),
    ("BLANK_LINE", "warning", "no blank lines", "Remove the line", "1.6"),
    ("FORMAT_NOT_INTEGER", "value", "a whole number", "Mend the value or the Type in the header", "1.6.2"),
    ("FORMAT_NOT_FLOAT", "value", "a number", "Mend the value or the Type in the header", "1.6.2"),
    (
        "FORMAT_WRONG_NUMBER",
        "value",
        "as many values as the header's Number",
        "Mend the values or Number",
        "1.4.4",
    ),
    ("FORMAT_TOO_MANY_VALUES", "value", "no more values than FORMAT has keys", "Remove the surplus", "1.6.2"),
    ("FORMAT_KEY_REPEATED", "value", "each key once in FORMAT", "Remove one of them", "1.6.2"),
    ("FORMAT_KEY_UNDECLARED", "warning", "keys that the header declares", "Add ##FORMAT lines", "1.4.4"),
    ("FORMAT_REAL_IN_INTEGER", "warning", "whole numbers", "Declare the key as Float", "1.4.4"),
    ("GT_MALFORMED", "value", "allele numbers with / or | between them", "Mend the genotype", "1.6.2"),
    ("GT_ALLELE_UNKNOWN", "value", "numbers of alleles that the record has", "Mend the genotype", "1.6.2"),
)
CATALOGUE: dict[str, Defect] = {row[0]: Defect(*row) for row in _TABLE}


def defect(code: str) -> Defect:
    """The catalogue's entry; an unlisted code counts as a bad value."""
    return CATALOGUE.get(code) or Defect(code, "value", "a value as the header declares it", "Mend the value", "1.6")


def shown(text: str) -> str:
    """A value as a message may show it: quoted and cut."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…").replace("'", '"')


def message(code: str, column: str, text: str) -> str:
    """`POS: expected a whole number, got "chr7"`."""
    return f"{column}: expected {defect(code).expected}, got {shown(text)}"


@dataclass
class First:
    """The earliest defect in a block that is more than a warning."""

    record: int
    code: str
    column: str
    text: str


@dataclass
class DefectLog:
    """What was wrong in one block: counts by code, records whose raw INFO text has to stay, the first one.

    counts: occurrences, one per record and column. raw: bool per line of the block.
    """

    raw: npt.NDArray[np.bool_]
    counts: dict[str, int] = field(default_factory=dict)
    first: First | None = None

    def note(self, code: str, column: str, lines: npt.NDArray[Any], text_of: Any, *, keep_raw: bool = False) -> None:
        """lines: numbers of the block's lines, repeats allowed. text_of(line) → the text that was met."""
        if lines.size == 0:
            return
        self.counts[code] = self.counts.get(code, 0) + int(np.unique(lines).size)
        if keep_raw:
            self.raw[lines] = True
        line = int(lines.min())
        if defect(code).severity != "warning" and (self.first is None or line < self.first.record):
            self.first = First(line, code, column, text_of(line))

    def consider(self, line: int, code: str, column: str, text: str) -> None:
        """A defect that is already counted may be the first one."""
        if defect(code).severity != "warning" and (self.first is None or line < self.first.record):
            self.first = First(line, code, column, text)


def refuse(first: First, line: int) -> DefectFound:
    """Strict mode's error; the reader puts the file's name before it."""
    known = defect(first.code)
    return DefectFound(
        where=f"line {line}, {first.column}",
        expected=known.expected,
        got=shown(first.text),
        repair=f"{known.repair}, or run in quarantine mode.",
        code=first.code,
        line=line,
        column=first.column,
    )
