"""How people write a variant → contig, position and alleles, or an rsID; said when it is neither.

`17-43093464-C-T`, `chr17:43,093,464 C>T`, `17:43093464:C:T`, `NC_000017.11:g.43093464C>T`, `rs80357382`. Not here:
whether anybody knows it (stages/explain_variant.py); trimming and the key (vcf/alleles.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.domain.query import bare_contig_name
from vcf_pipeline.domain.sources.accessions import read_accession

LONGEST_TEXT = 2_000
_RSID = re.compile(r"rs(\d{1,12})", re.IGNORECASE)
_CONTIG = r"(?P<contig>[A-Za-z0-9][A-Za-z0-9._*]{0,60}?)"
_VARIANT = re.compile(
    _CONTIG + r"[\s:_-]+(?:g\.)?(?P<pos>\d[\d,]{0,14})[\s:_-]*(?P<ref>[A-Za-z*.]+)[\s:_>/-]+(?P<alt>[A-Za-z*.]+)"
)
_PLACE = re.compile(_CONTIG + r"[\s:_-]+(?:g\.)?(?P<pos>\d[\d,]{0,14})")
_BASES = re.compile(r"[ACGTN]+")
_HUMAN_CONTIG = re.compile(
    r"[1-9]|1\d|2[0-2]|[XYM]|M16571|EBV|NC_007605(\.1)?|hs37d5|HLA.+|"
    r"(.+_)?(GL|JH|K[BEINQVZ]|M[LU])\d{6}(\.\d+|v\d+)?(_(random|alt|fix))?|N[TW]_\d+\.\d+"
)
_FORMS = "contig, position, REF and ALT, as in 17-43093464-C-T or chr17:43093464 C>T, or an rsID as in rs80357382"


@dataclass(frozen=True)
class RsId:
    """As dbSNP writes it: rs80357382."""

    name: str


@dataclass(frozen=True)
class Allele:
    """contig: bare. pos: 1-based. ref, alt: upper case, A, C, G, T or N, different, as they were written.

    assembly: the one that a RefSeq accession is of; None where the contig was named otherwise.
    """

    contig: str
    pos: int
    ref: str
    alt: str
    assembly: str | None = None

    @property
    def text(self) -> str:
        return f"{self.contig}-{self.pos}-{self.ref}-{self.alt}"


def parse_variant(text: str) -> RsId | Allele:
    """Raises UsageError (BAD_VARIANT) that names what is missing or wrong."""
    cleaned = " ".join(text.split())
    if len(text) > LONGEST_TEXT or not cleaned.isprintable():
        raise _bad(f"{len(text):,} characters, beginning with {text[:40]!r}")
    if match := _RSID.fullmatch(cleaned):
        return RsId(f"rs{int(match[1])}")
    match = _VARIANT.fullmatch(cleaned)
    if match is None:
        if _PLACE.fullmatch(cleaned):
            raise _bad(f"{cleaned[:60]!r}, a place without REF and ALT")
        raise _bad(repr(cleaned[:60]))
    pos = int(match["pos"].replace(",", ""))
    ref, alt = match["ref"].upper(), match["alt"].upper()
    for name, allele in (("REF", ref), ("ALT", alt)):
        if not _BASES.fullmatch(allele):
            raise _bad(f"{name} {allele[:20]!r}, where bases A, C, G, T or N are read")
    if ref == alt:
        raise _bad(f"REF and ALT that are both {ref[:20]}")
    if not 1 <= pos < 2**31:
        raise _bad(f"position {pos}; the first base is 1")
    contig, assembly = read_accession(match["contig"].upper()) or (bare_contig_name(match["contig"]), None)
    return Allele(contig, pos, ref, alt, assembly)


def is_human_contig(contig: str) -> bool:
    """Whether some human assembly has it: a chromosome, M, an unplaced, alternate or decoy sequence. contig: bare."""
    return _HUMAN_CONTIG.fullmatch(contig) is not None


def _bad(got: str) -> UsageError:
    return UsageError(
        code="BAD_VARIANT",
        where="VARIANT",
        expected=_FORMS,
        got=got,
        repair="An insertion or deletion is written with the base before it, as a VCF does: 17-43057062-T-TG.",
    )
