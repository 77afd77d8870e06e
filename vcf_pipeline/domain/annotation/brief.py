"""A triaged allele → the few typed facts that may leave the house. Everything else stays.

A brief speaks of a variant and of what the world says about it, never of this callset: no sample, genotype, call
quality, file or tenant is in it, so that one answer serves every callset of the tenant. VCF text is hostile: a value
enters as a number, as a word of a closed list, or as text of a checked shape and length, else not at all.
Not here: how it is worded as a question (prompts.py); which alleles are explained (stages/annotate.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

NO_CLAIM = "no_claim"
"""The label of an allele of which nobody claims anything: unknown, never benign."""


@dataclass(frozen=True, order=True)
class Fact:
    """key: what an answer cites, unique in the brief, as in "clinvar:CLNSIG". value: canonical text."""

    key: str
    value: str


@dataclass(frozen=True)
class Brief:
    """assembly: "GRCh37", …, "" where unknown. variant_key: trimmed, as in 17-43093464-C-T.

    label: the rules' significance, a word of claims.SIGNIFICANCES or NO_CLAIM; a model never changes it.
    reasons: codes of the rules that hold, without those that speak of the call. facts: sorted by key.
    """

    assembly: str
    variant_key: str
    label: str
    reasons: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def subject(self) -> str:
        """32 hex digits of all that is in it: the part of the cache's key that is not the model or the prompt."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=16).hexdigest()

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(fact.key for fact in self.facts)

    def to_json(self) -> str:
        """Canonical: the same brief, the same text."""
        record = {
            "assembly": self.assembly,
            "variant": self.variant_key,
            "significance": self.label,
            "reasons": list(self.reasons),
            "facts": {fact.key: fact.value for fact in self.facts},
        }
        return json.dumps(record, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
