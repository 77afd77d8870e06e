"""Nodes and edges of a callset, and who carries what."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.domain.projections.graph_rows import (
    EDGES,
    NODES,
    GraphRows,
    Scope,
    carriers,
    graph_rows,
    sample_calls,
    scope_of,
)
from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline_tests.made_tables import cut, made_genotypes, made_triaged, made_variants

CALLSET = "0123456789abcdef"


def rows_of(variants: pl.DataFrame, *, scope: Scope = "all", assembly: str | None = "GRCh38") -> GraphRows:
    calls = [[0, 1, 1, 1, -1, -1]] * max(variants.height, 1)
    return graph_rows(
        tenant="default",
        callset_id=CALLSET,
        label="made",
        assembly=assembly,
        samples=["anna", "bert", "carl"],
        scope=scope,
        variants=cut(variants, 4),
        triaged=cut(made_triaged(variants), 3, 3),
        genotypes=cut(made_genotypes(calls).head(variants.height), 5),
    )


def test_a_small_callset_goes_in_whole_and_a_large_one_by_its_links() -> None:
    assert scope_of(20_000) == "all"
    assert scope_of(20_001) == "linked"
    assert scope_of(3, all_up_to=2) == "linked"


def test_linked_leaves_out_what_has_neither_gene_nor_claim_nor_tier() -> None:
    variants = made_variants(10)
    assert rows_of(variants).n_alleles == 10
    linked = rows_of(variants, scope="linked")
    # every fifth has no gene and no tier
    assert linked.edges["CONTAINS"]["record_no"].to_list() == [0, 1, 2, 3, 5, 6, 7, 8]


def test_every_frame_has_the_columns_of_its_table() -> None:
    rows = rows_of(made_variants(10))
    for name, columns in NODES.items():
        assert dict(rows.nodes[name].schema) == columns
        assert rows.nodes[name]["key"].is_unique().all()
    for name, frame in {**rows.edges, "CARRIES": pl.concat(rows.carries)}.items():
        assert dict(frame.schema) == {"from": pl.String, "to": pl.String, **EDGES[name][2]}


def test_carriers_are_keyed_by_tenant_callset_and_name() -> None:
    carries = pl.concat(rows_of(made_variants(2)).carries).filter(pl.col("to") == "GRCh38:17-1000-A-T")
    assert carries.select("from", "zygosity").rows() == [
        (f"default/{CALLSET}/anna", "het"),
        (f"default/{CALLSET}/bert", "hom"),
    ]


def test_callsets_of_one_assembly_share_a_variant_and_those_of_an_unknown_one_do_not() -> None:
    assert rows_of(made_variants(1)).nodes["Variant"]["key"].item() == "GRCh38:17-1000-A-T"
    unknown = rows_of(made_variants(1), assembly=None).nodes["Variant"]["key"].item()
    assert unknown == f"unknown-{CALLSET}:17-1000-A-T"


def test_a_node_does_not_depend_on_how_a_callset_writes_the_allele() -> None:
    plain = made_variants(1)
    padded = plain.with_columns(
        pl.lit("17").alias("contig"), pl.lit(999).alias("pos"), pl.lit("GA").alias("ref"), pl.lit("GT").alias("alt")
    )
    assert rows_of(plain).nodes["Variant"].equals(rows_of(padded).nodes["Variant"])


def test_an_allele_row_without_alt_is_kept_by_its_place() -> None:
    without = made_variants(2).with_columns(
        pl.lit(None, dtype=pl.String).alias("alt"),
        pl.lit(None, dtype=pl.String).alias("variant_key"),
        pl.lit(0, dtype=pl.Int16).alias("alt_index"),
    )
    rows = rows_of(without)
    assert rows.n_alleles == 2
    assert rows.nodes["Variant"]["variant_key"].to_list() == ["17-1000-A-.", "17-1010-A-."]
    assert list(rows.carries) == []


def test_repeated_alleles_are_one_node_and_two_edges() -> None:
    twice = made_variants(2).with_columns(pl.lit("17-1000-A-T").alias("variant_key"))
    rows = rows_of(twice)
    assert rows.nodes["Variant"].height == 1
    assert rows.edges["CONTAINS"].height == rows.n_alleles == 2


def test_an_empty_callset_is_a_callset_with_its_samples() -> None:
    rows = rows_of(made_variants(0))
    assert rows.n_alleles == 0
    assert rows.nodes["Callset"].height == 1
    assert rows.nodes["Sample"].height == 3
    assert all(frame.is_empty() for frame in rows.edges.values())


CALLS = [  # three samples, two alleles each
    ([0, 1, 1, 1, 1, -2], [("het"), ("hom"), ("hemi")]),
    ([-1, 1, -1, -1, 0, -2], ["partial", None, None]),
    ([1, 2, 2, 2, 0, 0], ["het", None, None]),
]


@pytest.mark.parametrize(("gt", "expected"), CALLS)
def test_zygosity_of_the_first_allele(gt: list[int], expected: list[str | None]) -> None:
    alleles = pl.DataFrame({"record_no": [0], "alt_index": [1]}, schema={"record_no": pl.Int64, "alt_index": pl.Int16})
    found = pl.concat(carriers(made_genotypes([gt]), alleles, 3))
    by_sample = dict(zip(found["sample_no"], found["zygosity"], strict=True))
    assert [by_sample.get(number) for number in range(3)] == expected


def test_a_sample_has_every_allele_that_it_carries_once() -> None:
    genotypes = made_genotypes([[0, 0, 1, 2], [0, 0, 2, 2], [0, 1, 0, 0], [0, 0, -1, -1]])
    assert sample_calls(genotypes, 1, 2).rows() == [(0, 1, "het"), (0, 2, "het"), (1, 2, "hom")]
    assert sample_calls(genotypes, 0, 2).rows() == [(2, 1, "het")]


def test_records_without_gt_have_no_carriers() -> None:
    genotypes = made_genotypes([[0, 1], [0, 1]]).with_columns(
        pl.when(pl.col("record_no") == 1).then(pl.col("gt")).alias("gt")
    )
    assert sample_calls(genotypes, 0, 1)["record_no"].to_list() == [1]
    assert sample_calls(genotypes.head(1), 0, 1).is_empty()


def test_a_claim_is_of_the_source_whose_word_prevails() -> None:
    def said(*facts: tuple[str, str]) -> list[dict[str, str | None]]:
        return [{"key": key, "value": "Pathogenic", "source": source, "version": None} for key, source in facts]

    variants = made_variants(3)
    evidence = [
        said(("AF", "gnomad"), ("CLNSIG", "clinvar"), ("CLNSIG", "INFO")),
        said(("consequence", "annotation"), ("CLIN_SIG", "annotation")),
        None,
    ]
    triaged = made_triaged(variants).with_columns(
        pl.lit("pathogenic").alias("significance"), pl.Series("evidence", evidence, dtype=TRIAGED["evidence"])
    )
    rows = graph_rows(
        tenant="default",
        callset_id=CALLSET,
        label="made",
        assembly="GRCh38",
        samples=[],
        scope="all",
        variants=cut(variants),
        triaged=cut(triaged),
        genotypes=iter(()),
    )
    assert rows.edges["HAS_CLAIM"]["source"].to_list() == ["clinvar", "annotation", "INFO"]
