"""What a person may ask of the searchable variants, read forgivingly, and the conditions it means.

Not here: how a store words a condition (adapters/stores); current loads and genotypes (stages/query.py).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vcf_pipeline.domain.errors import UsageError

Operator = Literal["=", "<=", ">=", "in", "<= or null", "in or null", "has"]
SIGNIFICANCES = (
    "pathogenic",
    "likely_pathogenic",
    "uncertain",
    "likely_benign",
    "benign",
    "conflicting",
    "other",
)
DEFAULT_LIMIT = 50
MAX_LIMIT = 1_000_000
_SHORT_SIGNIFICANCES = {
    "p": "pathogenic",
    "lp": "likely_pathogenic",
    "vus": "uncertain",
    "uncertain_significance": "uncertain",
    "lb": "likely_benign",
    "b": "benign",
}
_REGION = re.compile(r"(?P<contig>[^:\s]+)(?::(?P<first>\d+)(?:-(?P<last>\d+)?)?)?")
_MAX_TEXT = 200


@dataclass(frozen=True)
class Condition:
    """One comparison on a column of SEARCH_ROWS; `in` takes a tuple. Nothing in `value` is trusted.

    has: one of the column's texts, which are joined by `;`, is the value.
    """

    column: str
    operator: Operator
    value: str | int | float | tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """contig: bare. first, last: 1-based, inclusive; None where the region is open."""

    contig: str
    first: int | None = None
    last: int | None = None

    @classmethod
    def parse(cls, text: str) -> Region:
        """`17`, `chr17:43,093,464`, `17:43000000-43100000`, `17:43000000-`. Raises UsageError."""
        cleaned = text.strip().replace(",", "").replace(" ", "").replace("–", "-").replace("..", "-")
        match = _REGION.fullmatch(cleaned)
        if match is None or len(cleaned) > _MAX_TEXT:
            raise _bad_region(text)
        contig, first, last = match["contig"], match["first"], match["last"]
        if first is None:
            return cls(bare_contig_name(contig))
        is_open = "-" in cleaned[match.end("first") :] and last is None
        region = cls(
            bare_contig_name(contig),
            int(first),
            None if is_open else int(last if last is not None else first),
        )
        if max(region.first or 0, region.last or 0) >= 2**62 or (
            region.last is not None and region.first is not None and region.last < region.first
        ):
            raise _bad_region(text)
        return region

    def conditions(self) -> list[Condition]:
        """What overlaps the region: an allele spans pos to end."""
        found = [Condition("contig_bare", "=", self.contig)]
        if self.last is not None:
            found.append(Condition("pos", "<=", self.last))
        if self.first is not None:
            found.append(Condition("end", ">=", self.first))
        return found


@dataclass(frozen=True)
class VariantQuery:
    """Which variants are wanted; None means any.

    tier: numbers 1–4 and None for unknown. max_af: 0–1, of a population; an allele without one passes,
    since nobody has seen it. sample: a name, or tenant/callset_id/name. callset: a callset_id.
    """

    gene: str | None = None
    region: Region | None = None
    tier: tuple[int | None, ...] | None = None
    max_af: float | None = None
    significance: str | None = None
    sample: str | None = None
    callset: str | None = None
    limit: int = DEFAULT_LIMIT

    @classmethod
    def parse(
        cls,
        *,
        gene: str | None = None,
        region: str | None = None,
        tier: str | int | None = None,
        max_af: float | None = None,
        significance: str | None = None,
        sample: str | None = None,
        callset: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> VariantQuery:
        """Options as they were typed. Raises UsageError (BAD_REGION, BAD_TIER, BAD_FREQUENCY, …)."""
        if max_af is not None and not 0 <= max_af <= 1:
            raise UsageError(code="BAD_FREQUENCY", where="--max-af", expected="0 to 1", got=str(max_af))
        if not 1 <= limit <= MAX_LIMIT:
            raise UsageError(code="BAD_LIMIT", where="--limit", expected=f"1 to {MAX_LIMIT:,}", got=str(limit))
        return cls(
            gene=_text("--gene", gene),
            region=None if region is None else Region.parse(region),
            tier=None if tier is None else parse_tiers(str(tier)),
            max_af=max_af,
            significance=None if significance is None else parse_significance(significance),
            sample=_text("--sample", sample),
            callset=_text("--callset", callset),
            limit=limit,
        )

    def conditions(self) -> list[Condition]:
        """All must hold. Without `sample`, which lies in the genotypes, not in the search rows."""
        found = [] if self.callset is None else [Condition("callset_id", "=", self.callset)]
        if self.gene is not None:
            found.append(Condition("gene", "in", gene_spellings(self.gene)))
        if self.region is not None:
            found += self.region.conditions()
        if self.tier is not None:
            known = tuple(tier for tier in self.tier if tier is not None)
            found.append(Condition("tier", "in or null" if None in self.tier else "in", known))
        if self.max_af is not None:
            found.append(Condition("population_af", "<= or null", self.max_af))
        if self.significance is not None:
            found.append(Condition("significance", "=", self.significance))
        return found


def bare_contig_name(contig: str) -> str:
    """As projections/search_rows.py writes `contig_bare`."""
    bare = re.sub(r"^(?i:chr)", "", contig) or contig
    return "M" if bare.upper() in ("M", "MT") else bare.upper() if bare.upper() in ("X", "Y") else bare


def gene_spellings(gene: str) -> tuple[str, ...]:
    """As typed, in upper case, and as HGNC writes open reading frames (C9orf72)."""
    upper = gene.upper()
    orf = re.sub(r"^(C(?:\d+|X|Y))ORF(\d+)$", r"\1orf\2", upper)
    return tuple(dict.fromkeys([gene, upper, orf]))


def parse_tiers(text: str) -> tuple[int | None, ...]:
    """`1`, `1,2`, `1-3`, `unknown`. Raises UsageError (BAD_TIER)."""
    tiers: list[int | None] = []
    for word in text.lower().replace("–", "-").split(","):
        match = re.fullmatch(r"\s*(?:tier\s*)?([1-4])(?:-([1-4]))?\s*", word)
        if match:
            tiers += range(int(match[1]), int(match[2] or match[1]) + 1)
        elif word.strip() in ("unknown", "none", "null"):
            tiers.append(None)
        else:
            raise UsageError(
                code="BAD_TIER",
                where="--tier",
                expected="1 to 4 or unknown, as in 1,2 or 1-3",
                got=repr(text[:_MAX_TEXT]),
            )
    return tuple(dict.fromkeys(tiers))


def parse_significance(text: str) -> str:
    """A word of SIGNIFICANCES, its ClinVar spelling or short form. Raises UsageError (BAD_SIGNIFICANCE)."""
    word = re.sub(r"[\s_-]+", "_", text.strip().lower())
    word = _SHORT_SIGNIFICANCES.get(word, word)
    if word not in SIGNIFICANCES:
        near = near_misses(word, SIGNIFICANCES)
        raise UsageError(
            code="BAD_SIGNIFICANCE",
            where="--significance",
            expected="one of " + ", ".join(SIGNIFICANCES),
            got=repr(text[:_MAX_TEXT]),
            repair=f"Did you mean {near[0]}?" if near else "",
        )
    return word


def near_misses(wanted: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Up to n of `known` that look like `wanted`, whatever their case, best first."""
    by_folded = {name.casefold(): name for name in known}
    close: Sequence[str] = difflib.get_close_matches(wanted.casefold(), list(by_folded), n=n, cutoff=0.6)
    return [by_folded[name] for name in close]


def _text(option: str, value: str | None) -> str | None:
    if value is None:
        return None
    stripped = value.strip()
    if not stripped or len(stripped) > _MAX_TEXT or not stripped.isprintable():
        raise UsageError(
            code="BAD_TEXT",
            where=option,
            expected=f"1 to {_MAX_TEXT} printable characters",
            got=repr(value[:40]),
        )
    return stripped


def _bad_region(text: str) -> UsageError:
    return UsageError(
        code="BAD_REGION",
        where="--region",
        expected="contig, contig:position or contig:first-last, 1-based, as in 17:43,000,000-43,100,000",
        got=repr(text[:_MAX_TEXT]),
    )
