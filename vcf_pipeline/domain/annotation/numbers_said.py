"""Numbers in a summary: each has to be in the facts, up to rounding.

Read are digits, scientific notation, percentages, "1 in 10,000" and the like, and English number words. Not here: what
else an answer must keep to (answer.py).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_SMALL = {word: number for number, word in enumerate(_UNITS.split())}
_DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * number for number, word in enumerate(_DECADES.split(), start=2)}
_POWERS = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_FRACTIONS = {
    "half": 0.5,
    "third": 1 / 3,
    "thirds": 1 / 3,
    "quarter": 0.25,
    "quarters": 0.25,
    "fifth": 0.2,
    "tenth": 0.1,
}
_OTHERS = {"dozen": 12.0, "dozens": 12.0, "once": 1.0, "twice": 2.0, "hundreds": 100.0, "thousands": 1000.0}
_COUNTED = {"hundredth": 0.01, "hundredths": 0.01, "thousandth": 0.001, "thousandths": 0.001}

_WORD = "|".join([*_SMALL, *_TENS, *_POWERS])
_DIGITS = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]*\.?[0-9]+)(?:\s*[x×*]\s*10\s*\^?\s*[-−]?[0-9]+|[eE][+\-−]?[0-9]+)?"
)
_WORDS = rf"\b(?:{_WORD})(?:[\s-]+(?:and[\s-]+)?(?:{_WORD}))*\b"
_NUMBER = rf"(?:{_DIGITS}(?:[\s-]+(?:hundred|thousand|million|billion)\b)?|{_WORDS})"
_RATIO = re.compile(
    rf"(?P<part>{_NUMBER})\s*(?:in|of|out\s+of|per|among|:|/)\s*(?:every\s+|each\s+|about\s+|a\s+)?(?P<whole>{_NUMBER})",
    re.IGNORECASE,
)
_PERCENT = re.compile(rf"(?P<number>{_NUMBER})\s*(?P<sign>%|‰|per\s?cent\b|percent\b|per\s?mille\b)", re.IGNORECASE)
_LONE = re.compile(_NUMBER, re.IGNORECASE)
_VAGUE = re.compile(
    rf"\b(?:{'|'.join([*_FRACTIONS, *_OTHERS, *_COUNTED])})s?\b|[\u00bc-\u00be\u2150-\u215f]", re.IGNORECASE
)
_DIGIT = re.compile(r"\d")
_COUNTS = re.compile(r"\W*(?:stars?|times?)\b", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+(?:[.,][0-9][^\W_]*)*", re.UNICODE)


def numbers_without_facts(
    text: str, frequencies: Sequence[float], counts: Sequence[int], quoted: Iterable[str]
) -> list[str]:
    """What is said as a number and is none of the facts', as it stands in the text.

    frequencies: 0–1; they may be said as such, as a percentage, or as 1 in n, to as few digits as one likes. counts:
    whole numbers that may be said. quoted: identifiers and names of the facts; digits within them are no numbers, and a
    number may stand after the word that it follows there.
    """
    wrong: list[str] = []

    def judged(match: re.Match[str], is_said: bool) -> str:
        if not is_said:
            wrong.append(match[0])
        return " "

    def ratio(match: re.Match[str]) -> str:
        part, whole = _value(match["part"]), _value(match["whole"])
        is_one = part is not None and bool(whole) and _is_ratio_of(part, whole or 0.0, match["whole"], frequencies)
        return judged(match, is_one)

    def percentage(match: re.Match[str]) -> str:
        number = _value(match["number"])
        scale = 0.001 if match["sign"].startswith(("‰", "per mille", "permille")) else 0.01
        return judged(
            match,
            number is not None and any(_rounds_to(share / scale, match["number"], number) for share in frequencies),
        )

    def lone(match: re.Match[str]) -> str:
        # "one" alone is a pronoun more often than a number
        if match[0].lower() == "one" and not _COUNTS.match(match.string, match.end()):
            return " "
        number = _value(match[0])
        return judged(
            match,
            number is not None
            and (number in counts or any(_rounds_to(share, match[0], number) for share in frequencies)),
        )

    rest = _without_identifiers(text, list(quoted))
    for pattern, judge in ((_RATIO, ratio), (_PERCENT, percentage), (_LONE, lone)):
        rest = pattern.sub(judge, rest)
    return [*wrong, *_VAGUE.findall(rest)]


def _without_identifiers(text: str, quoted: list[str]) -> str:
    """The text without what is quoted from the facts, and without numbers that stand behind the same word as there."""
    # a pattern costs a tenth of a millisecond to make: only of what is there
    rest, lowered = text, text.lower()
    for name in sorted((name for name in quoted if name and name.lower() in lowered), key=len, reverse=True):
        rest = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w]|\.[0-9])", " ", rest, flags=re.IGNORECASE)
    known_pairs: set[tuple[str, str]] = set()
    known_tokens: set[str] = set()
    for name in quoted:
        tokens = _TOKEN.findall(name.lower())
        known_pairs.update(itertools.pairwise(tokens))
        known_tokens.update(token for token in tokens if _DIGIT.search(token) and not token.isdigit())
    pieces, last, before = [], 0, ""
    for match in _TOKEN.finditer(rest):
        token = match[0].lower()
        if (before, token) in known_pairs or token in known_tokens:
            pieces.append(rest[last : match.start()])
            last = match.end()
        before = token
    return " ".join([*pieces, rest[last:]])


def _value(text: str) -> float | None:
    """What a number says: 10,000 and 1.2e-4 and 1.2 × 10^-4 and ten thousand."""
    lowered = text.lower().replace("−", "-").strip()
    head = re.match(r"[0-9.,]+", lowered)
    if head is None:
        return _value_of_words(re.split(r"[\s-]+", lowered))
    scaled = re.fullmatch(
        r"([0-9.,]+)(?:\s*[x×*]\s*10\s*\^?\s*(-?[0-9]{1,3})|e([+-]?[0-9]{1,3}))?(?:[\s-]+(hundred|thousand|million|billion))?",
        lowered,
    )
    if scaled is None:
        return None
    power = int(scaled[2] or scaled[3] or 0)
    return float(scaled[1].replace(",", "")) * 10.0**power * _POWERS.get(scaled[4] or "", 1)


def _value_of_words(words: list[str]) -> float:
    total, current = 0.0, 0.0
    for word in words:
        if word in _SMALL or word in _TENS:
            current += _SMALL.get(word, _TENS.get(word, 0))
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _POWERS:
            total += max(current, 1) * _POWERS[word]
            current = 0
    return total + current


def _is_ratio_of(part: float, whole: float, whole_text: str, frequencies: Sequence[float]) -> bool:
    """Whether part in whole is one of the shares: as a number to the digits it is given in, either way round."""
    if part > whole:
        return False
    said = part / whole
    return any(
        share > 0 and (_rounds_to(part / share, whole_text, whole, at_least=2) or abs(said - share) <= 1e-9 * share)
        for share in frequencies
    )


def _rounds_to(fact: float, text: str, said: float, *, at_least: int = 1) -> bool:
    """Whether the fact, rounded to as many significant digits as the text has, is what it says; to `at_least`."""
    digits = re.sub(r"(?:\s*[x×*]\s*10.*|e[+\-−]?[0-9]+.*)$", "", text.lower())
    digits = re.sub(r"[^0-9]", "", digits).lstrip("0")
    if not digits:
        return said == fact if re.search("[0-9]", text) else _near(said, fact, at_least)
    # zeros at the end may be digits or not: 10,000 is one digit or five
    least = max(len(digits.rstrip("0")), at_least)
    return any(_near(said, fact, n) for n in range(least, max(len(digits), least) + 1))


def _near(said: float, fact: float, n_digits: int) -> bool:
    rounded = float(f"{fact:.{n_digits - 1}e}")
    return abs(said - rounded) <= 1e-9 * max(abs(rounded), 1e-12)
