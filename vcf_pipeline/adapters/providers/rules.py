"""The annotator that needs no model and no network: a summary made of the brief's facts alone.

Not here: its sentences (domain/annotation/sentences.py); when it stands in for a provider (router.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.brief import Brief
from vcf_pipeline.domain.annotation.explained import Given

RULES = "rules"


@dataclass(frozen=True)
class RulesAnnotator:
    """summarise: a brief → its answer, None without a single fact. version: of its sentences. Costs nothing."""

    summarise: Callable[[Brief], Answer | None]
    version: str

    def given(self, brief: Brief) -> Given | None:
        answer = self.summarise(brief)
        return None if answer is None else Given(answer, provider=RULES, model=RULES, prompt_version=self.version)
