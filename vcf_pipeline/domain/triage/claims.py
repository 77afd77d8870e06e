"""ClinVar's words, number codes and review statuses → one claim: significance, stars, is a P/LP part of it.

Both spellings are read: words (`Pathogenic/Likely_pathogenic`, also with VEP's `&`) and the number codes of
the clinvar.vcf until 2017 (`5`, `255`, `5|2`, with `mult`, `single`, …). Not here: in which columns claims
stand (evidence.py), and what follows from one (rules.py).

Sources: ncbi.nlm.nih.gov/clinvar/docs/clinsig and /docs/review_status; for the codes, the files' own headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SIGNIFICANCES = (
    "pathogenic",
    "likely_pathogenic",
    "uncertain",
    "likely_benign",
    "benign",
    "conflicting",
    "other",
)

_MEANS: dict[str, str] = {
    "5": "pathogenic",
    "pathogenic": "pathogenic",
    "4": "likely_pathogenic",
    "likely_pathogenic": "likely_pathogenic",
    "probable_pathogenic": "likely_pathogenic",
    "0": "uncertain",
    "uncertain_significance": "uncertain",
    "vus": "uncertain",
    "unknown": "uncertain",
    "3": "likely_benign",
    "likely_benign": "likely_benign",
    "probable_non_pathogenic": "likely_benign",
    "2": "benign",
    "benign": "benign",
    "non_pathogenic": "benign",
}
_SILENT = frozenset(
    {
        *("", "1", "not_provided", "untested", "low_penetrance"),
        *("no_interpretation_for_the_single_variant", "no_classification_for_the_single_variant"),
        *("no_classifications_from_unflagged_records",),
    }
)
"""Words that state nothing of their own. Any other word (`risk_factor`, `drug_response`, 255) is `other`."""

_STARS: tuple[tuple[int, re.Pattern[str]], ...] = (
    (4, re.compile(r"practice_guideline|\bguideline\b|\bprof\b")),
    (3, re.compile(r"expert_panel|\bexp\b")),
    (2, re.compile(r"multiple_submitters|\bmult\b")),
    (1, re.compile(r"single_submitter|conflicting|\bsingle\b|\bconf\b")),
)
_SEPARATORS = re.compile(r"[|,/;&+]|\.\.")
_COUNT = re.compile(r"\(\d+\)$")
_PATHOGENIC = frozenset({"pathogenic", "likely_pathogenic"})
_BENIGN = frozenset({"benign", "likely_benign"})


@dataclass(frozen=True)
class Claim:
    """significance: one of SIGNIFICANCES. stars: 0–4, None where nobody tells how it was reviewed. has_pathogenic: it
    is a P or LP, or one disputes it.
    """

    significance: str
    stars: int | None
    has_pathogenic: bool


def read_claim(text: str, review: str | None, detail: str | None = None) -> Claim | None:
    """What a significance text says with its review status; None where it states nothing.

    text: words or codes, joined by any of | , / ; & or `..`. review: CLNREVSTAT in either spelling; None
    is not known, which is not the same as no star. detail: what the submitters of a conflict said (CLNSIGCONF).
    Raises nothing: an unknown word is `other`.

    Codes of several submissions are paired with their statuses, and only the status of what prevails counts:
    a P with 0 stars beside a benign with 2 is a conflict, not a P with 2.
    """
    words = _words(text)
    kinds = [_kind(word) for word in words]
    statuses = _statuses(review, len(words)) if all(word.isdigit() for word in words) else [review] * len(words)
    stated = [(kind, status) for kind, status in zip(kinds, statuses, strict=True) if kind is not None]
    if not stated:
        return None
    said = {kind for kind, _ in stated}
    has_pathogenic = bool(said & _PATHOGENIC)
    sides = [bool(said & _PATHOGENIC), bool(said & _BENIGN), "uncertain" in said]
    disputed = any(_is_dispute(status) for _, status in stated)
    if "conflicting" in said or disputed or sum(sides) > 1:
        most = _most_stars(status for _, status in stated)
        stars = None if most is None else min(1, most)
        return Claim("conflicting", stars, has_pathogenic or _names_pathogenic(detail))
    prevailing = next(name for name in ("pathogenic", "likely_pathogenic", "benign", *SIGNIFICANCES) if name in said)
    family = _PATHOGENIC if has_pathogenic else _BENIGN if said & _BENIGN else {prevailing}
    return Claim(prevailing, _most_stars(status for kind, status in stated if kind in family), has_pathogenic)


def stars_of(review: str | None) -> int | None:
    """ClinVar's stars, 0–4, of a review status in the spelling of any year; None where there is none."""
    if not review:
        return None
    status = review.lower().replace(" ", "_")
    return next((stars for stars, pattern in _STARS if pattern.search(status)), 0)


def _most_stars(statuses: Iterable[str | None]) -> int | None:
    return max((stars for status in statuses if (stars := stars_of(status)) is not None), default=None)


def _words(text: str) -> list[str]:
    parts = (_COUNT.sub("", part.strip("_ ")) for part in _SEPARATORS.split(text.lower()))
    return [part.replace(" ", "_").replace("-", "_").strip("_") for part in parts]


def _kind(word: str) -> str | None:
    if word in _SILENT:
        return None
    return _MEANS.get(word, "conflicting" if word.startswith("conflicting") else "other")


def _statuses(review: str | None, n: int) -> list[str | None]:
    """The status of each code; where their numbers differ, the weakest for all."""
    parts = re.split(r"[|,]", review) if review else []
    if len(parts) == n:
        return [*parts]
    return [min(parts, key=lambda part: stars_of(part) or 0) if parts else None] * n


def _is_dispute(status: str | None) -> bool:
    return re.search(r"conflicting|\bconf\b", (status or "").lower()) is not None


def _names_pathogenic(detail: str | None) -> bool:
    return any(_kind(word) in _PATHOGENIC for word in _words(detail or ""))
