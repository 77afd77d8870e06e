"""Vectors from words alone: the same everywhere, alike where words are, never of nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.adapters.embedders.hashing import DIMENSIONS, HashingEmbedder


def likeness(left: str, right: str) -> float:
    vectors = HashingEmbedder().embed([left, right])
    return float(vectors[0] @ vectors[1])


def test_what_shares_words_or_their_stems_is_nearer_than_what_does_not() -> None:
    same = likeness("hereditary breast cancer", "breast cancer, hereditary")
    stem = likeness("cardiomyopathy", "cardiomyopathies")
    other = likeness("hereditary breast cancer", "cystic fibrosis")
    assert same > 0.9
    assert stem > 0.5
    assert abs(other) < 0.2


def test_it_knows_spelling_and_no_meaning() -> None:
    assert abs(likeness("renal", "kidney")) < 0.2
    assert HashingEmbedder().is_lexical


def test_another_process_makes_the_same_vector() -> None:
    """Python's own hash of a text differs from process to process."""
    program = (
        "from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder as H;"
        "v = H().embed(['BRCA1 p.Glu23fs naïve'])[0]; print([(int(i), round(float(v[i]), 6)) for i in v.nonzero()[0]])"
    )
    told = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    vector = HashingEmbedder().embed(["BRCA1 p.Glu23fs naïve"])[0]
    assert told == {f"{[(int(i), round(float(vector[i]), 6)) for i in vector.nonzero()[0]]}\n"}


def test_the_vector_of_a_text_is_the_one_that_is_written_here() -> None:
    """Stored vectors would no longer be of their texts: whoever changes this raises NAME."""
    vector = HashingEmbedder().embed(["BRCA1"])[0]
    found = sorted((int(place), round(float(vector[place]), 4)) for place in vector.nonzero()[0])
    assert found == [(6, -0.3536), (71, 0.7071), (172, 0.3536), (238, -0.3536), (379, 0.3536)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_text_has_a_vector_of_length_one_or_none(texts: list[str]) -> None:
    vectors = HashingEmbedder().embed(texts)
    assert vectors.shape == (len(texts), DIMENSIONS)
    assert vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert all(abs(length - 1) < 1e-5 or length == 0 for length in lengths)
