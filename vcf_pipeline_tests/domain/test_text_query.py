"""Words that are searched for: read forgivingly, bounded, and never an operator."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.domain.text_query import LONGEST_TEXT, MOST_PHRASES, Phrase, phrases


def test_words_and_quoted_phrases_are_told_apart() -> None:
    found = phrases('BRCA1 "Breast cancer" c.68_69delAG BRCA1')
    assert found == (Phrase("brca1", 1), Phrase("breast cancer", 2), Phrase("c 68 69delag", 3))


def test_an_open_quote_ends_with_the_text() -> None:
    assert phrases('"breast can') == (Phrase("breast can", 2),)


def test_a_slip_is_forgiven_by_length_and_in_single_words() -> None:
    slips = [Phrase(text, n).forgiving().slips for text, n in [("tp5", 1), ("brca", 1), ("pathogenic", 1), ("a b", 2)]]
    assert slips == [0, 1, 2, 0]


@pytest.mark.parametrize(
    "text", ["", "  ", "***", '""', "a\x1b[2J", "x" * (LONGEST_TEXT + 1), " ".join(map(str, range(21)))]
)
def test_nothing_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="BAD_TEXT"):
        phrases(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_or_gives_plain_words(text: str) -> None:
    try:
        found = phrases(text)
    except UsageError:
        return
    assert 1 <= len(found) <= MOST_PHRASES
    for phrase in found:
        assert phrase.n_words == len(phrase.text.split(" "))
        assert all(word and word.replace("_", "").isalnum() for word in phrase.text.split(" "))
