"""Who claims what of an allele: registered sources, then the file's own keys, then its annotation; the first prevails.

The file's own claim is stated beside a source's, so that a reader sees where they differ. Not here: the meaning of
ClinVar's words (claims.py), which keys a preset has (presets.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.domain.triage.claims import read_claim
from vcf_pipeline.domain.triage.info_values import ClaimKeys, as_text, clinvar_keys
from vcf_pipeline.domain.triage.presets import PRESETS, Voice
from vcf_pipeline.domain.triage.statements import Statement

CLAIM_KEYS: tuple[ClaimKeys, ...] = (
    clinvar_keys(),
    *(clinvar_keys(prefix) for prefix in ("ClinVar_", "clinvar_", "CLINVAR_")),
    ClaimKeys("CLINICAL_SIGNIFICANCE", "REVIEW_STATUS", "CLINICAL_SIGNIFICANCE_ORDERED", ("ALL_TRAITS",)),
)
"""In order of preference: the first key with a value speaks."""

ANNOTATED_CLAIM = "CLIN_SIG"
"""What VEP's annotation says: of the place, perhaps of another allele, and with no review status."""
CLAIM_KEY_NAMES = (*(keys.significance for keys in CLAIM_KEYS), ANNOTATED_CLAIM)
"""Keys of a claim in evidence. Of those that a row states the first is the one that prevails."""
_UNNAMED = ("not provided", "not specified", "", ".", "see cases", "AllHighlyPenetrant")


@dataclass(frozen=True)
class _Claimant:
    """Whose columns `_PART_AT` are."""

    at: int
    keys: ClaimKeys
    source: str
    version: str | None

    @property
    def key(self) -> str:
        return self.keys.significance

    def column(self, part: str) -> pl.Expr:
        return pl.col(f"_{part}_{self.at}")


def has_claimants(columns: Iterable[str], header: str, presets: Iterable[str]) -> bool:
    """Whether anybody is there who could claim something: a registered source, a key of the file, its annotation.

    columns: of `variants`. header: of the file. presets: of the sources that are joined.
    """
    keys = {f"info_{keys.significance}" for keys in CLAIM_KEYS}
    is_annotated = ANNOTATED_CLAIM.lower() in header.lower()
    return is_annotated or bool(keys & {*columns}) or any(PRESETS[name].claim is not None for name in presets)


def with_claims(frame: pl.DataFrame, voices: Sequence[Voice]) -> pl.DataFrame:
    """Adds significance, stars, has_pathogenic_claim and conditions; and columns for `claim_statements`."""
    heard, own = _claimants(frame, voices)
    frame = _with_texts(frame, heard, own)
    everyone = [*heard, *own]

    def of_speaker(part: str) -> pl.Expr:
        texts = [pl.when(pl.col("_speaker") == one.at).then(one.column(part)) for one in everyone]
        return pl.coalesce(*texts, pl.lit(None, pl.String))

    # what the file names as conditions holds for whatever it claims; a source's are its own
    own_conditions = pl.coalesce(*(one.column("conditions") for one in own), pl.lit(None, pl.String))
    is_heard = (pl.col("_speaker") < len(heard)).fill_null(False)
    frame = frame.with_columns(
        _claim=pl.coalesce(of_speaker("significance"), "_annotated"),
        _review=of_speaker("review"),
        _detail=of_speaker("detail"),
        _condition_text=pl.when(is_heard).then(of_speaker("conditions")).otherwise(own_conditions),
    )
    return _with_conditions(_with_readings(frame))


def claim_statements(frame: pl.DataFrame, voices: Sequence[Voice]) -> list[Statement]:
    """What each claimant said. frame: of `with_claims`."""
    heard, own = _claimants(frame, voices)
    said = []
    for one in heard:
        review = pl.when(one.column("significance").is_not_null()).then(one.column("review"))
        said.append(Statement(one.key, one.source, one.column("significance"), one.version))
        said.append(Statement("review_status", one.source, review, one.version))
    speaks = [(one, pl.col("_own_speaker") == one.at) for one in own]
    said += [Statement(one.key, "INFO", pl.when(it).then(one.column("significance"))) for one, it in speaks]
    reviews = [pl.when(it).then(one.column("review")) for one, it in speaks]
    said.append(Statement("review_status", "INFO", pl.coalesce(*reviews, pl.lit(None, pl.String))))
    annotated = pl.when(pl.col("_own_speaker").is_null()).then("_annotated")
    return [*said, Statement(ANNOTATED_CLAIM, "annotation", annotated)]


def _claimants(frame: pl.DataFrame, voices: Sequence[Voice]) -> tuple[list[_Claimant], list[_Claimant]]:
    """(registered sources, the file's own keys), in order of preference."""
    claiming = [(voice, voice.preset.claim) for voice in voices if voice.preset.claim is not None]
    heard = [_Claimant(at, keys, voice.name, voice.version) for at, (voice, keys) in enumerate(claiming)]
    spoken = [keys for keys in CLAIM_KEYS if f"info_{keys.significance}" in frame.columns]
    own = [_Claimant(at, keys, "INFO", None) for at, keys in enumerate(spoken, len(heard))]
    return heard, own


def _with_texts(frame: pl.DataFrame, heard: Sequence[_Claimant], own: Sequence[_Claimant]) -> pl.DataFrame:
    """Adds each claimant's parts as text, `_annotated`, `_own_speaker` and `_speaker` (its number, else null)."""
    columns: list[pl.Expr] = []
    for one in [*heard, *own]:

        def text(key: str, one: _Claimant = one) -> pl.Expr:
            return as_text(frame, key) if one.source == "INFO" else pl.col(f"@{one.source}/{key}")

        keys = one.keys
        parts = {"significance": keys.significance, "review": keys.review, "detail": keys.detail}
        columns += [text(key).alias(f"_{part}_{one.at}") for part, key in parts.items()]
        columns.append(pl.coalesce(*map(text, keys.conditions)).alias(f"_conditions_{one.at}"))
    frame = frame.with_columns(
        *columns, _annotated=pl.col("consequence_clin_sig").list.join("&", ignore_nulls=True).replace("", None)
    )
    frame = frame.with_columns(_silence(frame, f"_significance_{one.at}") for one in heard)

    def first_of(claimants: Sequence[_Claimant]) -> pl.Expr:
        spoken = [pl.when(one.column("significance").is_not_null()).then(one.at) for one in claimants]
        return pl.coalesce(*spoken, pl.lit(None, pl.Int32))

    return frame.with_columns(_own_speaker=first_of(own), _speaker=first_of([*heard, *own]))


def _silence(frame: pl.DataFrame, column: str) -> pl.Expr:
    """The column without texts that state nothing (`not_provided`): the next claimant is heard then."""
    silent = [text for text in frame[column].unique().drop_nulls() if read_claim(text, None) is None]
    return pl.when(~pl.col(column).is_in(silent)).then(column).alias(column)


def _with_readings(frame: pl.DataFrame) -> pl.DataFrame:
    texts = ["_claim", "_review", "_detail"]
    # a file has millions of rows and a few hundred different texts: each text is read once
    distinct = frame.select(texts).filter(pl.col("_claim").is_not_null()).unique()
    claims = [read_claim(*row) for row in distinct.iter_rows()]
    read = distinct.with_columns(
        pl.Series("significance", [claim and claim.significance for claim in claims], pl.String),
        pl.Series("stars", [claim and claim.stars for claim in claims], pl.Int8),
        pl.Series("has_pathogenic_claim", [claim and claim.has_pathogenic for claim in claims], pl.Boolean),
    )
    return frame.join(read, on=texts, how="left", nulls_equal=True, maintain_order="left")


def _with_conditions(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds conditions: the names that the claim is about, readable, each once; null where none is named.

    ClinVar joins names by `|` and writes `_` for a space; a comma is part of a name (Number=. cuts there).
    """
    frame = frame.with_columns(_names=pl.when(pl.col("significance").is_not_null()).then("_condition_text"))
    readable = pl.col("_names").str.replace_all("..", ", ", literal=True).str.replace_all(r"[_ ]+", " ")
    names = readable.str.split("|").list.unique(maintain_order=True)
    named = names.list.eval(pl.element().filter(~pl.element().is_in(_UNNAMED)))
    distinct = frame.select(pl.col("_names").drop_nulls().unique())
    read = distinct.select("_names", conditions=pl.when(named.list.len() > 0).then(named))
    return frame.join(read, on="_names", how="left", maintain_order="left")
