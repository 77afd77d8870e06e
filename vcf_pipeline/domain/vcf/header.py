"""The ## lines and #CHROM → Header: version, declared fields, contigs, samples."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vcf_pipeline.domain.errors import NotAVcf

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
KNOWN_VERSIONS = ("VCFv4.0", "VCFv4.1", "VCFv4.2", "VCFv4.3", "VCFv4.4", "VCFv4.5")
TYPES = ("Integer", "Float", "Flag", "Character", "String")
_NUMBER = re.compile(r"\d+|[ARGPM.]|L[ARG]")


@dataclass(frozen=True)
class Field:
    """A declared INFO or FORMAT key. number: an integer as text, or A, R, G, ., LA, LR, LG, P, M, …;

    type: Integer, Float, Flag, Character, String.
    """

    key: str
    number: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class Contig:
    id: str
    length: int | None = None
    assembly: str | None = None


@dataclass(frozen=True)
class Header:
    """text: verbatim, ends with the #CHROM line and its newline. n_lines: how many lines it has (record lines
    follow).

    filters: ID → Description. warnings: sentences, for people.
    """

    text: str
    version: str
    info: dict[str, Field] = field(default_factory=dict)
    formats: dict[str, Field] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    contigs: tuple[Contig, ...] = ()
    samples: tuple[str, ...] = ()
    n_lines: int = 0
    warnings: tuple[str, ...] = ()


def parse_header(text: str) -> Header:
    """The header's text, from the first line to the #CHROM line → Header.

    Of a key that is declared twice the first declaration holds; an unknown Type is read as String, an unknown
    Number as `.`: each with a warning. Raises NotAVcf: no #CHROM line, one that names other columns, a sample
    named twice or not at all. Rule: specification 1.4, 1.5; structured lines as in 4.3, which 4.0–4.2 files
    obey too.
    """
    found = _Declarations()
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    for number, raw in enumerate(lines, start=1):
        line = raw.removesuffix("\r")
        if line.startswith("##"):
            found.read(line, number)
        elif line.startswith("#CHROM"):
            samples = _samples(line, number, found.warnings)
            break
        elif line.strip():
            raise NotAVcf(
                where=f"line {number}",
                expected="## lines, then the #CHROM line",
                got=repr(line[:60]),
                repair="Give the file its header back.",
            )
        else:
            found.warnings.append(f"line {number}: a blank line in the header")
    else:
        raise NotAVcf(
            where="header",
            expected="a #CHROM line",
            got="none",
            repair="Give the file its header line back.",
        )
    if not found.version:
        found.warnings.append("the header names no ##fileformat; read as VCF 4")
    elif found.version not in KNOWN_VERSIONS:
        found.warnings.append(f"unknown version {found.version[:40]!r}; read as VCF 4.5")
    return Header(
        text=text,
        version=found.version,
        info=found.info,
        formats=found.formats,
        filters=found.filters,
        contigs=tuple(found.contigs.values()),
        samples=samples,
        n_lines=len(lines),
        warnings=tuple(found.warnings),
    )


@dataclass
class _Declarations:
    """What the ## lines read so far declare."""

    version: str = ""
    info: dict[str, Field] = field(default_factory=dict)
    formats: dict[str, Field] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    contigs: dict[str, Contig] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def read(self, line: str, number: int) -> None:
        key, _, value = line[2:].partition("=")
        if key == "fileformat":
            self.version = self.version or value.strip()
        elif key in ("INFO", "FORMAT"):
            _declare(self.info if key == "INFO" else self.formats, key, value, number, self.warnings)
        elif key in ("FILTER", "contig"):
            entry = parse_structured(value)
            name = entry.get("ID", "")
            if not name:
                self.warnings.append(f"line {number}: a ##{key} line without ID is passed over")
            elif key == "FILTER":
                self.filters.setdefault(name, entry.get("Description", ""))
            else:
                length = entry.get("length", "")
                # isdecimal() is true of digits of other scripts too, which int() reads as well
                size = int(length) if length.isdecimal() and len(length) < 19 else None
                self.contigs.setdefault(name, Contig(name, size, entry.get("assembly")))


def parse_structured(value: str) -> dict[str, str]:
    """`<ID=DP,Number=1,Description="a \\"b\\", c">` → its pairs, quotes removed, escapes resolved. Never
    raises.

    Older writers leave quotes unescaped inside a description: a quote ends the value only before `,KEY=` or
    the end.
    """
    body = value.strip()
    if not body.startswith("<"):
        return {}
    body = body[1:].removesuffix(">")
    found: dict[str, str] = {}
    at = 0
    while at < len(body):
        equals = body.find("=", at)
        if equals < 0:
            break
        key = body[at:equals].strip()
        at = equals + 1
        if at < len(body) and body[at] == '"':
            end = _closing_quote(body, at + 1)
            text = re.sub(r'\\(["\\])', r"\1", body[at + 1 : end])
            comma = body.find(",", end)
        elif at < len(body) and body[at] == "[":
            end = body.find("]", at)
            end = len(body) if end < 0 else end + 1
            text = body[at:end]
            comma = body.find(",", end)
        else:
            comma = body.find(",", at)
            text = body[at : comma if comma >= 0 else len(body)].strip()
        found.setdefault(key, text)
        at = comma + 1 if comma >= 0 else len(body)
    return found


_AFTER_VALUE = re.compile(r"\s*(,\s*[A-Za-z_][\w.]*=|$)")


def _closing_quote(body: str, at: int) -> int:
    """Where the quoted value that begins at `at` ends."""
    last = -1
    while at < len(body):
        if body[at] == "\\":
            at += 2
            continue
        if body[at] == '"':
            last = at
            if _AFTER_VALUE.match(body, at + 1):
                return at
        at += 1
    return last if last >= 0 else len(body)


def _declare(fields: dict[str, Field], kind: str, value: str, number: int, warnings: list[str]) -> None:
    entry = parse_structured(value)
    key = entry.get("ID", "")
    if not key:
        warnings.append(f"line {number}: a ##{kind} line without ID is passed over")
        return
    if key in fields:
        warnings.append(f"line {number}: {kind} {key} is declared again; the first declaration holds")
        return
    count, type_ = entry.get("Number", "."), entry.get("Type", "String")
    if not _NUMBER.fullmatch(count):
        warnings.append(f"line {number}: {kind} {key} has the unknown Number {count[:20]!r}; read as `.`")
        count = "."
    if type_ not in TYPES:
        warnings.append(f"line {number}: {kind} {key} has the unknown Type {type_[:20]!r}; read as String")
        type_ = "String"
    fields[key] = Field(key, count, type_, entry.get("Description", ""))


def _samples(line: str, number: int, warnings: list[str]) -> tuple[str, ...]:
    names = line.rstrip(" ").split("\t")
    if names[-1] == "":
        warnings.append(f"line {number}: the #CHROM line ends with a tab")
        while names[-1] == "":
            names.pop()
    if tuple(names[:8]) != COLUMNS or (len(names) > 8 and names[8] != "FORMAT"):
        raise NotAVcf(
            where=f"line {number}",
            expected="#CHROM POS ID REF ALT QUAL FILTER INFO, then FORMAT and samples, tabs between them",
            got=repr(line[:60]),
            repair="Mend the #CHROM line.",
        )
    samples = names[9:]
    if "" in samples:
        raise NotAVcf(
            where=f"line {number}",
            expected="a name for every sample",
            got="an empty one",
            repair="Name the samples.",
        )
    seen: set[str] = set()
    for name in samples:
        if name in seen:
            raise NotAVcf(
                where=f"line {number}",
                expected="sample names that differ",
                got=f"{name[:60]!r} twice",
                repair="Rename one of them, for instance with `bcftools reheader -s`.",
                code="DUPLICATE_SAMPLE",
            )
        seen.add(name)
    return tuple(samples)
