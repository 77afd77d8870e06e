"""Rows of `variants` → evidence columns: what ClinVar, populations, annotation and caller say of each allele.

Here: which INFO keys are known, and how all that speaks is gathered. Keys are looked for among the frame's own columns,
so a file without them gets nulls. Not here: whose claim prevails (heard_claims.py), what registered sources say beside
claims (heard_sources.py), ClinVar's own consequence (quoted_consequences.py), what follows from it all (rules.py,
tiers.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.heard_claims import CLAIM_KEYS, claim_statements, with_claims
from vcf_pipeline.domain.triage.heard_sources import heard_frequencies, source_statements, with_computed, with_gene
from vcf_pipeline.domain.triage.info_values import an_key, as_frequency, as_number
from vcf_pipeline.domain.triage.presets import Voice
from vcf_pipeline.domain.triage.quoted_consequences import QUOTED_KEYS, quoted_statements, with_quoted
from vcf_pipeline.domain.triage.statements import Statement

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
_PLACE = ("contig", "pos", "end", "variant_type")
_EVIDENCE = TRIAGED["evidence"]


def wanted_columns(columns: Iterable[str]) -> list[str]:
    """Those of a `variants` table's columns that triage and the join of sources read, in their order."""
    keys = {OWN_FREQUENCY, *QUOTED_KEYS, *FREQUENCY_KEYS, *(an_key(key) for key in (OWN_FREQUENCY, *FREQUENCY_KEYS))}
    for claim in CLAIM_KEYS:
        keys |= set(claim.all())
    wanted = {"row_id", "record_no", *_PLACE, *_CORE, *(f"info_{key}" for key in keys)}
    return [name for name in columns if name in wanted]


def with_evidence(
    variants: pl.DataFrame, *, has_samples: bool, min_an: int = 2000, voices: Sequence[Voice] = ()
) -> pl.DataFrame:
    """The rows of `variants` with what speaks about them, in the same order.

    variants: as in tables/schemas.py; a column that is absent is read as null. has_samples: of the file.
    min_an: alleles a population must have counted for its frequency to count. voices: registered sources whose columns
    are joined, in order of preference; their claims come before the file's own.

    Adds significance String, stars Int8 0–4 (null where no review status is told), has_pathogenic_claim Boolean
    (claims.py; null without a claim),
    conditions List(String), population_af Float32 0–1 (the largest that counts), is_filtered Boolean (FILTER
    neither PASS nor `.`), is_carried Boolean (null where no allele is called), and
    evidence List(Struct of key, value, source, version). gene, consequence and impact are filled where sources know
    what the file does not say.
    Raises nothing: what cannot be read is no evidence.
    """
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in _CORE.items() if name not in variants.columns]
    frame = with_computed(with_claims(variants.with_columns(absent), voices), voices)
    frame = with_quoted(frame, voices)
    own = _own_frequencies(frame, has_samples=has_samples, min_an=min_an)
    heard = heard_frequencies(frame, voices, min_an)
    carried = pl.when(pl.col("an") > 0).then(pl.col("ac") > 0)
    counting = {f"_af_{key}": expression for key, expression in own.items()}
    counting |= {f"_af_{frequency.column}": frequency.counting for frequency in heard}
    frame = frame.with_columns(
        *(expression.alias(name) for name, expression in counting.items()),
        is_filtered=(pl.col("filter").list.len() > 0).fill_null(False) & (pl.col("filter") != ["PASS"]),
        is_carried=carried if has_samples else pl.lit(None, pl.Boolean),
    ).with_columns(population_af=pl.max_horizontal(pl.lit(None, pl.Float32), *counting))
    statements = [
        *claim_statements(frame, voices),
        *_own_statements(own, voices),
        *quoted_statements(frame, voices),
        *(statement for frequency in heard for statement in frequency.statements(f"_af_{frequency.column}")),
        *source_statements(frame, voices),
        Statement("FILTER", "file", pl.when("is_filtered").then(pl.col("filter").list.join(";", ignore_nulls=True))),
    ]
    frame = with_gene(frame.with_columns(_gathered(frame, statements)), voices)
    return frame.drop(name for name in frame.columns if name.startswith(("_", "@")))


def _own_frequencies(frame: pl.DataFrame, *, has_samples: bool, min_an: int) -> dict[str, pl.Expr]:
    """Key → the frequency where it counts, Float32 0–1, else null. `consequence_af` is the annotation's."""
    found = {"consequence_af": as_frequency(pl.col("consequence_af"))}
    for key in FREQUENCY_KEYS:
        if f"info_{key}" in frame.columns:
            enough = (as_number(frame, an_key(key), pl.Float64()) >= min_an).fill_null(True)
            found[key] = pl.when(enough).then(as_frequency(as_number(frame, key, pl.Float32())))
    if not has_samples and f"info_{OWN_FREQUENCY}" in frame.columns:
        enough = as_number(frame, an_key(OWN_FREQUENCY), pl.Float64()) >= min_an
        found[OWN_FREQUENCY] = pl.when(enough).then(as_frequency(as_number(frame, OWN_FREQUENCY, pl.Float32())))
    return found


def _own_statements(frequencies: Iterable[str], voices: Sequence[Voice]) -> list[Statement]:
    """What the file says beside claims."""
    computing = next((voice for voice in voices if voice.has_consequences), None)
    source, version = (computing.name, computing.version) if computing else ("annotation", None)
    is_own = pl.col("_quoted_by").is_null()
    return [
        Statement("consequence", source, pl.when(is_own).then("consequence"), version),
        Statement("impact", source, pl.when(is_own).then("impact"), version),
        Statement("AF", "annotation", pl.col("_af_consequence_af").cast(pl.String)),
        *(
            Statement(key, "INFO", pl.col(f"_af_{key}").cast(pl.String))
            for key in frequencies
            if key != "consequence_af"
        ),
    ]


def _gathered(frame: pl.DataFrame, statements: Sequence[Statement]) -> pl.Series:
    """Each row's statements as List(Struct of key, value, source, version); empty where nothing speaks.

    Built as one flat column with offsets: polars joins columns of structs to lists at 40,000 rows a second. Texts
    stay views, which nobody has to copy.
    """
    said = frame.select(statement.value.alias(str(at)) for at, statement in enumerate(statements)).get_columns()
    stated = np.column_stack([values.is_not_null().to_numpy() for values in said])
    rows, columns = np.divmod(np.flatnonzero(stated.ravel()), len(statements))
    # in one piece: numbers are looked up ten times slower in many
    values = pl.concat([values.rename("value") for values in said]).rechunk()
    flat = pl.DataFrame(
        {
            "key": pl.Series([statement.key for statement in statements], dtype=pl.String).gather(columns),
            "value": values.gather(columns * frame.height + rows),
            "source": pl.Series([statement.source for statement in statements], dtype=pl.String).gather(columns),
            "version": pl.Series([statement.version for statement in statements], dtype=pl.String).gather(columns),
        }
    )
    offsets = np.concatenate([[0], np.cumsum(stated.sum(axis=1))]).astype(np.int64)
    structs = flat.to_struct("evidence").rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    return pl.Series("evidence", pa.LargeListArray.from_arrays(pa.array(offsets), structs), dtype=_EVIDENCE)
