"""The ## lines and #CHROM → Header: version, declared fields, contigs, samples."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    """text: verbatim, ends with the #CHROM line and its newline. n_lines: how many lines it has (record lines follow)."""

    text: str
    version: str
    info: dict[str, Field] = field(default_factory=dict)
    formats: dict[str, Field] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    contigs: tuple[Contig, ...] = ()
    samples: tuple[str, ...] = ()
    n_lines: int = 0
    warnings: tuple[str, ...] = ()
