"""The triage table as data: each code, when it holds, at which line and tier, and whose rule it is.

Here: rules, quality caps, notes, BA1's exceptions. Not here: the order of application (tiers.py), how
evidence is read (evidence.py). Expressions speak of the columns that evidence.with_evidence adds.

Richards 2015: doi 10.1038/gim.2015.30. Ghosh 2018: doi 10.1002/humu.23642. Impact: Ensembl VEP's ranking.
These are rules of attention after those papers, not an ACMG classification.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from vcf_pipeline.domain.triage.thresholds import TriageThresholds


@dataclass(frozen=True)
class Rule:
    """line: the first one that holds decides. tier: None is unknown. when: Boolean, null counts as false.

    What a rule cannot see is in LIMITS.
    """

    line: int
    tier: int | None
    code: str
    when: pl.Expr
    says: str
    citation: str


@dataclass(frozen=True)
class Cap:
    """A doubt about the call: nothing above `best_tier`, and tier 1 becomes `best_tier_of_first`.

    doubt: as a part of a sentence.
    """

    code: str
    when: pl.Expr
    says: str
    doubt: str
    best_tier: int = 3
    best_tier_of_first: int = 2


@dataclass(frozen=True)
class Note:
    """Said beside the reasons; it changes no tier."""

    code: str
    when: pl.Expr
    says: str


_CLINVAR = "ClinVar review status; Richards 2015"
_PVS1 = "Richards 2015: PVS1 as candidate, PM2 as supporting"


def rules_of(t: TriageThresholds) -> tuple[Rule, ...]:
    """The table, from its first line to its last; rules of one line all give their reasons."""
    claim, stars, impact, af = (pl.col(name) for name in ("significance", "stars", "impact", "population_af"))
    pathogenic = claim.is_in(["pathogenic", "likely_pathogenic"])
    benign = claim.is_in(["benign", "likely_benign"])
    # of a claim whose review status nobody tells no star is known: it decides nothing
    decisive = stars.fill_null(0) >= t.decisive_stars
    high, moderate, unknown = impact == "HIGH", impact == "MODERATE", af.is_null()
    # frequencies are stored as Float32; the thresholds are rounded alike, so that 0.0001 is at most 0.0001
    above_ba1, above_lof, above_moderate = (
        af > pl.lit(limit, pl.Float32) for limit in (t.common_af, t.rare_af, t.missense_af)
    )
    rare_lof, rare_moderate = ~above_lof, ~above_moderate
    return (
        Rule(1, 1, "clinvar_pathogenic", pathogenic & decisive, "ClinVar: P or LP, two stars or more", _CLINVAR),
        Rule(2, 4, "clinvar_benign", benign & decisive, "ClinVar: B or LB, two stars or more", _CLINVAR),
        Rule(
            *(2, 4, "ba1_common", above_ba1 & ~pl.col("is_ba1_exception")),
            "more than 5 % of a population's alleles, and not one of the nine exceptions",
            "Richards 2015: BA1; Ghosh 2018",
        ),
        Rule(3, 2, "clinvar_pathogenic_weak", pathogenic, "ClinVar: P or LP, one star or none", _CLINVAR),
        Rule(
            *(3, 2, "clinvar_conflicting", (claim == "conflicting") & pl.col("has_pathogenic_claim")),
            "ClinVar: submitters disagree, and one of them says P or LP",
            _CLINVAR,
        ),
        Rule(
            *(3, 2, "lof_candidate", high & (rare_lof | unknown)),
            "high impact, perhaps a loss of function, and not known in more than 1 of 10,000 alleles",
            _PVS1,
        ),
        Rule(3, 2, "rare", high & rare_lof, "at most 1 of 10,000 alleles", _PVS1),
        Rule(3, 2, "af_unknown", high & unknown, "high impact, and no population's frequency is known", _PVS1),
        Rule(
            *(4, 3, "clinvar_vus", claim.is_in(["uncertain", "conflicting"])),
            "ClinVar: of uncertain significance, or submitters disagree and none is known to say P or LP",
            _CLINVAR,
        ),
        Rule(4, 3, "lof_not_rare", high & above_lof, "high impact, but more than 1 of 10,000 alleles", _PVS1),
        Rule(
            *(4, 3, "missense_rare", moderate & (rare_moderate | unknown)),
            "moderate impact, as a missense has, and not known in more than 1 of 1,000 alleles",
            "Richards 2015: PM2 as supporting",
        ),
        Rule(4, 3, "clinvar_benign_weak", benign, "ClinVar: B or LB, one star or none", _CLINVAR),
        Rule(
            *(5, 4, "moderate_not_rare", moderate & above_moderate),
            "moderate impact, more than 1 of 1,000 alleles",
            "Richards 2015: BS1",
        ),
        Rule(
            *(5, 4, "low_impact", impact.is_in(["LOW", "MODIFIER"])),
            "low impact, or outside of what is translated",
            "Ensembl VEP: impact",
        ),
        Rule(5, 4, "frequent", above_moderate, "more than 1 of 1,000 alleles", "Richards 2015: BS1"),
        Rule(
            *(5, 4, "clinvar_other", claim == "other"),
            "ClinVar: another statement, such as drug response or risk factor",
            _CLINVAR,
        ),
        Rule(
            *(6, 4, "rare_without_consequence", ~unknown),
            "a frequency of at most 1 of 1,000 alleles is all that is known",
            "none: nothing speaks for more",
        ),
        Rule(
            7,
            None,
            "no_evidence",
            pl.lit(True),
            "no consequence, no claim, no population's frequency",
            "none",
        ),
    )


def caps_of(t: TriageThresholds) -> tuple[Cap, ...]:
    """Quality speaks too: what caps the tier of a row."""
    return (
        Cap("filter_not_pass", pl.col("is_filtered"), "FILTER is neither PASS nor `.`", "its FILTER is not PASS"),
        Cap("low_quality", pl.col("qual") < t.min_qual, "QUAL is below 20", "its QUAL is low"),
        Cap(
            *("not_carried", ~pl.col("is_carried"), "alleles are called, and none of them is this one"),
            "no sample that was called carries it",
        ),
    )


NOTES = (
    Note(
        "key_not_normalised",
        pl.col("is_key_in_doubt"),
        "an indel that no source of alleles has under this key, though it, or one near by in a source, could be "
        "written further left",
    ),
)

LIMITS: dict[str, str] = {
    "clinvar_pathogenic": "a claim on the allele, for one of its conditions and seldom for this person; ClinVar errs, "
    "and its file is as old as the source that was registered",
    "clinvar_benign": "benign for the conditions that were submitted; an old claim may rest on few people",
    "ba1_common": "a frequency of a filtered or badly covered site is none; disease of the elderly, of low penetrance "
    "or recessive may be as common",
    "clinvar_pathogenic_weak": "one submitter, or none who gave criteria; or nobody tells how it was reviewed, as "
    "where CLNSIG stands without CLNREVSTAT. VEP's CLIN_SIG has no review status, and may be of another allele at the "
    "place",
    "clinvar_conflicting": "how many say what is not weighed; without CLNSIGCONF nobody is known to say P or LP, and "
    "the allele is tier 3 as `clinvar_vus`",
    "lof_candidate": "a candidate for PVS1, not PVS1: neither the gene's mechanism, nor the last exon, nor rescue by "
    "splicing or another transcript is looked at",
    "rare": "not seen is not rare where a population was badly covered",
    "af_unknown": "says that no frequency was found, in the file or in a source; it may be common",
    "clinvar_vus": "of uncertain significance is not half pathogenic",
    "lof_not_rare": "recessive disease may be carried this often",
    "missense_rare": "no predictor is asked; most rare missense alleles do nothing",
    "clinvar_benign_weak": "as `clinvar_pathogenic_weak`: it keeps the allele in sight",
    "moderate_not_rare": "above what most dominant diseases allow, not above what recessive ones do",
    "low_impact": "splicing beyond the two bases at an exon's end, promoters and enhancers are not seen",
    "frequent": "as `moderate_not_rare`",
    "clinvar_other": "drug response and risk are real, and are not what this triage sorts by",
    "rare_without_consequence": "nothing says what the allele does",
    "no_evidence": "unknown, never benign",
    "filter_not_pass": "what a FILTER means is its caller's own",
    "low_quality": "QUAL is not comparable between callers",
    "not_carried": "only called alleles are counted",
    "key_not_normalised": "only a reference can tell whether two ways of writing are one allele: `bcftools norm`",
}
"""Code → what it cannot see, for people."""

RULES, CAPS = rules_of(TriageThresholds()), caps_of(TriageThresholds())
"""With the default thresholds; codes, lines and tiers are the same with any."""

# in this order: ACAD9 c.-44_-41dup, GJB2 c.109G>A, HFE c.187C>G and c.845G>A, MEFV c.1105C>T and c.1223G>A,
# PIBF1 c.1214G>A, ACADS c.511C>T, BTD c.1330G>C
BA1_EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "GRCh37": (
        *("3-128598490-C-CTAAG", "13-20763612-C-T", "6-26091179-C-G", "6-26093141-G-A", "16-3299586-G-A"),
        *("16-3299468-C-T", "13-73409497-G-A", "12-121175678-C-T", "3-15686693-G-C"),
    ),
    "GRCh38": (
        *("3-128879647-C-CTAAG", "13-20189473-C-T", "6-26090951-C-G", "6-26092913-G-A", "16-3249586-G-A"),
        *("16-3249468-C-T", "13-72835359-G-A", "12-120737875-C-T", "3-15645186-G-C"),
    ),
}
"""variant_key of the nine variants above 5 % that may not be benign (Ghosh 2018, table 1), by assembly."""


def ba1_exceptions(assembly: str | None) -> list[str]:
    """The keys for an assembly; all where it is unknown: a wrong exemption only keeps a row in sight."""
    if assembly is None:
        return [key for keys in BA1_EXCEPTIONS.values() for key in keys]
    return list(BA1_EXCEPTIONS.get(assembly, ()))
