"""How a file is read: the settings that steer reader and parser. They import nothing heavy, so that settings do not.

Not here: what they do (batch.py, adapters/vcf_files/reader.py), where they come from (settings.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["quarantine", "strict"]
Engine = Literal["auto", "own", "cyvcf2"]


@dataclass(frozen=True)
class ReaderSettings:
    """How a file is read. What changes the tables is in `fingerprint()`; engine and block size do not.

    mode: "strict" refuses a file at the first defect of a record that is more than a warning. What is odd in a header
    and can be read all the same is a warning in either mode, kept in the manifest.
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
