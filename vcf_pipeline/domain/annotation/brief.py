"""A triaged allele → the few typed facts that may leave the house. Everything else stays.

A brief speaks of a variant and of what the world says about it, never of this callset: no sample, genotype, call
quality, file or tenant is in it, so that one answer serves every callset of the tenant. VCF text is hostile: a value
enters as a number, as a word of a closed list, or as text of a checked shape and length, else not at all.
Here: which facts there are (ALLOWED), and how they are read from tables. Not here: the shapes (shapes.py); how it is
worded as a question (prompts.py); which alleles are explained (stages/annotate.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from vcf_pipeline.domain.annotation import shapes
from vcf_pipeline.domain.triage.claims import SIGNIFICANCES, stars_of
from vcf_pipeline.domain.triage.evidence import FREQUENCY_KEYS, OWN_FREQUENCY
from vcf_pipeline.domain.triage.heard_claims import ANNOTATED_CLAIM, CLAIM_KEYS
from vcf_pipeline.domain.triage.rules import RULES

NO_CLAIM = "no_claim"
"""The label of an allele of which nobody claims anything: unknown, never benign."""
MAX_CONDITIONS = 8
MAX_FREQUENCIES = 8
ASSEMBLIES = ("GRCh37", "GRCh38", "T2T-CHM13")
SOURCE_WORDS = ("clinvar", "gnomad", "dbsnp", "genes", "cohort", "custom", "other")
"""What may be said of where a registered source's fact is from: its preset. Its name is the lab's own."""

ALLOWED: dict[str, str] = {
    "assembly": f"one of {', '.join(ASSEMBLIES)}",
    "variant": "contig of the human assemblies, position, alleles of A, C, G, T, N up to 50 bases (longer ones as "
    "length and digest), or a structural variant's type of a closed list; up to 150 characters",
    "significance": f"one of {', '.join(SIGNIFICANCES)}, {NO_CLAIM}",
    "reasons": "codes of the triage table, without those about the quality of the call",
    "gene": "a gene symbol or Ensembl gene id, up to 30 characters",
    "consequence": "a term of Sequence Ontology that is known here",
    "impact": "HIGH, MODERATE, LOW or MODIFIER",
    "hgvs_c": "HGVS of the transcript, by its grammar, up to 150 characters",
    "hgvs_p": "HGVS of the protein, by its grammar, up to 150 characters",
    "clinvar:significance": f"one of {', '.join(SIGNIFICANCES)}",
    "clinvar:stars": "0 to 4",
    "clinvar:review": "one of ClinVar's review statuses",
    "annotation:significance": f"one of {', '.join(SIGNIFICANCES)}: the word of the file's annotation on the place, "
    "where nobody else claims anything",
    "condition:N": f"up to {MAX_CONDITIONS} names of conditions: letters, digits and plain punctuation, "
    f"up to {shapes.MAX_CONDITION} characters each",
    "frequency:KEY": f"up to {MAX_FREQUENCIES} frequencies, 0 to 1; KEY is a known INFO key, `annotation`, or the "
    f"preset of a registered source ({', '.join(SOURCE_WORDS)})",
}
"""The allow-list, for people to read; docs/annotations.md holds it too, and a test both equal."""

VARIANT_COLUMNS = ("variant_key", "hgvs_c", "hgvs_p")
TRIAGED_COLUMNS = ("reasons", "significance", "stars", "conditions", "gene", "consequence", "impact", "evidence")
"""What `briefs` reads of the tables `variants` and `triaged`; `population_af` is in the evidence."""
_REASONS = frozenset(rule.code for rule in RULES)
_FREQUENCIES = frozenset({*FREQUENCY_KEYS, OWN_FREQUENCY})
_LABELS = frozenset(SIGNIFICANCES)
_CLAIM_KEYS = frozenset(keys.significance for keys in CLAIM_KEYS)


@dataclass(frozen=True, order=True)
class Fact:
    """key: what an answer cites, unique in the brief, as in "clinvar:stars". value: canonical text."""

    key: str
    value: str


@dataclass(frozen=True)
class Brief:
    """assembly: "GRCh37", …, "" where unknown. variant_key: trimmed, as in 17-43093464-C-T; "" where it has no shape
    that may leave.

    label: the rules' significance, a word of claims.SIGNIFICANCES or NO_CLAIM; a model never changes it. Its fact is
    "clinvar:significance", or "annotation:significance"; there is no "clinvar:stars" where no review status is told.
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

    def value(self, key: str) -> str | None:
        """The fact's value, None where there is no such fact."""
        return next((fact.value for fact in self.facts if fact.key == key), None)

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


def briefs(
    rows: pl.DataFrame, assembly: str | None, presets: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Brief]]:
    """The brief of each row, with the row's place in the frame, in its order.

    rows: VARIANT_COLUMNS of `variants` beside TRIAGED_COLUMNS of `triaged`, one row per allele to explain; a column
    that is absent is read as null. assembly: as recognised. presets: a registered source's name → its preset, a word
    of SOURCE_WORDS. Raises nothing: what has no shape that may leave stays.
    """
    columns = {name: rows[name].to_list() for name in (*VARIANT_COLUMNS, *TRIAGED_COLUMNS) if name in rows.columns}
    for at in range(rows.height):
        yield at, brief_of({name: values[at] for name, values in columns.items()}, assembly, presets)


def brief_of(row: Mapping[str, Any], assembly: str | None, presets: Mapping[str, str] | None = None) -> Brief:
    """Of one allele: the names of VARIANT_COLUMNS and TRIAGED_COLUMNS → values as in the tables."""
    claimed = row.get("significance")
    label = claimed if claimed in _LABELS else NO_CLAIM
    evidence = row.get("evidence") or []
    facts = {
        "gene": shapes.gene(row.get("gene")),
        "consequence": shapes.consequence(row.get("consequence")),
        "impact": shapes.impact(row.get("impact")),
        "hgvs_c": shapes.hgvs_c(row.get("hgvs_c")),
        "hgvs_p": shapes.hgvs_p(row.get("hgvs_p")),
        **(_claim_facts(row, label, evidence, presets or {}) if label != NO_CLAIM else {}),
        **_frequency_facts(evidence, presets or {}),
    }
    return Brief(
        assembly=assembly if assembly in ASSEMBLIES else "",
        variant_key=shapes.variant_key(row.get("variant_key")) or "",
        label=label,
        reasons=tuple(code for code in row.get("reasons") or () if code in _REASONS),
        facts=tuple(sorted(Fact(key, value) for key, value in facts.items() if value is not None)),
    )


def _claim_facts(
    row: Mapping[str, Any],
    label: str,
    evidence: Sequence[Mapping[str, str | None]],
    presets: Mapping[str, str],
) -> dict[str, str | None]:
    stars = row.get("stars")
    said = [entry["value"] for entry in evidence if entry.get("key") == "review_status"]
    # several may claim something: the status is of the one whose stars were taken
    review = next((status for status in said if label == "conflicting" or stars_of(status) == stars), None)
    origin = "annotation" if _is_of_annotation(evidence, presets) else "clinvar"
    return {
        f"{origin}:significance": label,
        "clinvar:stars": str(stars) if stars in range(5) else None,
        "clinvar:review": shapes.review(review),
        **{f"condition:{number}": name for number, name in enumerate(_conditions(row.get("conditions") or ()), 1)},
    }


def _is_of_annotation(evidence: Sequence[Mapping[str, str | None]], presets: Mapping[str, str]) -> bool:
    """Whether the claim is the annotation's alone: VEP's CLIN_SIG may be of another allele at the place."""
    said = {(entry.get("key"), entry.get("source") or "") for entry in evidence}
    others = any(key in _CLAIM_KEYS and presets.get(source, "clinvar") == "clinvar" for key, source in said)
    return (ANNOTATED_CLAIM, "annotation") in said and not others


def _conditions(names: Iterable[str | None]) -> list[str]:
    """Those of a shape that may leave, each once however it is spelled, the first MAX_CONDITIONS by alphabet."""
    named = sorted(name for name in map(shapes.condition, names) if name is not None)
    # capitals sort first: of one name in both spellings the one that is easier to read stays
    by_spelling = {name.lower(): name for name in named}
    return sorted(by_spelling.values(), key=str.lower)[:MAX_CONDITIONS]


def _frequency_facts(evidence: Sequence[Mapping[str, str | None]], presets: Mapping[str, str]) -> dict[str, str | None]:
    """By key; of several statements under one key the largest. The largest MAX_FREQUENCIES of all."""
    found: dict[str, float] = {}
    for entry in evidence:
        frequency = shapes.frequency(entry.get("value"))
        if frequency is None or entry.get("key") not in _FREQUENCIES:
            continue
        key = f"frequency:{_origin(entry, presets)}"
        found[key] = max(frequency, found.get(key, 0.0))
    largest = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_FREQUENCIES]
    return {key: shapes.number_text(frequency) for key, frequency in largest}


def _origin(entry: Mapping[str, str | None], presets: Mapping[str, str]) -> str:
    source = entry.get("source") or ""
    if source == "INFO":
        return entry["key"] or ""
    if source == "annotation":
        return "annotation"
    word = presets.get(source, "other")
    return word if word in SOURCE_WORDS else "other"
