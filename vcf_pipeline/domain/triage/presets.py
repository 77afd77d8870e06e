"""Known sources as data: which of their fields are read, and what each says: a claim, a frequency, an identifier.

A preset is named, or guessed from the file's header. Not here: how files become rows (domain/sources), how rows are
joined (joins.py), what follows from what they say (evidence.py, rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vcf_pipeline.domain.triage.info_values import ClaimKeys, an_key, clinvar_keys
from vcf_pipeline.domain.vcf.header import Header

ALLELE_KINDS = ("vcf", "tsv")
"""Kinds whose rows are alleles, joined by variant_key; those of the others are intervals, joined by overlap."""
KINDS = (*ALLELE_KINDS, "gff3", "gtf", "bed")
RSID, VARIATION_ID = "rsid", "variation_id"
GENE_INFO = "GENEINFO"
"""ClinVar's genes of an allele, symbol and number of each."""
OVERLAP = "overlap"
"""What an interval says of an allele that it overlaps: its name."""


@dataclass(frozen=True)
class Preset:
    """What is read of a source of this sort, and what it says.

    kinds: files it may be of. claim: keys of ClinVar's words. frequencies: keys, 0–1, each with its AN where the file
    has it. needs_an: a frequency without AN does not count as a population's. passing_only: nor does one of a record
    whose FILTER is neither PASS nor `.`. consequence: key of the molecular consequence, a last resort. identifiers:
    names of the allele in the source. also: shown as evidence, and nothing else. read_as: for people.
    """

    name: str
    read_as: str
    kinds: tuple[str, ...]
    claim: ClaimKeys | None = None
    frequencies: tuple[str, ...] = ()
    needs_an: bool = False
    passing_only: bool = False
    consequence: str | None = None
    identifiers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    is_gene_model: bool = False

    def fields(self, more: Sequence[str] = ()) -> tuple[str, ...]:
        """Every column that is kept of a source of alleles, in order, each once; more: what --fields names."""
        claim = self.claim.all() if self.claim else ()
        counts = tuple(an_key(key) for key in self.frequencies)
        effect = (self.consequence,) if self.consequence else ()
        return tuple(dict.fromkeys([*claim, *self.frequencies, *counts, *effect, *self.identifiers, *self.also, *more]))


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "clinvar",
            "claims with their review status and conditions; the frequencies it quotes; the consequence (MC) where "
            "nothing else gives one; gene, variation id and rsID",
            ("vcf",),
            claim=clinvar_keys(),
            frequencies=("AF_ESP", "AF_EXAC", "AF_TGP"),
            consequence="MC",
            identifiers=(VARIATION_ID, RSID),
            also=(GENE_INFO,),
        ),
        Preset(
            "gnomad",
            "frequencies of all and of the population with the largest, where FILTER is PASS; homozygotes are shown",
            ("vcf",),
            frequencies=("AF", "AF_popmax", "AF_POPMAX", "AF_grpmax"),
            passing_only=True,
            identifiers=(RSID,),
            also=("nhomalt",),
        ),
        Preset("dbsnp", "rsIDs", ("vcf",), identifiers=(RSID,)),
        Preset(
            "cohort",
            "the lab's own frequencies; a population's only where AN counts 2,000 alleles or more, else shown alone",
            ("vcf", "tsv"),
            frequencies=("AF",),
            needs_an=True,
            also=("AC",),
        ),
        Preset(
            "genes",
            "genes that an allele overlaps; with --fasta also consequences, by bcftools csq (GFF3)",
            ("gff3", "gtf"),
            is_gene_model=True,
        ),
        Preset("custom", "what --fields names, or the name of each interval: shown, no rule looks at it", KINDS),
    )
}

_GNOMAD_KEYS = {"nhomalt", "AF_popmax", "AF_grpmax", "AF_POPMAX", "AN_popmax", "AC_popmax", "faf95"}


def guessed_preset(kind: str, header: Header | None) -> tuple[str, str] | None:
    """The preset that a file is of, and what it is known by; None where nothing tells.

    header: of a VCF. A GFF3 or GTF is a gene model, a BED has intervals to be named.
    """
    if kind in ("gff3", "gtf"):
        return "genes", f"a {kind.upper()} is a gene model"
    if kind == "bed":
        return "custom", "the intervals of a BED are named, and no rule looks at them"
    if header is None:
        return None
    keys = set(header.info)
    if {"CLNSIG", "CLNREVSTAT"} <= keys:
        return "clinvar", "its INFO has CLNSIG and CLNREVSTAT"
    if {"AF", "AN"} <= keys and (_GNOMAD_KEYS & keys or re.search(r"(?i)gnomad", header.text)):
        told = sorted(_GNOMAD_KEYS & keys)
        return "gnomad", f"its INFO has AF, AN and {told[0]}" if told else "its header names gnomAD"
    if "RS" in keys and re.search(r"(?i)dbsnp", header.text):
        return "dbsnp", "its INFO has RS and its header names dbSNP"
    if {"AC", "AN"} <= keys or header.samples:
        return "cohort", "its INFO has AC and AN" if {"AC", "AN"} <= keys else "it has samples, whose calls are counted"
    return None


@dataclass(frozen=True)
class Voice:
    """A source as evidence hears it: name and version to cite, what it is, which further fields were asked for.

    has_consequences: consequences were computed from this gene model. Its columns in a joined frame are `column(key)`.
    """

    name: str
    version: str
    kind: str
    preset: Preset
    more: tuple[str, ...] = ()
    has_consequences: bool = False

    def column(self, key: str) -> str:
        return f"@{self.name}/{key}"
