"""Rows of `variants` → evidence columns: what ClinVar, populations, annotation and caller say of each allele.

Here: which INFO keys are known, in which of their types. They are looked for among the frame's own columns,
so a file without them gets nulls. Not here: the meaning of ClinVar's words (claims.py), what follows from the
evidence (rules.py, tiers.py), and sources that a lab registers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.claims import read_claim


@dataclass(frozen=True)
class ClaimKeys:
    """INFO keys of one claim: significance, review status, what the submitters said, conditions."""

    significance: str
    review: str
    detail: str
    conditions: tuple[str, ...]


def _clinvar_keys(prefix: str = "") -> ClaimKeys:
    return ClaimKeys(
        f"{prefix}CLNSIG", f"{prefix}CLNREVSTAT", f"{prefix}CLNSIGCONF", (f"{prefix}CLNDN", f"{prefix}CLNDBN")
    )


CLAIM_KEYS: tuple[ClaimKeys, ...] = (
    _clinvar_keys(),
    *(_clinvar_keys(prefix) for prefix in ("ClinVar_", "clinvar_", "CLINVAR_")),
    ClaimKeys("CLINICAL_SIGNIFICANCE", "REVIEW_STATUS", "CLINICAL_SIGNIFICANCE_ORDERED", ("ALL_TRAITS",)),
)
"""In order of preference: the first key with a value speaks."""

FREQUENCY_KEYS: tuple[str, ...] = (
    *("gnomAD_AF", "gnomADe_AF", "gnomADg_AF", "gnomad_AF", "gnomad_af", "GNOMAD_AF", "gnomAD_AF_popmax"),
    *("gnomad_AF_popmax", "gnomAD_exome_AF", "gnomAD_genome_AF", "gnomad_exome_AF", "gnomad_genome_AF"),
    *("gnomad_popmax_af", "gnomadAF", "gnomadAF_popmax", "GNOMADAF", "GNOMADAF_POPMAX", "GNOMADAF_popmax"),
    *("AF_popmax", "AF_POPMAX", "AF_grpmax", "popmax_AF"),
    *("EXACAF", "EXAC_AF", "ExAC_AF", "AF_EXAC", "EXACMAX_AF", "EXACMAXAF"),
    *(
        "1000GAF",
        "1000G_AF",
        "1000G_MAX_AF",
        "1000GP_AF",
        "AF_TGP",
        "AF_ESP",
        "TOPMED_AF",
        "SWEGENAF",
        "SWEREFAF",
    ),
    "MAX_AF",
)
"""INFO keys of a population's frequency, whoever wrote the file. Where the file has their AN, it must do."""

OWN_FREQUENCY = "AF"
"""A population's frequency only in a file without samples whose AN says how many alleles it counts."""

_CORE: dict[str, pl.DataType] = {
    "alt_index": pl.Int16(),
    "variant_key": pl.String(),
    "qual": pl.Float32(),
    "filter": pl.List(pl.String()),
    "gene": pl.String(),
    "consequence": pl.String(),
    "impact": pl.String(),
    "consequence_af": pl.Float32(),
    "consequence_clin_sig": pl.List(pl.String()),
    "an": pl.Int32(),
    "ac": pl.Int32(),
}
_EVIDENCE = TRIAGED["evidence"]
_UNNAMED = ("not provided", "not specified", "", ".", "see cases", "AllHighlyPenetrant")


def wanted_columns(columns: Iterable[str]) -> list[str]:
    """Those of a `variants` table's columns that triage reads, in their order."""
    keys = {OWN_FREQUENCY, *FREQUENCY_KEYS, *(_an_key(key) for key in (OWN_FREQUENCY, *FREQUENCY_KEYS))}
    for claim in CLAIM_KEYS:
        keys |= {claim.significance, claim.review, claim.detail, *claim.conditions}
    wanted = {"row_id", "record_no", *_CORE, *(f"info_{key}" for key in keys)}
    return [name for name in columns if name in wanted]


def with_evidence(variants: pl.DataFrame, *, has_samples: bool, min_an: int = 2000) -> pl.DataFrame:
    """The rows of `variants` with what speaks about them, in the same order.

    variants: as in tables/schemas.py; a column that is absent is read as null. has_samples: of the file.
    min_an: alleles a population must have counted for its frequency to count.

    Adds significance String, stars Int8 0–4, has_pathogenic_claim Boolean (claims.py; null without a claim),
    conditions List(String), population_af Float32 0–1 (the largest that counts), is_filtered Boolean (FILTER
    neither PASS nor `.`), is_carried Boolean (null where no allele is called), and
    evidence List(Struct of key, value, source).
    Raises nothing: what cannot be read is no evidence.
    """
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in _CORE.items() if name not in variants.columns]
    frame = _with_claims(variants.with_columns(absent))
    frequencies = _frequencies(frame, has_samples=has_samples, min_an=min_an)
    carried = pl.when(pl.col("an") > 0).then(pl.col("ac") > 0)
    frame = frame.with_columns(
        *(expression.alias(f"_af_{key}") for key, expression in frequencies.items()),
        is_filtered=(pl.col("filter").list.len() > 0).fill_null(False) & (pl.col("filter") != ["PASS"]),
        is_carried=carried if has_samples else pl.lit(None, pl.Boolean),
    ).with_columns(population_af=pl.max_horizontal(pl.lit(None, pl.Float32), *(f"_af_{key}" for key in frequencies)))
    frame = frame.with_columns(_gathered(frame, list(frequencies)))
    return frame.drop(name for name in frame.columns if name.startswith("_"))


# --- claims


def _with_claims(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `_claim`, `_review`, `_claim_key`, what claims.py reads from them, and conditions."""
    frame = _with_claim_texts(frame)
    texts = ["_claim", "_review", "_detail"]
    # a file has millions of rows and a few hundred different texts: each text is read once
    distinct = frame.select(texts).filter(pl.col("_claim").is_not_null()).unique()
    claims = [read_claim(*row) for row in distinct.iter_rows()]
    read = distinct.with_columns(
        pl.Series("significance", [claim and claim.significance for claim in claims], pl.String),
        pl.Series("stars", [claim and claim.stars for claim in claims], pl.Int8),
        pl.Series("has_pathogenic_claim", [claim and claim.has_pathogenic for claim in claims], pl.Boolean),
    )
    return _with_conditions(frame.join(read, on=texts, how="left", nulls_equal=True, maintain_order="left"))


def _with_claim_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Claim, review status and detail as text, of the first key that speaks; the annotation's words last."""
    spoken = [keys for keys in CLAIM_KEYS if f"info_{keys.significance}" in frame.columns]
    needed = {key for keys in spoken for key in (keys.significance, keys.review, keys.detail)}
    frame = frame.with_columns(
        *(_as_text(frame, key).alias(f"_text_{key}") for key in sorted(needed)),
        _annotated=pl.col("consequence_clin_sig").list.join("&", ignore_nulls=True).replace("", None),
    )
    source = pl.coalesce(
        *(pl.when(pl.col(f"_text_{keys.significance}").is_not_null()).then(at) for at, keys in enumerate(spoken)),
        pl.lit(None, pl.Int32),
    )
    frame = frame.with_columns(_source=source)

    def of_source(part: str) -> pl.Expr:
        texts = ((at, pl.col(f"_text_{getattr(keys, part)}")) for at, keys in enumerate(spoken))
        return pl.coalesce(
            *(pl.when(pl.col("_source") == at).then(text) for at, text in texts), pl.lit(None, pl.String)
        )

    return frame.with_columns(
        _claim=pl.coalesce(of_source("significance"), "_annotated"),
        _review=of_source("review"),
        _detail=of_source("detail"),
        _claim_key=pl.col("_source").replace_strict(
            list(range(len(spoken))),
            [keys.significance for keys in spoken],
            default=None,
            return_dtype=pl.String,
        ),
    )


def _as_text(frame: pl.DataFrame, key: str) -> pl.Expr:
    """An INFO column of any type as the text that the file has; null where it is absent or empty."""
    column = f"info_{key}"
    if column not in frame.columns:
        return pl.lit(None, pl.String)
    if isinstance(frame.schema[column], pl.List):
        text = pl.col(column).cast(pl.List(pl.String)).list.join(",", ignore_nulls=True)
    else:
        text = pl.col(column).cast(pl.String)
    return text.replace(["", "."], [None, None])


def _with_conditions(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds conditions: the names that the claim is about, readable, each once; null where none is named.

    ClinVar joins names by `|` and writes `_` for a space; a comma is part of a name (Number=. cuts there).
    """
    text = pl.coalesce(
        pl.lit(None, pl.String), *(_as_text(frame, key) for keys in CLAIM_KEYS for key in keys.conditions)
    )
    frame = frame.with_columns(_names=pl.when(pl.col("significance").is_not_null()).then(text))
    readable = pl.col("_names").str.replace_all("..", ", ", literal=True).str.replace_all(r"[_ ]+", " ")
    names = readable.str.split("|").list.unique(maintain_order=True)
    named = names.list.eval(pl.element().filter(~pl.element().is_in(_UNNAMED)))
    distinct = frame.select(pl.col("_names").drop_nulls().unique())
    read = distinct.select("_names", conditions=pl.when(named.list.len() > 0).then(named))
    return frame.join(read, on="_names", how="left", maintain_order="left")


# --- population frequencies


def _frequencies(frame: pl.DataFrame, *, has_samples: bool, min_an: int) -> dict[str, pl.Expr]:
    """Key → the frequency where it counts, Float32 0–1, else null. `consequence_af` is the annotation's."""
    found = {"consequence_af": _as_frequency(pl.col("consequence_af"))}
    for key in FREQUENCY_KEYS:
        if f"info_{key}" in frame.columns:
            enough = (_number(frame, _an_key(key), pl.Float64()) >= min_an).fill_null(True)
            found[key] = pl.when(enough).then(_as_frequency(_number(frame, key, pl.Float32())))
    if not has_samples and f"info_{OWN_FREQUENCY}" in frame.columns:
        enough = _number(frame, _an_key(OWN_FREQUENCY), pl.Float64()) >= min_an
        found[OWN_FREQUENCY] = pl.when(enough).then(_as_frequency(_number(frame, OWN_FREQUENCY, pl.Float32())))
    return found


def _as_frequency(number: pl.Expr) -> pl.Expr:
    return pl.when(number.is_between(0, 1)).then(number).cast(pl.Float32)


def _an_key(key: str) -> str:
    """The key that counts the alleles of a frequency's key: gnomAD_AF → gnomAD_AN, AF_popmax → AN_popmax."""
    return re.sub(r"(A|a)(F|f)(?=_|$)", lambda found: found[1] + ("N" if found[2] == "F" else "n"), key, count=1)


def _number(frame: pl.DataFrame, key: str, dtype: pl.DataType) -> pl.Expr:
    """An INFO column of any type as one number for each allele; null where it is absent or no number.

    A list of one is for all alleles; of a longer one each allele takes its own, so that a rare allele never
    inherits the frequency of a common one beside it.
    """
    column = f"info_{key}"
    if column not in frame.columns or frame.schema[column] == pl.Boolean:
        return pl.lit(None, dtype)
    values = pl.col(column)
    if frame.schema[column] == pl.String:
        if not frame[column].str.contains(",", literal=True).any():
            return values.cast(dtype, strict=False)
        values = values.str.split(",")
    elif not isinstance(frame.schema[column], pl.List):
        return values.cast(dtype, strict=False)
    own = values.list.get(pl.col("alt_index").cast(pl.Int64) - 1, null_on_oob=True)
    one = pl.when(values.list.len() == 1).then(values.list.first()).when(pl.col("alt_index") > 0).then(own)
    return one.cast(dtype, strict=False)


# --- what was said


def _gathered(frame: pl.DataFrame, frequencies: list[str]) -> pl.Series:
    """Each row's statements as List(Struct of key, value, source); empty where nothing speaks.

    Built as one flat column with offsets: polars joins columns of structs to lists at 40,000 rows a second.
    """
    statements = _statements(frame, frequencies)
    stated = np.column_stack([values.is_not_null().to_numpy() for _, _, values in statements])
    rows, columns = np.nonzero(stated)
    keys = pl.Series([key for key, _, _ in statements], dtype=pl.String)
    sources = pl.Series([source for _, source, _ in statements], dtype=pl.String)
    values = pl.concat([values.rename("value") for _, _, values in statements])
    flat = pl.DataFrame(
        {
            "key": keys.gather(columns),
            "value": values.gather(columns * frame.height + rows),
            "source": sources.gather(columns),
            "version": pl.repeat(None, len(columns), dtype=pl.String, eager=True),
        }
    )
    offsets = np.concatenate([[0], np.cumsum(stated.sum(axis=1))]).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), flat.to_struct("evidence").to_arrow())
    return pl.Series("evidence", lists, dtype=_EVIDENCE)


def _statements(frame: pl.DataFrame, frequencies: list[str]) -> list[tuple[str, str, pl.Series]]:
    """(key, source, String values) of all that may be said; a value is null where it is not."""
    claims = [key for key in frame["_claim_key"].unique() if key is not None]
    said = [
        *((key, "INFO", pl.when(pl.col("_claim_key") == key).then("_claim")) for key in sorted(claims)),
        ("review_status", "INFO", pl.col("_review")),
        ("CLIN_SIG", "annotation", pl.when(pl.col("_claim_key").is_null()).then("_claim")),
        ("consequence", "annotation", pl.col("consequence")),
        ("impact", "annotation", pl.col("impact")),
        ("AF", "annotation", pl.col("_af_consequence_af").cast(pl.String)),
        *((key, "INFO", pl.col(f"_af_{key}").cast(pl.String)) for key in frequencies if key != "consequence_af"),
        ("FILTER", "file", pl.when("is_filtered").then(pl.col("filter").list.join(";", ignore_nulls=True))),
    ]
    read = frame.select(value.alias(str(at)) for at, (_, _, value) in enumerate(said))
    return [(key, source, read[str(at)]) for at, (key, source, _) in enumerate(said)]
