"""A last resort: the consequence that ClinVar gives of an allele, where neither annotation nor gene model gives one.

ClinVar's `MC`, in the file itself or in a registered source, and the `MOLECULAR_CONSEQUENCE` of MacArthur's ClinVar. It
is NCBI's reading of the allele and no submitter's claim, so that it holds where claims are silent or left out.
Not here: the rank and impact of terms (vcf/so_terms.py), computed consequences (heard_sources.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.domain.triage.info_values import as_text
from vcf_pipeline.domain.triage.presets import Voice
from vcf_pipeline.domain.triage.statements import Statement
from vcf_pipeline.domain.vcf.so_terms import IMPACT, RANK

QUOTED_KEYS = ("MC", "ClinVar_MC", "clinvar_MC", "CLINVAR_MC", "MOLECULAR_CONSEQUENCE")
"""INFO keys, in order of preference: `SO:0001583|missense_variant,…` and `NM_198576.3:c.67G>C:missense_variant|…`."""

CLINVARS_WORDS: dict[str, str] = {
    "nonsense": "stop_gained",
    # a change of ATG is a change of methionine: what else it may be, SnpEff's term of that name, ClinVar does not say
    "initiator_codon_variant": "start_lost",
    "initiatior_codon_variant": "start_lost",
    "inframe_indel": "protein_altering_variant",
    "inframe_variant": "protein_altering_variant",
    "non-coding_transcript_variant": "non_coding_transcript_variant",
    "2KB_upstream_variant": "upstream_gene_variant",
    "upstream_transcript_variant": "upstream_gene_variant",
    "genic_upstream_transcript_variant": "upstream_gene_variant",
    "500B_downstream_variant": "downstream_gene_variant",
    "downstream_transcript_variant": "downstream_gene_variant",
    "genic_downstream_transcript_variant": "downstream_gene_variant",
}


@dataclass(frozen=True)
class _Quoter:
    """Who gives a consequence under which key; the columns that `with_quoted` adds are `_quoted_AT` and `_term_AT`."""

    at: int
    key: str
    source: str
    version: str | None
    text: pl.Expr


def quoted_term(text: str) -> str | None:
    """The worst consequence that the text names, a term of so_terms.RANK; None where it names none that is known."""
    words = (part.rpartition(":")[2] for part in re.split(r"[|,&]", text))
    terms = [term for word in words if (term := CLINVARS_WORDS.get(word, word)) in RANK]
    return min(terms, key=lambda term: RANK[term]) if terms else None


def with_quoted(frame: pl.DataFrame, voices: Sequence[Voice]) -> pl.DataFrame:
    """consequence and impact filled where a row has neither, by the first that names a term which is known.

    The file's own keys come before sources. Adds columns for `quoted_statements`.
    """
    quoters = _quoters(frame, voices)
    if not quoters:
        return frame.with_columns(_quoted_by=pl.lit(None, pl.Int32))
    frame = frame.with_columns(one.text.alias(f"_quoted_{one.at}") for one in quoters)
    frame = frame.with_columns(_terms(frame[f"_quoted_{one.at}"]).alias(f"_term_{one.at}") for one in quoters)
    is_open = pl.col("consequence").is_null() & pl.col("impact").is_null()
    term = pl.coalesce(*(f"_term_{one.at}" for one in quoters))
    by = [pl.when(pl.col(f"_term_{one.at}").is_not_null()).then(one.at) for one in quoters]
    frame = frame.with_columns(
        _term=pl.when(is_open).then(term),
        _quoted_by=pl.when(is_open).then(pl.coalesce(*by)),
    )
    impact = pl.col("_term").replace_strict(IMPACT, default=None, return_dtype=pl.String)
    return frame.with_columns(consequence=pl.coalesce("consequence", "_term"), impact=pl.coalesce("impact", impact))


def quoted_statements(frame: pl.DataFrame, voices: Sequence[Voice]) -> list[Statement]:
    """Of who was heard: its own words, and what was read of them. frame: of `with_quoted`."""
    return [
        Statement(key, one.source, pl.when(pl.col("_quoted_by") == one.at).then(column), one.version)
        for one in _quoters(frame, voices)
        for key, column in ((one.key, f"_quoted_{one.at}"), ("consequence", "consequence"), ("impact", "impact"))
    ]


def _quoters(frame: pl.DataFrame, voices: Sequence[Voice]) -> list[_Quoter]:
    """In order of preference; a source that was added before its preset had the field has no such column."""
    found: list[tuple[str, str, str | None, pl.Expr]] = [
        (key, "INFO", None, as_text(frame, key)) for key in QUOTED_KEYS if f"info_{key}" in frame.columns
    ]
    for voice in voices:
        key = voice.preset.consequence
        if key is not None and voice.column(key) in frame.columns:
            found.append((key, voice.name, voice.version, pl.col(voice.column(key))))
    return [_Quoter(at, *one) for at, one in enumerate(found)]


def _terms(texts: pl.Series) -> pl.Series:
    # millions of rows have a few hundred different texts: each is read once
    distinct = texts.unique().drop_nulls().to_list()
    read = {text: quoted_term(text) for text in distinct}
    return texts.replace_strict(read, default=None, return_dtype=pl.String)
