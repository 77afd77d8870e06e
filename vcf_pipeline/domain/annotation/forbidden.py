"""What no summary may say: a diagnosis, advice, a class of ACMG's, a rank, a certainty that the claims do not have.

Patterns over English text; what they cannot catch is in docs/annotations.md. Not here: shape, citations and numbers of
an answer (answer.py, numbers_said.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vcf_pipeline.domain.triage.claims import SIGNIFICANCES

_NO_CLAIM = "no_claim"


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?:{part})" for part in parts), re.IGNORECASE)


_NEVER: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "it speaks to or of a patient",
        _pattern(
            r"\b(?:you|your|yours|yourself|we|our|my)\b",
            r"\b(?:patients?|probands?)\b",
            r"\b(?:this|the) (?:individual|person|carrier|child|man|woman)\b",
            r"\b(?:usted|tiene usted|vous avez|votre|sie haben|ihre diagnose|lei ha|você tem)\b",
        ),
    ),
    (
        "it names a diagnosis",
        _pattern(
            r"\bdiagnos\w*",
            r"\bis (?:affected|sick|ill|healthy)\b",
            r"\bsuffer(?:s|ing)? from\b",
            r"\b(?:has|have|had) (?:the )?(?:disease|cancer|disorder|condition|syndrome)\b",
        ),
    ),
    (
        "it gives advice",
        _pattern(
            r"\brecommend\w*",
            r"\badvis\w+",
            r"\badvice\b",
            r"\b(?:should|must|ought|needs? to|have to|has to)\b",
            r"\bconsult\w*",
            r"\bcounsel\w*",
            r"\btreat(?:ed|ing|s|ments?|able)?\b",
            r"\b(?:therap|surger|surgical|prescri|medicat|mastectom|chemotherap|vaccinat)\w*",
            r"\b(?:dose|dosage|dosing)\b",
            r"\b(?:follow-up|follow up|screening|surveillance)\b",
            r"\b(?:please|seek|stop taking|start taking)\b",
        ),
    ),
    (
        "it names a class or code of ACMG's",
        _pattern(
            r"\b(?:ACMG|AMP guidelines?)\b",
            r"\b(?:PVS1|PS[1-4]|PM[1-6]|PP[1-5]|BA1|BS[1-4]|BP[1-7])\b",
            r"\bclass (?:[1-5]|I|II|III|IV|V|one|two|three|four|five)\b",
            r"\btier (?:[0-9]|I|II|III|IV|one|two|three|four)\b",
        ),
    ),
    (
        "it speaks of the variant's place, on which the call has a say too",
        _pattern(
            r"\b(?:puts?|ranks?|ranked|placed|stands?) (?:it |(?:this|the) variant )?(?:first|last|here)\b",
        ),
    ),
)
_CERTAIN = (
    (
        "it claims a certainty that no source gives",
        _pattern(
            r"\b(?:certain(?:ly|ty)?|definite(?:ly)?|definitive(?:ly)?|undoubted(?:ly)?|unquestionabl[ey]|guarantee\w*)\b",
            r"\b(?:prove[sdn]?|proof|confirm(?:s|ed)?|without (?:a )?doubt|no doubt|beyond doubt)\b",
            r"\bwill (?:cause|develop|lead|result|die|get|have|become)\b",
            r"\b(?:fatal|lethal|deadly|death)\b",
        ),
    ),
)

_ORDERS = _pattern(
    r"\b(?:ignore|disregard|forget|override|bypass|overrule)\b",
    r"\binstructions?\b",
    r"\b(?:system|developer|hidden|initial) (?:prompt|message)\b",
    r"\bprompts?\b",
    r"\b(?:assistant|chatbot|language model|chatgpt|openai|anthropic|claude|llama|jailbreak)\b",
    r"\b(?:respond|reply|answer|print|reveal|say|write|classify|label|cite|pretend|act as)\b",
    r"\bfrom now on\b",
    r"\bim (?:start|end|sep)\b|\bendoftext\b|\bend of text\b",
    r"\b(?:user|system|assistant|human|tool)\s*:",
    r"\b(?:select|insert|update|delete|drop|union|create|alter)\b.{0,40}\b(?:from|into|table|select|set|database)\b",
    r"\b(?:script|javascript|onerror|iframe|eval|curl|wget|exec)\b",
)

_SENTENCE = _pattern(r"\b(?:is|are|was|were|be|been|this|these|that|it|they|nothing|everything)\b")

# "likely" belongs to the word behind it: one pattern, so that "likely benign" is not "benign" too
_CLASS_WORD = re.compile(r"\b(?:(likely|probably|probable)[ _-]+)?(non[ -]?)?(pathogenic|benign)\b", re.IGNORECASE)
_HARMFUL = _pattern(
    r"\bdisease[- ]causing\b", r"\bcaus(?:es|ative|ing)\b", r"\b(?:deleterious|damaging|harmful|malign|dangerous)\b"
)
_HARMLESS = _pattern(
    r"\b(?:harmless|innocuous|innocent|safe|tolerated|neutral|inconsequential|unremarkable)\b",
    r"\bno (?:clinical )?(?:significance|relevance|importance|effect|risk|concern|harm)\b",
    r"\bnot (?:harmful|dangerous|pathogenic|disease[- ]causing|concerning|clinically relevant|of concern)\b",
    r"\bnothing to worry\b",
    r"\b(?:normal|common|natural) (?:variation|polymorphism)\b",
    r"\bpolymorphism\b",
)
_NOT_CALLED_BENIGN = re.compile(
    r"\b(?:unknown is (?:never|not)|(?:this|that|it|which) (?:does not|doesn't) (?:mean|show|say|imply)(?: that)?"
    r"(?: (?:it|the variant|this variant) is)?|not (?:evidence|a sign|to be read|a claim)"
    r"(?: (?:that|of|as)(?: (?:it is|being))?)?|is not(?: (?:the same as|known to be|called|shown to be))?) benign\b",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?;])\s+")
_DISPUTED = _pattern(
    r"\bconflict\w*", r"\bdisagree\w*", r"\bdisput\w*", r"\bdiffer(?:s|ing|ent)?\b", r"\bcontradict\w*"
)

_MAY_SAY: dict[str, frozenset[str]] = {
    "pathogenic": frozenset({"pathogenic", "likely_pathogenic"}),
    "likely_pathogenic": frozenset({"likely_pathogenic"}),
    "benign": frozenset({"benign", "likely_benign"}),
    "likely_benign": frozenset({"likely_benign"}),
    "conflicting": frozenset({"pathogenic", "likely_pathogenic", "benign", "likely_benign"}),
    "uncertain": frozenset(),
    "other": frozenset(),
    _NO_CLAIM: frozenset(),
}
LABELS = (*SIGNIFICANCES, _NO_CLAIM)


def unsayable(text: str) -> list[str]:
    """What is said that no summary may say, whatever the claims, each as a sentence; [] where nothing is."""
    return _found((*_NEVER, *_CERTAIN), text)


def is_no_name(text: str) -> list[str]:
    """Why the text does not read like the name of a condition: it is a sentence, an order, or what no summary may say.

    A name may hold words that a summary may not say by itself (fatal familial insomnia, benign chorea).
    """
    return _found((("it reads like an order", _ORDERS), ("it reads like a sentence", _SENTENCE), *_NEVER), text)


def _found(tests: Sequence[tuple[str, re.Pattern[str]]], text: str) -> list[str]:
    return [f"{says} ({found[0]!r})" for says, pattern in tests if (found := pattern.search(text)) is not None]


def contradictions(text: str, label: str) -> list[str]:
    """Where the text claims what the label does not say: an unknown called benign, a likely called certain.

    label: one of LABELS. Of conflicting claims both sides may be named, in a sentence that says that they conflict.
    """
    found = [said for sentence in _SENTENCES.split(text) for said in _contradictions(sentence, label)]
    return list(dict.fromkeys(found))


def _contradictions(text: str, label: str) -> list[str]:
    allowed = _MAY_SAY[label]
    if label == "conflicting" and not _DISPUTED.search(text):
        allowed = frozenset()
    rest = text if label in ("benign", "likely_benign") else _NOT_CALLED_BENIGN.sub(" ", text)
    found = []
    for match in _CLASS_WORD.finditer(rest):
        likely, negated, word = match.groups()
        said = ("likely_" if likely else "") + word.lower()
        if said not in allowed or negated:
            found.append(f"it says {match[0]!r}, and the claims are {label!r}")
    harmful, harmless = _HARMFUL.search(rest), _HARMLESS.search(rest)
    if harmful is not None and label != "pathogenic":
        found.append(f"it says {harmful[0]!r}, and the claims are {label!r}")
    if harmless is not None and label != "benign":
        found.append(f"it says {harmless[0]!r}, and the claims are {label!r}")
    return found
