"""What each value that may leave has to look like. A value of another shape is None: it stays.

Patterns match the whole text, over a few characters of a closed set each, so that prose cannot hide in an identifier.
Not here: which facts there are (brief.py), what a summary may not say (forbidden.py).
Rules: HGNC's guidelines (doi 10.1038/s41588-020-0669-3); HGVS nomenclature 21 (hgvs-nomenclature.org); VCF 4.5.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from vcf_pipeline.domain.annotation.forbidden import is_no_name
from vcf_pipeline.domain.vcf.so_terms import IMPACT, IMPACTS

MAX_IDENTIFIER = 150
MAX_GENE = 30
MAX_CONDITION = 120

_NUMBERED = r"(?:[1-9]|1[0-9]|2[0-2]|X|Y)"
_ACCESSION = r"(?:GL|KI|JH|KN|KQ|KV|KZ|ML|MU|CM|CP|gl|ki|kn|kq|kv|kz)[0-9]{5,8}(?:[.v][0-9]{1,2})?"
_CONTIG = (
    rf"(?:{_NUMBERED}|M|M16571|hs37d5|(?:(?:{_NUMBERED}|Un)_)?{_ACCESSION}(?:_random|_alt|_fix)?"
    r"|N[CTWG]_[0-9]{6,9}(?:\.[0-9]{1,2})?)"
)
_BASES = r"[ACGTN]{1,50}"
_ALLELE = rf"(?:{_BASES}|[0-9]{{2,9}}:[0-9a-f]{{16}}|\*)"
_SV = r"(?:DEL|DUP|INS|INV|CNV|DUP:TANDEM|(?:DEL|INS):ME(?::(?:ALU|LINE1|L1|SVA|HERVK))?|CNV:TR|NON_REF|\*)"
_MATE = rf"[\[\]](?:chr)?{_CONTIG}:[0-9]{{1,10}}[\[\]]"
_VARIANT_KEY = re.compile(
    rf"{_CONTIG}-[0-9]{{1,10}}-(?:{_ALLELE}-{_ALLELE}|{_SV}-[0-9]{{1,10}}-[0-9]{{1,10}}"
    rf"|{_BASES}{_MATE}|{_MATE}{_BASES}|{_BASES}\.|\.{_BASES})"
)

# at most two hyphens, and no hyphen without a digit somewhere: words joined by hyphens are no symbol
_GENE = re.compile(
    r"(?=[^-]+$|MT-|[^0-9]*[0-9])(?:[A-Z][A-Z0-9]{0,14}(?:orf[0-9]{1,4}[A-Z]{0,2})?(?:-[A-Z0-9]{1,12}){0,2}|[A-Z]{2}[0-9]{6})"
    r"(?:\.[0-9]{1,2})?(?:_[0-9]{1,2})?|ENSG[0-9]{11}(?:\.[0-9]{1,2})?"
)

_TRANSCRIPT = r"(?:(?:ENST[0-9]{11}|[NX][MR]_[0-9]{6,9}|LRG_[0-9]{1,5}t[0-9]{1,2})(?:\.[0-9]{1,2})?:)?"
_PROTEIN = r"(?:(?:ENSP[0-9]{11}|[NX]P_[0-9]{6,9}|LRG_[0-9]{1,5}p[0-9]{1,2})(?:\.[0-9]{1,2})?:)?"
_BASE_AT = r"[-*]?[0-9]{1,9}(?:[+-][0-9]{1,7})?"
_CHANGE_C = (
    rf"{_TRANSCRIPT}[cnmg]\.{_BASE_AT}(?:_{_BASE_AT})?"
    rf"(?:{_BASES}>{_BASES}|del[ACGTN]{{0,100}}(?:ins{_BASES})?|(?:dup|inv)[ACGTN]{{0,100}}|ins{_BASES}|=)"
)
_HGVS_C = re.compile(_CHANGE_C)
_AA = (
    r"(?:Ala|Arg|Asn|Asp|Cys|Gln|Glu|Gly|His|Ile|Leu|Lys|Met|Phe|Pro|Ser|Thr|Trp|Tyr|Val|Sec|Xaa|Ter"
    r"|[ACDEFGHIKLMNPQRSTVWYX*])"
)
_HGVS_P = re.compile(
    rf"{_CHANGE_C}\(p\.=\)|{_PROTEIN}p\.(?:\(?{_AA}{{1,10}}[0-9]{{1,5}}(?:_{_AA}[0-9]{{1,5}})?"
    rf"(?:{_AA}?fs(?:(?:Ter|\*|X)(?:[0-9]{{1,5}}|\?)?)?|{_AA}?ext(?:Ter|\*|-)?(?:[0-9]{{1,5}}|\?)?"
    rf"|(?:del)?ins{_AA}{{1,30}}|del|dup|=|\?|{_AA}{{1,10}})\)?|\?|=|0)"
)

_REVIEWS = (
    (r"practice_?guideline|\bguideline\b|\bprof\b", "practice guideline"),
    (r"expert_?panel|\bexp\b", "reviewed by expert panel"),
    (r"conflicting|\bconf\b", "criteria provided, conflicting classifications"),
    (r"multiple_submitters|\bmult\b", "criteria provided, multiple submitters, no conflicts"),
    (r"single_submitter|\bsingle\b", "criteria provided, single submitter"),
    (r"no_assertion|no_criteria|\bno_crit", "no assertion criteria provided"),
)
REVIEWS = tuple(name for _, name in _REVIEWS)
"""ClinVar's words for how a claim was reviewed, most weighty first."""
_CONDITION = re.compile(r"[A-Za-z0-9À-ÖØ-öø-ÿα-ωΑ-Ω][A-Za-z0-9À-ÖØ-öø-ÿα-ωΑ-Ω ,.;:()'/+\-]*")
_UNNAMED = ("not provided", "not specified", "see cases", "none", "unknown")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]{1,3})?")


def variant_key(text: str | None) -> str | None:
    return _whole(_VARIANT_KEY, text, MAX_IDENTIFIER)


def gene(text: str | None) -> str | None:
    return _whole(_GENE, text, MAX_GENE)


def hgvs_c(text: str | None) -> str | None:
    return _whole(_HGVS_C, text, MAX_IDENTIFIER)


def hgvs_p(text: str | None) -> str | None:
    return _whole(_HGVS_P, text, MAX_IDENTIFIER)


def consequence(text: str | None) -> str | None:
    return text if text in IMPACT else None


def impact(text: str | None) -> str | None:
    return text if text in IMPACTS else None


def review(text: str | None) -> str | None:
    """ClinVar's review status in any year's spelling → one of REVIEWS."""
    spelled = (text or "")[:400].lower().replace(" ", "_")
    return next((name for pattern, name in _REVIEWS if re.search(pattern, spelled)), None)


def condition(text: str | None) -> str | None:
    """A condition's name: the one free text that leaves, so that it must read like a name.

    One that gives orders, or says what a summary may not say (forbidden.py), stays, whatever its letters.
    """
    if text is None or not 2 < len(text) <= MAX_CONDITION:
        return None
    if re.search(r"[^\S ]", text):
        return None
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if name.lower() in _UNNAMED or not _CONDITION.fullmatch(name) or "//" in name or "www." in name.lower():
        return None
    return None if is_no_name(name) else name


def frequency(text: str | None) -> float | None:
    """A share of alleles, 0 to 1."""
    if text is None or len(text) > 40 or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if number <= 1 else None


def number_text(number: float) -> str:
    """Four significant digits, never in scientific notation: 0.00008715."""
    rounded = f"{Decimal(f'{number:.4g}'):f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def _whole(pattern: re.Pattern[str], text: str | None, limit: int) -> str | None:
    return text if text is not None and len(text) <= limit and pattern.fullmatch(text) else None
