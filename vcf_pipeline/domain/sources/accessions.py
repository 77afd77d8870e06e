"""RefSeq accessions of human chromosomes, as dbSNP names its contigs → bare names, by assembly.

Source: the assemblies' reports at NCBI (GCF_000001405.25 and .40). Not here: names with or without `chr`, which only
people write (variant_text.py) or files have (search_rows.py).
"""

from __future__ import annotations

import polars as pl

_NAMES = (*(str(number) for number in range(1, 23)), "X", "Y")
_GRCH37_VERSIONS = (10, 11, 11, 11, 9, 11, 13, 10, 11, 10, 9, 11, 10, 8, 9, 9, 10, 9, 9, 10, 8, 10, 10, 9)
_MITOCHONDRION = {"NC_012920.1": "M"}

BARE_BY_ACCESSION: dict[str, dict[str, str]] = {
    "GRCh37": {
        **{f"NC_{at:06d}.{_GRCH37_VERSIONS[at - 1]}": name for at, name in enumerate(_NAMES, 1)},
        **_MITOCHONDRION,
    },
    # each chromosome's version went up by one
    "GRCh38": {
        **{f"NC_{at:06d}.{_GRCH37_VERSIONS[at - 1] + 1}": name for at, name in enumerate(_NAMES, 1)},
        **_MITOCHONDRION,
    },
}


def read_accession(contig: str) -> tuple[str, str | None] | None:
    """(bare name, assembly) of an accession with its version; the assembly is None where both have it (M)."""
    found = [(names[contig], assembly) for assembly, names in BARE_BY_ACCESSION.items() if contig in names]
    return None if not found else found[0] if len(found) == 1 else (found[0][0], None)


def accession_keys(key: str) -> list[str]:
    """The variant_key as a callset has it whose contigs are accessions, of either assembly. key: with a bare contig."""
    contig, _, rest = key.partition("-")
    named = (name for names in BARE_BY_ACCESSION.values() for name, bare in names.items() if bare == contig)
    return [f"{name}-{rest}" for name in dict.fromkeys(named)]


def bare_key(key: str) -> str:
    """The variant_key with a bare contig."""
    contig, dash, rest = key.partition("-")
    found = read_accession(contig)
    return key if found is None else f"{found[0]}{dash}{rest}"


def with_bare_names(frame: pl.DataFrame, assembly: str | None) -> pl.DataFrame:
    """contig and variant_key with the accessions of this assembly replaced; all other names stay.

    frame: contig String, and variant_key String where it has one.
    """
    known = BARE_BY_ACCESSION.get(assembly or "", {})
    there = [name for name in frame["contig"].unique().to_list() if name in known]
    if not there:
        return frame
    bare = pl.col("contig").replace(there, [known[name] for name in there])
    columns = [bare.alias("contig")]
    if "variant_key" in frame.columns:
        is_named = pl.col("contig").is_in(there)
        rest = pl.col("variant_key").str.slice(pl.col("contig").str.len_chars())
        columns.append(pl.when(is_named).then(bare + rest).otherwise("variant_key").alias("variant_key"))
    return frame.with_columns(columns)
