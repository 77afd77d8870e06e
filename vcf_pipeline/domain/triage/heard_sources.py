"""What registered sources say beside claims: frequencies, identifiers, genes, computed consequences, fields asked for.

Their columns stand in the frame as `Voice.column` names them. Not here: the join (joins.py), claims (heard_claims.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.domain.triage.info_values import an_key
from vcf_pipeline.domain.triage.presets import ALLELE_KINDS, GENE_INFO, OVERLAP, Voice
from vcf_pipeline.domain.triage.statements import Statement

IS_PASSING = "is_passing"
NOT_COUNTED = "_not_counted"


@dataclass(frozen=True)
class HeardFrequency:
    """counting: Float32 0–1 where it counts as a population's, else null."""

    voice: Voice
    key: str
    counting: pl.Expr

    @property
    def column(self) -> str:
        return self.voice.column(self.key)

    def statements(self, counted: str) -> list[Statement]:
        """Under its own key where it counts, else as not counted; where AN decides, with it. counted: a column."""
        name, version = self.voice.name, self.voice.version
        aside = pl.when(pl.col(counted).is_null()).then(pl.col(self.column))
        said = [
            Statement(self.key, name, pl.col(counted).cast(pl.String), version),
            Statement(self.key + NOT_COUNTED, name, aside.cast(pl.String), version),
        ]
        if self.voice.preset.needs_an:
            an = pl.when(pl.col(self.column).is_not_null()).then(pl.col(self.voice.column(an_key(self.key))))
            said.append(Statement(an_key(self.key), name, an.cast(pl.String), version))
        return said


def heard_frequencies(frame: pl.DataFrame, voices: Sequence[Voice], min_an: int) -> list[HeardFrequency]:
    """Every frequency of every source that the frame has a column of."""
    found = []
    for voice in voices:
        for key in voice.preset.frequencies:
            if voice.column(key) not in frame.columns:
                continue
            enough = (pl.col(voice.column(an_key(key))) >= min_an).fill_null(not voice.preset.needs_an)
            if voice.preset.passing_only:
                enough = enough & pl.col(voice.column(IS_PASSING)).fill_null(False)
            found.append(HeardFrequency(voice, key, pl.when(enough).then(pl.col(voice.column(key)))))
    return found


def source_statements(frame: pl.DataFrame, voices: Sequence[Voice]) -> list[Statement]:
    """Identifiers, fields asked for, names of intervals, and the gene where the file names none."""
    said = []
    for voice in voices:
        if voice.kind in ALLELE_KINDS:
            keys = dict.fromkeys([*voice.preset.identifiers, *voice.preset.also, *voice.more])
            columns = [(key, pl.col(voice.column(key))) for key in keys if voice.column(key) in frame.columns]
        elif voice.preset.is_gene_model:
            columns = [("gene", pl.when(pl.col("gene").is_null()).then(pl.col(voice.column(OVERLAP))))]
        else:
            columns = [(OVERLAP, pl.col(voice.column(OVERLAP)))]
        said += [Statement(key, voice.name, value.cast(pl.String), voice.version) for key, value in columns]
    return said


def with_computed(frame: pl.DataFrame, voices: Sequence[Voice]) -> pl.DataFrame:
    """consequence, impact and gene of the gene model that they were computed from, where the file has none."""
    computing = [voice for voice in voices if voice.has_consequences]
    return frame.with_columns(
        pl.coalesce(name, *(pl.col(voice.column(f"computed_{name}")) for voice in computing)).alias(name)
        for name in ("consequence", "impact", "gene")
    )


def with_gene(frame: pl.DataFrame, voices: Sequence[Voice]) -> pl.DataFrame:
    """gene: where the file names none, the best that a gene model has there, else the first that ClinVar names."""
    models = [pl.col(voice.column("gene")) for voice in voices if voice.preset.is_gene_model]
    named = [voice.column(GENE_INFO) for voice in voices if GENE_INFO in voice.preset.also]
    # as in ISG15:9636|AGRN:375790, symbol and number in NCBI's Gene
    first = [pl.col(name).str.extract(r"^([^:|,]+)") for name in named if frame.schema.get(name) == pl.String]
    return frame.with_columns(gene=pl.coalesce("gene", *models, *first))
