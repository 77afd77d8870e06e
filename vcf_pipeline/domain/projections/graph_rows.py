"""Tables of a callset → nodes and edges of the graph, and the rule of what goes in.

Not here: how a graph is written or read (adapters/stores), which callsets are due (ledger).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from vcf_pipeline.domain.projections.search_rows import bare_contig, side_by_side
from vcf_pipeline.domain.tables.schemas import MISSING, NO_ALLELE
from vcf_pipeline.domain.triage.heard_claims import CLAIM_KEY_NAMES

GRAPH_VERSION = "graph-3"
"""Raised whenever nodes, edges or the scope rule change: every callset is then loaded anew."""

Scope = Literal["all", "linked"]
ALL_UP_TO_ALLELES = 20_000

VARIANT_COLUMNS = [
    "record_no",
    "alt_index",
    "contig",
    "pos",
    "ref",
    "variant_type",
    "variant_key",
]
"""What is read of the table `variants`."""
TRIAGE_COLUMNS = [
    *("record_no", "alt_index", "tier", "significance", "stars", "conditions"),
    *("gene", "consequence", "impact", "evidence"),
]
"""What is read of the table `triaged`."""
_VERDICTS = [name for name in TRIAGE_COLUMNS[2:] if name != "evidence"]
GENOTYPE_COLUMNS = ["record_no", "gt"]
ANSWER_COLUMNS = [
    *("record_no", "alt_index", "tier", "significance_label", "reading", "provider", "model", "summary"),
]
"""What is read of the table of `ai_annotations`, where the status is annotated."""

NODES: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "Callset": {"key": pl.String, "label": pl.String, "assembly": pl.String, "scope": pl.String},
    "Sample": {"key": pl.String, "name": pl.String, "callset_id": pl.String},
    "Variant": {
        "key": pl.String,  # assembly:variant_key
        "assembly": pl.String,
        "variant_key": pl.String,
        "contig": pl.String,  # bare
        "pos": pl.Int64,  # 1-based, of the trimmed allele, as the key has it
        "variant_type": pl.String,
    },
    "Gene": {"key": pl.String},
    "Condition": {"key": pl.String},
}
"""Columns of each node table; `key` is the primary one. What differs between callsets lies on the edges."""
EDGES: dict[str, tuple[str, str, dict[str, pl.DataType | type[pl.DataType]]]] = {
    "CONTAINS": (
        "Callset",
        "Variant",
        {"record_no": pl.Int64, "alt_index": pl.Int16, "tier": pl.Int8, "significance": pl.String},
    ),
    "CARRIES": ("Sample", "Variant", {"callset_id": pl.String, "zygosity": pl.String, "tier": pl.Int8}),
    "IN_GENE": (
        "Variant",
        "Gene",
        {"callset_id": pl.String, "consequence": pl.String, "impact": pl.String},
    ),
    "HAS_CLAIM": (
        "Variant",
        "Condition",
        {"callset_id": pl.String, "source": pl.String, "significance": pl.String, "stars": pl.Int8},
    ),
    "EXPLAINED": (
        "Callset",
        "Variant",
        {
            "tier": pl.Int8,
            "significance_label": pl.String,
            "reading": pl.String,
            "provider": pl.String,
            "model": pl.String,
            "summary": pl.String,
        },
    ),
}
"""Each edge table: from, to, its further columns. Every edge names its callset, those from a Callset by `from`."""
TABLE_MEANINGS: dict[str, str] = {
    "Callset": "one file's variants as they were loaded",
    "Sample": "a sample of a callset",
    "Variant": "a trimmed allele of an assembly, shared by the callsets that have it",
    "Gene": "a gene by its symbol",
    "Condition": "a condition that a claim is about",
    "CONTAINS": "a callset has the variant, at this record and allele",
    "CARRIES": "the sample's call has the variant",
    "IN_GENE": "the variant's worst consequence is in the gene",
    "HAS_CLAIM": "somebody claims this significance of the variant for the condition",
    "EXPLAINED": "the variant of this callset is explained in words; a triage, not a diagnosis",
}
"""For people: what the asset catalogue says of a node or edge table."""
GRAPH_MEANINGS: dict[str, str] = {
    "key": "names the node: a variant by assembly and variant_key, the others by what they are",
    "label": "what people call the callset",
    "assembly": "reference assembly; where it is unknown, a variant is shared with no other callset",
    "scope": "all, or linked where only alleles with a gene, a claim or tier 1 to 3 are in the graph",
    "name": "the sample's name in the file",
    "callset_id": "which callset says so",
    "contig": "contig without chr, M for MT",
    "pos": "1-based, first base of the trimmed allele",
    "zygosity": "het, hom, hemi (one allele in all) or partial (the others missing)",
    "source": "whose claim it is: a registered source, or INFO or annotation of the file itself",
}
"""The same of columns that mean something else here than in a table, or are in none."""
CLAIM_SOURCE = "INFO"
"""Whose claim it is where evidence does not tell."""
_CELLS_AT_ONCE = 8_000_000  # of gt: some 40 MB with what is computed from it


@dataclass
class GraphRows:
    """One callset as the graph holds it. nodes, edges: frames by table, distinct; carries: bounded frames.

    n_alleles: allele rows in scope, which is the number of CONTAINS edges.
    """

    callset_id: str
    scope: Scope
    n_alleles: int
    nodes: dict[str, pl.DataFrame]
    edges: dict[str, pl.DataFrame]
    carries: Iterator[pl.DataFrame] = field(default_factory=lambda: iter(()))


def scope_of(n_alleles: int, all_up_to: int = ALL_UP_TO_ALLELES) -> Scope:
    """By the callset alone, so that the order of loads never matters. n_alleles: rows of its `variants`."""
    return "all" if n_alleles <= all_up_to else "linked"


def is_linked() -> pl.Expr:
    """A gene with an impact above MODIFIER, a claim, or tier 1 to 3. Boolean, never null."""
    has_consequence = pl.col("gene").is_not_null() & pl.col("impact").is_in(["HIGH", "MODERATE", "LOW"])
    has_claim = pl.col("significance").is_not_null()
    return (has_consequence | has_claim | (pl.col("tier") <= 3)).fill_null(False)


def graph_rows(
    *,
    tenant: str,
    callset_id: str,
    label: str,
    assembly: str | None,
    samples: Sequence[str],
    scope: Scope,
    variants: Iterator[pl.DataFrame],
    triaged: Iterator[pl.DataFrame],
    genotypes: Iterator[pl.DataFrame],
    answered: pl.DataFrame | None = None,
) -> GraphRows:
    """Nodes and edges of one callset. Frames with the columns named above, sorted by record.

    answered: ANSWER_COLUMNS of the alleles that are explained, None where none is.

    Memory: the alleles in scope (20 to 30 thousand) and one frame of genotypes.
    A callset of unknown assembly shares no variant with another one: equal coordinates would mean nothing.
    Raises what side_by_side raises.
    """
    kept = [
        pl.concat(
            [alleles.select(VARIANT_COLUMNS), verdicts.select(*_VERDICTS, claim_source=_claim_source())],
            how="horizontal",
        ).filter(pl.lit(True) if scope == "all" else is_linked())
        for alleles, verdicts in side_by_side(variants, triaged)
    ]
    alleles = _keyed(kept, assembly or f"unknown-{callset_id}")
    callset = pl.lit(callset_id)
    contains = alleles.select(callset.alias("from"), pl.col("key").alias("to"), *EDGES["CONTAINS"][2])
    in_gene = (
        alleles.filter(pl.col("gene").is_not_null())
        .select(
            pl.col("key").alias("from"),
            pl.col("gene").alias("to"),
            callset.alias("callset_id"),
            "consequence",
            "impact",
        )
        .unique(maintain_order=True)
    )
    claims = (
        alleles.filter(pl.col("significance").is_not_null())
        .select(
            pl.col("key").alias("from"),
            pl.col("conditions").alias("to"),
            callset.alias("callset_id"),
            pl.col("claim_source").alias("source"),
            "significance",
            "stars",
        )
        .explode("to")
        .with_columns(pl.col("to").fill_null("not specified"))
        .unique(maintain_order=True)
    )
    sample_keys = [f"{tenant}/{callset_id}/{name}" for name in samples]
    nodes = {
        "Callset": pl.DataFrame(
            {"key": [callset_id], "label": [label], "assembly": [assembly], "scope": [scope]},
            schema=NODES["Callset"],
        ),
        "Sample": pl.DataFrame(
            {"key": sample_keys, "name": list(samples), "callset_id": [callset_id] * len(samples)},
            schema=NODES["Sample"],
        ).unique("key", maintain_order=True),
        "Variant": alleles.select(NODES["Variant"].keys()).unique("key", maintain_order=True),
        "Gene": in_gene.select(pl.col("to").alias("key")).unique(maintain_order=True),
        "Condition": claims.select(pl.col("to").alias("key")).unique(maintain_order=True),
    }
    return GraphRows(
        callset_id=callset_id,
        scope=scope,
        n_alleles=alleles.height,
        nodes=nodes,
        edges={
            "CONTAINS": contains,
            "IN_GENE": in_gene,
            "HAS_CLAIM": claims,
            "EXPLAINED": explained_edges(answered, contains),
        },
        carries=carrier_edges(alleles, genotypes, sample_keys, callset_id),
    )


def explained_edges(answered: pl.DataFrame | None, contains: pl.DataFrame) -> pl.DataFrame:
    """EXPLAINED edges: from (callset), to (variant) and the columns of EDGES; an answer out of scope has none.

    answered: ANSWER_COLUMNS. contains: from, to, record_no, alt_index of the callset's CONTAINS edges.
    """
    columns = EDGES["EXPLAINED"][2]
    if answered is None:
        return pl.DataFrame(schema={"from": pl.String, "to": pl.String, **columns})
    places = contains.select("from", "to", "record_no", "alt_index")
    joined = answered.join(places, on=["record_no", "alt_index"], how="inner", maintain_order="left")
    return joined.select("from", "to", *(pl.col(name).cast(dtype) for name, dtype in columns.items()))


def carrier_edges(
    alleles: pl.DataFrame, genotypes: Iterator[pl.DataFrame], sample_keys: Sequence[str], callset_id: str
) -> Iterator[pl.DataFrame]:
    """CARRIES edges: from (sample), to (variant), callset_id, zygosity, tier; a frame per frame of genotypes.

    alleles: record_no, alt_index, key, tier. Rows of genotypes whose record has no allele here cost nothing.
    """
    wanted = alleles.select("record_no", "alt_index", "key", "tier")
    names = pl.Series("from", sample_keys, dtype=pl.String)
    for frame in genotypes if sample_keys else ():
        if "gt" not in frame.columns:
            return
        for part in carriers(frame.select(GENOTYPE_COLUMNS), wanted.select("record_no", "alt_index"), len(names)):
            yield (
                part.with_columns(names.gather(part["sample_no"]), pl.lit(callset_id).alias("callset_id"))
                .join(wanted, on=["record_no", "alt_index"], how="inner")
                .select("from", pl.col("key").alias("to"), *EDGES["CARRIES"][2])
            )


def carriers(genotypes: pl.DataFrame, alleles: pl.DataFrame, n_samples: int) -> Iterator[pl.DataFrame]:
    """Who has which allele: record_no, alt_index, sample_no (UInt32, from 0), zygosity; nobody else.

    genotypes: record_no and gt, an Array of ploidy × n_samples numbers, a sample's alleles side by side.
    alleles: record_no, alt_index. zygosity: hom, het, hemi (one allele in all), partial (others missing).
    """
    joined = alleles.filter(pl.col("alt_index") > 0).join(
        genotypes.filter(pl.col("gt").is_not_null()), on="record_no", how="inner", maintain_order="left"
    )
    width = joined.schema["gt"].shape[0] if isinstance(joined.schema["gt"], pl.Array) else 0
    step = max(1, _CELLS_AT_ONCE // max(1, width))
    for start in range(0, joined.height if width else 0, step):
        part = joined.slice(start, step)
        gt = part["gt"].to_numpy().reshape(part.height, n_samples, width // n_samples)
        is_here = gt == part["alt_index"].to_numpy()[:, None, None]
        row, sample_no = np.nonzero(is_here.any(axis=2))
        calls = gt[row, sample_no]
        n_here = is_here[row, sample_no].sum(axis=1)
        n_alleles = (calls != NO_ALLELE).sum(axis=1)
        kind = np.select(
            [(calls == MISSING).any(axis=1), n_alleles == 1, n_here == n_alleles],
            [3, 2, 1],
            default=0,
        )
        zygosity = pl.Series("zygosity", ["het", "hom", "hemi", "partial"]).gather(kind)
        yield part.select("record_no", "alt_index")[row].with_columns(
            pl.Series("sample_no", sample_no.astype(np.uint32)), zygosity
        )


def sample_calls(genotypes: pl.DataFrame, sample_no: int, n_samples: int) -> pl.DataFrame:
    """What one sample carries: record_no, alt_index (Int16), zygosity as in `carriers`; a row per allele.

    genotypes: record_no and gt of all n_samples. sample_no: from 0.
    """
    called = genotypes.filter(pl.col("gt").is_not_null())
    dtype = called.schema["gt"]
    width = dtype.shape[0] if isinstance(dtype, pl.Array) else 0
    if not called.height or not width:
        return pl.DataFrame(schema={"record_no": pl.Int64, "alt_index": pl.Int16, "zygosity": pl.String})
    ploidy = width // n_samples
    own = called["gt"].to_numpy().reshape(called.height, n_samples, ploidy)[:, sample_no, :]
    one = called.select("record_no").with_columns(
        pl.Series("gt", np.ascontiguousarray(own), dtype=pl.Array(pl.Int16, ploidy))
    )
    alleles = (
        one.explode("gt")
        .select("record_no", pl.col("gt").alias("alt_index"))
        .filter(pl.col("alt_index") > 0)
        .unique()
        .sort("record_no", "alt_index")
    )
    return pl.concat([*carriers(one, alleles, 1), alleles.head(0).with_columns(_NOBODY)]).drop("sample_no")


def _claim_source() -> pl.Expr:
    """The source of the first claim that the evidence states, which is the one that prevails. String, never null."""
    claims = pl.element().filter(pl.element().struct.field("key").is_in(CLAIM_KEY_NAMES))
    first = pl.col("evidence").list.eval(claims.struct.field("source")).list.first()
    return first.fill_null(CLAIM_SOURCE)


_NOBODY = [pl.lit(0, dtype=pl.UInt32).alias("sample_no"), pl.lit("").alias("zygosity")]


def _keyed(kept: list[pl.DataFrame], assembly: str) -> pl.DataFrame:
    """The alleles in scope with `assembly` and `key`; one without ALT is keyed by its place and REF."""
    if not kept:
        names = [*VARIANT_COLUMNS, "record_no", "alt_index", *_VERDICTS, "claim_source", "assembly", "key"]
        schema: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(names, pl.String)
        schema |= {
            "pos": pl.Int64,
            "stars": pl.Int8,
            "conditions": pl.List(pl.String),
            **EDGES["CONTAINS"][2],
        }
        return pl.DataFrame(schema=schema)
    bare = bare_contig(pl.col("contig"))
    without_alt = pl.concat_str([bare, pl.col("pos").cast(pl.String), "ref", pl.lit(".")], separator="-")
    after_contig = pl.col("variant_key").str.strip_prefix(bare).str.extract(r"^-(\d+)-", 1)
    return (
        pl.concat(kept)
        .with_columns(pl.col("variant_key").fill_null(without_alt), pl.lit(assembly).alias("assembly"))
        .with_columns(
            # where two callsets write one allele differently, the node must not depend on who came first
            bare.alias("contig"),
            after_contig.cast(pl.Int64).fill_null(pl.col("pos")).alias("pos"),
            pl.concat_str(["assembly", "variant_key"], separator=":").alias("key"),
        )
    )
