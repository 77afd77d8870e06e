"""What an embedder promises. Not here: which texts are embedded (domain/projections), where vectors are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Texts → vectors. A text that two embedders, or two versions of one, make a vector of gives two."""

    @property
    def name(self) -> str:
        """Names whatever decides a vector, as in "hashing-1" or "openai/text-embedding-3-small"."""
        ...

    @property
    def is_lexical(self) -> bool:
        """Likeness is of words and spelling alone, not of meaning."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row per text, float32, of length 1 (of length 0 for a text without words); the same width every time.

        Raises ProviderUnavailable, ProviderRefused, BadAnswer.
        """
        ...
