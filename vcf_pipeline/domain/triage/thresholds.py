"""The numbers that the triage table compares with. Settings; written into the manifest.

Not here: what is compared (rules.py). They import nothing heavy, so that settings do not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TriageThresholds:
    """decisive_stars: of ClinVar, 0–4. Frequencies are 0–1. min_an: alleles counted. min_qual: Phred."""

    decisive_stars: int = 2
    common_af: float = 0.05
    rare_af: float = 1e-4
    missense_af: float = 1e-3
    min_an: int = 2000
    min_qual: float = 20.0

    def as_record(self) -> dict[str, Any]:
        """A JSON-ready dict, for the manifest."""
        return asdict(self)

    def fingerprint(self) -> str:
        """16 hex digits: other thresholds make a triage stale."""
        return hashlib.blake2b(json.dumps(self.as_record(), sort_keys=True).encode(), digest_size=8).hexdigest()
