"""Texts → vectors by signed feature hashing of words and pieces of words. Lexical: it knows spelling, not meaning.

Offline, and equal on every machine: CRC-32 of UTF-8, whole numbers and one division. Weinberger et al. 2009 is the
method. Not here: models that know meaning (openai_compatible.py).
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

NAME = "hashing-1"
"""Raised with every change that could give a text another vector."""
DIMENSIONS = 384
_WORD = re.compile(r"\w+")
_PIECE = 4
_WORD_WEIGHT = 2.0
_LONGEST_TEXT = 8_000


class HashingEmbedder:
    """Words count twice as much as their pieces of four letters, which bring `cardiomyopathy` near `cardiac`."""

    name = NAME
    is_lexical = True

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float64)
        for row, text in enumerate(texts):
            for feature, weight in _features(text).items():
                code = zlib.crc32(feature.encode())
                vectors[row, (code >> 1) % DIMENSIONS] += weight if code & 1 else -weight
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _features(text: str) -> dict[str, float]:
    """Words as `w:…`, pieces of them as `p:…`; a feature that comes often counts by its square root."""
    counts = Counter(_words(unicodedata.normalize("NFKC", text[:_LONGEST_TEXT]).casefold()))
    return {
        feature: count**0.5 * (_WORD_WEIGHT if feature.startswith("w:") else 1.0) for feature, count in counts.items()
    }


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield f"w:{word}"
        edged = f"^{word}$"
        for start in range(len(edged) - _PIECE + 1):
            yield f"p:{edged[start : start + _PIECE]}"
