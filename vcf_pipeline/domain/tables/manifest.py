"""What a manifest says of an asset's tables; whole or not, current or stale.

Not here: where manifests lie and who may replace them (adapters/tables.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.identity import PartitionKey

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Part:
    """A file of a table, or a text beside the tables. path: below the asset's folder. checksum: sha256 in hex.

    table: the table's name, "" for a text. rows: 0 for a text.
    """

    table: str
    path: str
    rows: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """The list that makes a table's parts true.

    source: {"uri", "sha256", "size_bytes"} or {"segments": […]}. records = kept + rejected; alleles: rows of
    `variants`. per_contig: allele rows by contig. defects: occurrences by code. schemas: table → column → dtype over
    all parts, as `dtype_text` of adapters/tables.py writes it. digest: of the tables (digest.py). inputs: what the
    tables were made from, name → digest or fingerprint. timings: seconds by step. created_at: ISO 8601, UTC.
    extra: what one asset alone has to say.
    """

    format_version: int
    asset: str
    tenant: str
    callset_id: str
    label: str
    correlation_id: str
    digest: str
    code_version: str
    created_at: str
    source: dict[str, Any] = field(default_factory=dict)
    vcf_version: str = ""
    assembly: str | None = None
    assembly_reason: str = ""
    normalisation: str = ""
    samples: list[str] = field(default_factory=list)
    records: int = 0
    alleles: int = 0
    rejected: int = 0
    per_contig: dict[str, int] = field(default_factory=dict)
    defects: dict[str, int] = field(default_factory=dict)
    schemas: dict[str, dict[str, str]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> PartitionKey:
        return PartitionKey(self.tenant, self.callset_id)

    def rows(self, table: str) -> int:
        return sum(part.rows for part in self.parts if part.table == table)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Unknown fields are passed over, so that a newer writer is understood. Raises StoreUnavailable."""
        try:
            record = json.loads(text)
            known = {item.name: record[item.name] for item in fields(cls) if item.name in record}
            known["parts"] = [Part(**{item.name: part[item.name] for item in fields(Part)}) for part in record["parts"]]
            return cls(**known)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreUnavailable(
                where="manifest",
                expected="a JSON object with the fields of a manifest",
                got=f"{type(error).__name__}: {error}"[:200],
                repair="Materialise the asset again with --force: its tables are written anew.",
                code="BROKEN_MANIFEST",
            ) from error


def stale_reasons(stored: Manifest | None, *, code_version: str, inputs: Mapping[str, str]) -> list[str]:
    """Why the stored tables cannot be used for these inputs, as stored against expected; empty means current."""
    if stored is None:
        return ["there is no manifest"]
    reasons = []
    if stored.format_version != FORMAT_VERSION:
        reasons.append(f"format_version: stored {stored.format_version}, expected {FORMAT_VERSION}")
    if stored.code_version != code_version:
        reasons.append(f"code_version: stored {stored.code_version!r}, expected {code_version!r}")
    for name in sorted({*stored.inputs, *inputs}):
        before, now = stored.inputs.get(name), inputs.get(name)
        if before != now:
            reasons.append(f"inputs.{name}: stored {before!r}, expected {now!r}")
    return reasons
