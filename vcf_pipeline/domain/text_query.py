"""Words that a person searches for → phrases; nothing in them is an operator but a pair of double quotes.

Not here: how a store finds them (adapters/stores/lancedb_annotations.py), filters (query.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vcf_pipeline.domain.errors import UsageError

MOST_PHRASES = 20
LONGEST_TEXT = 400
_PART = re.compile(r'"([^"]*)"?|(\S+)')
_WORD = re.compile(r"[^\W_]+")
_SHORT, _LONG = 3, 8


@dataclass(frozen=True)
class Phrase:
    """text: words as they must follow each other, in lower case, by blanks. slips: letters that may differ (0–2)."""

    text: str
    n_words: int
    slips: int = 0

    def forgiving(self) -> Phrase:
        """One or two letters may differ, in a single word that is long enough for it."""
        slips = 0 if len(self.text) <= _SHORT or self.n_words > 1 else 1 if len(self.text) < _LONG else 2
        return Phrase(self.text, self.n_words, slips)


def phrases(text: str) -> tuple[Phrase, ...]:
    """`BRCA1 "breast cancer" c.68_69delAG` → three phrases, each once; what has no letter or digit is left out.

    Raises UsageError (BAD_TEXT) where nothing is left, or too much is asked.
    """
    if len(text) > LONGEST_TEXT or not text.replace("\t", " ").replace("\n", " ").isprintable():
        raise UsageError(
            code="BAD_TEXT",
            where="words",
            expected=f"up to {LONGEST_TEXT} printable characters",
            got=f"{len(text):,} characters, beginning with {text[:40]!r}",
        )
    found: dict[str, Phrase] = {}
    for match in _PART.finditer(text):
        words = _WORD.findall((match[1] or match[2] or "").lower())
        if words:
            found.setdefault(" ".join(words), Phrase(" ".join(words), len(words)))
    if not 1 <= len(found) <= MOST_PHRASES:
        raise UsageError(
            code="BAD_TEXT",
            where="words",
            expected=f"1 to {MOST_PHRASES} words, or phrases in double quotes",
            got=repr(text[:40]) if not found else f"{len(found)}",
        )
    return tuple(found.values())
