"""A model's text → an answer that rests on the brief's facts, or the list of what is wrong with it.

The text is hostile: it is cut off before it is parsed, parsed strictly, and nothing of it is ever carried out. Here:
shape, citations, characters. Not here: numbers (numbers_said.py), what may not be said (forbidden.py); what is asked
(prompts.py); what is done with a bad answer (adapters/providers/router.py).
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcf_pipeline.domain.annotation.brief import Brief
from vcf_pipeline.domain.annotation.forbidden import contradictions, unsayable
from vcf_pipeline.domain.annotation.numbers_said import numbers_without_facts
from vcf_pipeline.domain.annotation.prompts import INSTRUCTIONS
from vcf_pipeline.domain.errors import BadAnswer

MAX_TEXT = 8_000
"""Characters of a whole answer; a longer one is not parsed."""
MIN_SUMMARY, MAX_SUMMARY, MAX_SENTENCES = 20, 700, 4

Reading = Literal[
    "pathogenic", "likely_pathogenic", "uncertain", "likely_benign", "benign", "conflicting", "other", "no_claim"
]
READINGS: tuple[str, ...] = get_args(Reading)

_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_MARKUP = re.compile(r"[<>{}\[\]|`\\~#*=]|__|&(?:#[0-9xX]|[A-Za-z]{2,8};)")
_ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,20}:/|\bwww\.|\b(?:javascript|data|mailto):|[\w.]+@[\w-]+\.[A-Za-z]|\b[a-z0-9-]+\.(?:com|org|net|io|gov|edu|ru|cn)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
# articles and the like make a third of English prose; a text nearly without them is in another language
_ENGLISH_WORDS = (
    "the a an of is and as has have with by to for this that are not known no it its at from which there where because "
    "or nothing variant lists"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_LEAST_ENGLISH = 0.2
_LEAKED_WORDS = 7


@dataclass(frozen=True)
class Answer:
    """summary: plain text, one or two sentences. cited: keys of facts of the brief, at least one.

    reading: the model's word, of claims.SIGNIFICANCES or NO_CLAIM. It is shown, and never becomes the label.
    """

    summary: str
    cited: tuple[str, ...]
    reading: str


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    summary: Annotated[str, Field(min_length=MIN_SUMMARY, max_length=MAX_SUMMARY)]
    cited: Annotated[list[Annotated[str, Field(max_length=80)]], Field(min_length=1, max_length=40)]
    reading: Reading


def read_answer(text: str, brief: Brief) -> Answer:
    """The answer, where it keeps every rule.

    text: one JSON object with summary, cited and reading, bare or in one code fence (many models cannot leave it out);
    nothing before or behind it. Raises BadAnswer with every problem found, each a sentence for the repair: shape,
    characters, citations, numbers, what may not be said.
    """
    shape, problems = _parsed(text)
    if shape is not None:
        problems = [*_citation_problems(shape.cited, brief), *summary_problems(shape.summary, brief)]
        if not problems:
            return Answer(shape.summary.strip(), tuple(dict.fromkeys(shape.cited)), shape.reading)
    raise BadAnswer(
        where="the answer",
        expected="one that keeps the rules",
        got="; ".join(problems)[:500],
        repair="It is asked for again once; what cannot be mended is set aside.",
        provider="",
        problems=problems,
    )


def summary_problems(summary: str, brief: Brief) -> list[str]:
    """What is wrong with a summary of the brief, each as a sentence; [] where nothing is."""
    conditions = [fact.value for fact in brief.facts if fact.key.startswith("condition:")]
    frequencies = [float(fact.value) for fact in brief.facts if fact.key.startswith("frequency:")]
    stars = [int(fact.value) for fact in brief.facts if fact.key == "clinvar:stars"]
    names = _quotable(brief)
    not_words = [name for name in names if not name.isalpha()]
    own_words = _without(summary, conditions)
    bare = _without(own_words, not_words)
    numbers = numbers_without_facts(summary, frequencies, stars, names)
    return [
        *_character_problems(summary, not_words),
        *(f"The number {said[:40]!r} is not in the facts." for said in dict.fromkeys(numbers)),
        *(
            f"The summary may not say this: {said}."
            for said in unsayable(_without(own_words, [brief.value("gene") or ""]))
        ),
        *(f"The summary contradicts the facts: {said}." for said in contradictions(own_words, brief.label)),
        *_source_problems(own_words, brief),
        *_language_problems(bare),
        *_leak_problems(bare),
    ]


def _parsed(text: str) -> tuple[_Shape | None, list[str]]:
    if len(text) > MAX_TEXT:
        return None, [f"The answer has {len(text)} characters, and may have {MAX_TEXT}."]
    body = text.strip()
    fenced = _FENCE.fullmatch(body)
    try:
        found = json.loads(fenced[1] if fenced else body, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
        return _Shape.model_validate(found), []
    except ValidationError as error:
        return None, [
            f"{'.'.join(str(part) for part in problem['loc'])[:60] or 'The answer'}: {problem['msg'][:200]}."
            for problem in error.errors(include_input=False, include_url=False)[:10]
        ]
    except (ValueError, RecursionError) as error:
        return None, [f"The answer is not one JSON object and nothing else: {str(error)[:100]}."]


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands in it twice")
    return record


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _citation_problems(cited: list[str], brief: Brief) -> list[str]:
    known = set(brief.keys)
    absent = [key for key in dict.fromkeys(cited) if key not in known]
    return [f"cited: there is no fact {key[:80]!r}." for key in absent]


def _quotable(brief: Brief) -> list[str]:
    """Identifiers and names of the facts, and what they are made of as people write it."""
    texts = [fact.value for fact in brief.facts if not fact.key.startswith(("frequency:", "clinvar:stars"))]
    texts += [text.replace("_", " ") for text in texts] + [
        text.removesuffix("_variant").replace("_", " ") for text in texts
    ]
    names = [
        brief.variant_key,
        brief.assembly,
        *texts,
        *(key.partition(":")[2] for key in brief.keys if key.startswith("frequency:")),
    ]
    for hgvs in (brief.value("hgvs_c"), brief.value("hgvs_p")):
        if hgvs:
            change = hgvs.rpartition(":")[2]
            names += [change, change.partition(".")[2]]
    contig, _, rest = brief.variant_key.partition("-")
    pos, _, alleles = rest.partition("-")
    if pos:
        names += [f"chromosome {contig}", f"chr{contig}", f"position {pos}", f"{contig}:{pos}", f"{contig}-{pos}"]
        names += [f"position {int(pos):,}", alleles, alleles.replace("-", ">")] if pos.isdigit() else []
    return [name for name in dict.fromkeys(names) if name]


def _character_problems(summary: str, quoted: list[str]) -> list[str]:
    problems = []
    odd = sorted({f"U+{ord(char):04X}" for char in summary if not _may_stand(char)})
    if odd:
        problems.append(f"The summary has characters that plain English text does not need: {', '.join(odd[:8])}.")
    bare = _without(summary, quoted)
    if (markup := _MARKUP.search(bare)) is not None:
        problems.append(f"The summary has markup or code ({markup[0]!r}); it is plain text.")
    if (address := _ADDRESS.search(bare)) is not None:
        problems.append(f"The summary has an address ({address[0]!r}).")
    if len(_SENTENCE_END.findall(bare)) > MAX_SENTENCES:
        problems.append(f"The summary has more than {MAX_SENTENCES} sentences; one or two are asked for.")
    return problems


def _may_stand(char: str) -> bool:
    """Printable ASCII, letters of Latin-1, Greek letters, dashes and quotation marks of English. No control or bidi
    characters, no line breaks, no other scripts: what looks like a Latin letter is one.
    """
    if " " <= char <= "~":
        return True
    if char in "–—‘’“”…×·\u00a0":
        return True
    return ("À" <= char <= "ÿ" or "Α" <= char <= "ω") and unicodedata.category(char) in ("Ll", "Lu")


def _source_problems(own_words: str, brief: Brief) -> list[str]:
    is_silent = not any(key.endswith(":clinvar") or key.startswith("clinvar:") for key in brief.keys)
    if is_silent and brief.value("annotation:significance") and re.search(r"\bclinvar\b", own_words, re.IGNORECASE):
        return ["The summary names ClinVar, and the claim is the file's annotation's."]
    return []


def _language_problems(text: str) -> list[str]:
    words = _words(text)
    if len(words) >= 5 and sum(word in _ENGLISH for word in words) < _LEAST_ENGLISH * len(words):
        return ["The summary is not in plain English."]
    return []


def _leak_problems(text: str) -> list[str]:
    words = _words(text)
    runs = {tuple(words[at : at + _LEAKED_WORDS]) for at in range(len(words) - _LEAKED_WORDS + 1)}
    return ["The summary repeats its instructions."] if runs & _instruction_runs() else []


@cache
def _instruction_runs() -> frozenset[tuple[str, ...]]:
    words = _words(INSTRUCTIONS)
    return frozenset(tuple(words[at : at + _LEAKED_WORDS]) for at in range(len(words) - _LEAKED_WORDS + 1))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _without(text: str, names: list[str]) -> str:
    lowered = text.lower()
    for name in sorted((name for name in names if name and name.lower() in lowered), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text, flags=re.IGNORECASE)
    return text
