"""A model's text → an answer that rests on the brief's facts, or the list of what is wrong with it.

Not here: what is asked (prompts.py); what is done with a bad answer (adapters/providers/router.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from vcf_pipeline.domain.annotation.brief import Brief


@dataclass(frozen=True)
class Answer:
    """summary: plain text, one or two sentences. cited: keys of facts of the brief, at least one.

    reading: the model's word, of claims.SIGNIFICANCES or NO_CLAIM. It is shown, and never becomes the label.
    """

    summary: str
    cited: tuple[str, ...]
    reading: str


def read_answer(text: str, brief: Brief) -> Answer:
    """Raises BadAnswer with every problem found: shape, citations, numbers, what may not be said."""
    raise NotImplementedError
