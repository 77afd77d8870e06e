"""A brief → its summary by rules: one or two plain sentences, with the facts they rest on. No model, no network.

It keeps every rule that a model's answer must keep (answer.py); a test holds it to them. Not here: which facts there
are (brief.py).
"""

from __future__ import annotations

from vcf_pipeline.domain.annotation.answer import MAX_SUMMARY, Answer
from vcf_pipeline.domain.annotation.brief import NO_CLAIM, Brief, Fact

RULES_VERSION = "sentences-2"
"""Raised with every change of a word: annotations that older sentences wrote are stale."""
MAX_NAMED = 3

_CLAIMS = {
    "pathogenic": "{who} lists {variant} as pathogenic",
    "likely_pathogenic": "{who} lists {variant} as likely pathogenic",
    "uncertain": "{who} lists {variant} as of uncertain significance",
    "likely_benign": "{who} lists {variant} as likely benign",
    "benign": "{who} lists {variant} as benign",
    "conflicting": "The submitters of ClinVar disagree on {variant}",
    "other": "{who} says something of {variant} that is no claim for or against a disease",
}
_ANNOTATION_DISAGREES = "The file's annotation has words on {variant} that disagree"
_UNKNOWN_REVIEW = {
    "clinvar_pathogenic_weak": "how well the claim was reviewed is not known, so that it does not decide",
    "clinvar_benign_weak": "how well the claim was reviewed is not known, so that it does not decide",
}
_REASONS: dict[str, str] = {
    "clinvar_pathogenic": "the claim has been reviewed well enough to decide",
    "clinvar_benign": "the claim has been reviewed well enough to decide",
    "ba1_common": "it is too frequent in a population to be looked at early",
    "clinvar_pathogenic_weak": "the claim has been reviewed too little to decide",
    "clinvar_conflicting": "one side of the disagreement says pathogenic or likely pathogenic",
    "lof_candidate": "a change of high impact may take the gene's function away",
    "rare": "it is rare in every population that was counted",
    "af_unknown": "no population's frequency of it is known",
    "clinvar_vus": "the claims do not say which way to read it",
    "lof_not_rare": "its impact is high, but it is not rare",
    "missense_rare": "its impact is moderate, and it is not known to be frequent",
    "clinvar_benign_weak": "the claim has been reviewed too little to decide",
    "moderate_not_rare": "its impact is moderate, and it is not rare",
    "low_impact": "its impact is low",
    "frequent": "it is not rare",
    "clinvar_other": "the statement does not decide where it belongs",
    "rare_without_consequence": "a low frequency is all that is known of it",
}
_UNKNOWN = "No consequence and no population's frequency of it is known either."
_SAYS_SO = {"moderate_not_rare"}
"""What says already that it is not rare."""
_REST_ON: dict[str, tuple[str, ...]] = {
    "lof_candidate": ("impact",),
    "lof_not_rare": ("impact",),
    "missense_rare": ("impact",),
    "moderate_not_rare": ("impact",),
    "low_impact": ("impact",),
}


def summarise(brief: Brief) -> Answer | None:
    """What is known, then what the rules weigh of it; reading is the label. None without a single fact."""
    if not brief.facts:
        return None
    known, cited = _claimed(brief) if brief.label != NO_CLAIM else _unclaimed(brief)
    why, rests_on = _reasoned(brief)
    keys = [key for key in dict.fromkeys((*cited, *rests_on)) if key in brief.keys]
    summary = f"{known} {why}" if len(known) + len(why) < MAX_SUMMARY else known
    return Answer(summary, tuple(keys or brief.keys[:1]), brief.label)


def _claimed(brief: Brief) -> tuple[str, list[str]]:
    """The claim, whose it is, its stars, the conditions it is about; with the consequence where there is one."""
    is_annotations = brief.value("annotation:significance") is not None
    cited = ["clinvar:significance", "annotation:significance", "clinvar:stars", *_change_keys(brief)]
    template = _ANNOTATION_DISAGREES if is_annotations and brief.label == "conflicting" else _CLAIMS[brief.label]
    who = "The file's annotation" if is_annotations else "ClinVar"
    sentence = template.format(who=who, variant=_variant(brief))
    stars = brief.value("clinvar:stars")
    if is_annotations:
        sentence += ", though it may mean another allele at the place"
    elif stars is None:
        sentence += ", its review status unknown"
    elif stars == "0":
        sentence += ", without a review star"
    else:
        sentence += f", with {stars} review {'star' if stars == '1' else 'stars'}"
    conditions = [fact for fact in brief.facts if fact.key.startswith("condition:")]
    named: list[Fact] = []
    length = 0
    for fact in conditions[:MAX_NAMED]:
        length += len(fact.value)
        if named and length > 200:
            break
        named.append(fact)
    if named:
        names = [fact.value for fact in named]
        others = " and others" if len(conditions) > len(named) else ""
        sentence += f", for {_listed(names, others)}"
        cited += [fact.key for fact in named]
    return f"{sentence}.", cited


def _unclaimed(brief: Brief) -> tuple[str, list[str]]:
    variant = _variant(brief)
    known = f"No claim about {variant} is in the evidence at hand, so that its significance is unknown."
    return known, _change_keys(brief)


def _reasoned(brief: Brief) -> tuple[str, list[str]]:
    """What the rules weigh, and the largest frequency where one is known. Not where that puts it: doubts about the
    call, which are in no brief, may hold it back (tiers.held_back).
    """
    if "no_evidence" in brief.reasons:
        return _UNKNOWN, []
    codes = [
        code for code in brief.reasons if code in _REASONS and not (code == "frequent" and _SAYS_SO & {*brief.reasons})
    ]
    words = _REASONS | (_UNKNOWN_REVIEW if brief.value("clinvar:stars") is None else {})
    clauses = [words[code] for code in codes]
    cited = [key for code in brief.reasons for key in _REST_ON.get(code, ())]
    frequencies = [
        (float(fact.value), fact.key, fact.value) for fact in brief.facts if fact.key.startswith("frequency:")
    ]
    sentence = ""
    if clauses:
        sentence = f"The rules weigh that {_listed(clauses)}"
    if frequencies:
        _, key, said = max(frequencies)
        cited.append(key)
        told = f"its highest known frequency in a population is {said}"
        sentence = f"{sentence}; {told}" if sentence else told[0].upper() + told[1:]
    return (f"{sentence}." if sentence else ""), cited


def _change_keys(brief: Brief) -> list[str]:
    change = next((key for key in ("hgvs_p", "hgvs_c") if brief.value(key)), "consequence")
    return ["gene", "consequence", change]


def _variant(brief: Brief) -> str:
    """As in "this frameshift variant in BRCA1 (p.Gln1756ProfsTer74)"."""
    consequence = (brief.value("consequence") or "").removesuffix("_variant").replace("_", " ")
    gene = brief.value("gene")
    hgvs = brief.value("hgvs_p") or brief.value("hgvs_c")
    change = hgvs.rpartition(":")[2] if hgvs else ""
    words = f"this {consequence} variant" if consequence else "this variant"
    return words + (f" in {gene}" if gene else "") + (f" ({change})" if change else "")


def _listed(texts: list[str], others: str = "") -> str:
    if others or len(texts) == 1:
        return ", ".join(texts) + others
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
