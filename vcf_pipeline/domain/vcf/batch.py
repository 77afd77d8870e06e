"""A block of whole lines through the files of this folder → ParsedBatch, and the settings that steer it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import polars as pl

from vcf_pipeline.domain.vcf.assembly import Assembly
from vcf_pipeline.domain.vcf.header import Header

Mode = Literal["quarantine", "strict"]
Engine = Literal["auto", "own", "cyvcf2"]


@dataclass(frozen=True)
class ReaderSettings:
    """How a file is read. What changes the tables is in `fingerprint()`; engine and block size do not.

    info, formats: the keys wanted, None for all. max_reject_share: 0–1. block_bytes: of inflated text.
    """

    mode: Mode = "quarantine"
    engine: Engine = "auto"
    info: tuple[str, ...] | None = None
    formats: tuple[str, ...] | None = None
    max_reject_share: float = 0.01
    assembly: str | None = None
    block_bytes: int = 4 << 20

    def as_record(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_record` reads it back."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> ReaderSettings:
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        for name in ("info", "formats"):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        return cls(**known)

    def fingerprint(self) -> str:
        """16 hex digits over what changes the tables."""
        record = {key: value for key, value in self.as_record().items() if key not in ("engine", "block_bytes")}
        return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass
class ParsedBatch:
    """A block parsed. record_no runs on from batch to batch; `n_records` counts data lines, rejected ones too.

    Frames have the columns of tables/schemas.py, without row_id. `genotypes` is None for a file without samples;
    the others may be empty. `defect_counts`: occurrences by defect code, of values made null and of rejects alike.
    """

    first_record_no: int
    n_records: int
    variants: pl.DataFrame
    genotypes: pl.DataFrame | None
    consequences: pl.DataFrame
    rejects: pl.DataFrame
    defect_counts: dict[str, int] = field(default_factory=dict)


class BatchSource(Protocol):
    """Where ParsedBatches come from: a file (adapters/vcf_files/reader.py) or a stream (stages/receive.py)."""

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
        """In record order, once. Raises InputRefused, StreamBroken or a TransientError; TooManyRejects at the end."""
        ...

    def progress(self) -> tuple[int, int]:
        """(bytes or chunks done, of how many); 0 of 0 when nobody knows."""
        ...
