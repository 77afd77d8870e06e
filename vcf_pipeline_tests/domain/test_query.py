"""Questions as people type them."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.domain.query import (
    Condition,
    Region,
    VariantQuery,
    gene_spellings,
    near_misses,
    parse_significance,
    parse_tiers,
)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr17:43,093,464", Region("17", 43093464, 43093464)),
        ("17:43093464", Region("17", 43093464, 43093464)),
        (" chr17 : 43,000,000 - 43,100,000 ", Region("17", 43000000, 43100000)),
        ("17:43000000..43100000", Region("17", 43000000, 43100000)),
        ("X:100-", Region("X", 100, None)),
        ("chrx", Region("X", None, None)),
        ("MT:73", Region("M", 73, 73)),
    ],
)
def test_a_region_is_read_forgivingly(text: str, region: Region) -> None:
    assert Region.parse(text) == region


@pytest.mark.parametrize("text", ["", "17:", "17:a-b", "17:20-10", "17:1-2-3", ":5", f"17:{2**63}", "1" * 300])
def test_what_is_no_region_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="17:43,000,000-43,100,000"):
        Region.parse(text)


def test_a_region_means_what_overlaps_it() -> None:
    assert Region("17", 10, 20).conditions() == [
        Condition("contig_bare", "=", "17"),
        Condition("pos", "<=", 20),
        Condition("end", ">=", 10),
    ]


@pytest.mark.parametrize(
    ("text", "tiers"),
    [("1", (1,)), ("1,2", (1, 2)), ("1-3", (1, 2, 3)), ("unknown", (None,)), ("Tier 4,unknown", (4, None))],
)
def test_tiers(text: str, tiers: tuple[int | None, ...]) -> None:
    assert parse_tiers(text) == tiers


@pytest.mark.parametrize("text", ["5", "0", "", "one", "1;2"])
def test_what_is_no_tier_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="BAD_TIER"):
        parse_tiers(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Likely pathogenic", "likely_pathogenic"),
        ("LP", "likely_pathogenic"),
        ("VUS", "uncertain"),
        ("Benign", "benign"),
    ],
)
def test_a_significance_is_read_as_clinvar_or_a_person_writes_it(text: str, word: str) -> None:
    assert parse_significance(text) == word


def test_an_unknown_significance_gets_a_near_miss() -> None:
    with pytest.raises(UsageError, match="Did you mean pathogenic"):
        parse_significance("patogenic")


def test_a_gene_is_looked_for_as_hgnc_writes_it() -> None:
    assert gene_spellings("brca1") == ("brca1", "BRCA1")
    assert "C9orf72" in gene_spellings("c9ORF72")


def test_near_misses_keep_the_case_of_what_is_known() -> None:
    assert near_misses("brac1", ["BRCA1", "C9orf72", "TP53"]) == ["BRCA1"]


def test_a_query_becomes_conditions_that_must_all_hold() -> None:
    query = VariantQuery.parse(gene="tp53", tier="1,unknown", max_af=0.01, significance="P")
    assert query.conditions() == [
        Condition("gene", "in", ("tp53", "TP53")),
        Condition("tier", "in or null", (1,)),
        Condition("population_af", "<= or null", 0.01),
        Condition("significance", "=", "pathogenic"),
    ]


@pytest.mark.parametrize(
    "options", [{"max_af": 1.5}, {"limit": 0}, {"gene": " "}, {"gene": "a\0b"}, {"sample": "x" * 300}]
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        VariantQuery.parse(**options)  # type: ignore[arg-type]
