"""What a person gets back: rows in order, how many there are, and what may be missing or misspelt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.domain.errors import UnknownPartition, UsageError
from vcf_pipeline.domain.query import VariantQuery
from vcf_pipeline.stages.query import RESULT_COLUMNS, QueryResult, ask_graph, query_variants
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeControl]:
    """Two loaded callsets with the same two samples; in the second, anna carries nothing."""
    made = MadeControl(tmp_path_factory.mktemp("control"))
    for key in (made.put("a", 20), made.put("b", 20, first_pos=1100, calls=(0, 0, 1, -1))):
        made.load_lancedb(key)
        made.load_kuzu(key)
        found = made.ledger.callset(key)
        assert found is not None
        made.ledger.mark_done(key, records=20, alleles=20, rejected=0, digest="d1:0", generation=found.generation)
    yield made
    made.close()


def ask(control: MadeControl, **options: Any) -> QueryResult:
    query = VariantQuery.parse(**options)
    return query_variants(query, tables=control.tables, ledger=control.ledger, store=control.lancedb)


def test_the_best_tiers_come_first_and_the_rest_is_counted(control: MadeControl) -> None:
    result = ask(control, limit=10)
    assert result.total == 40
    assert result.frame["tier"].to_list() == [1] * 8 + [2] * 2
    assert result.frame["pos"].to_list()[:4] == [1000, 1050, 1100, 1100]
    assert result.frame.columns == RESULT_COLUMNS


def test_unknown_tiers_come_last(control: MadeControl) -> None:
    assert ask(control).frame["tier"].to_list()[-8:] == [None] * 8


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"gene": "tp53"}, 8),
        ({"region": "chr17:1,100"}, 2),
        ({"region": "17:1100-1190", "tier": "1"}, 4),
        ({"tier": "unknown"}, 8),
        ({"max_af": 0.01}, 26),
        ({"significance": "Pathogenic"}, 8),
        ({"callset": "made a"}, 20),
        ({"callset": "bbbb", "gene": "BRCA1", "tier": 1}, 4),
    ],
)
def test_filters_hold_together(control: MadeControl, options: dict[str, Any], total: int) -> None:
    result = ask(control, **options)
    assert (result.total, result.frame.height) == (total, total)
    assert result.unknown is None


def test_a_sample_is_found_in_every_callset_that_it_is_in(control: MadeControl) -> None:
    anna, bert = ask(control, sample="anna"), ask(control, sample="bert", limit=5)
    assert (anna.total, anna.frame["zygosity"].unique().to_list()) == (20, ["het"])
    assert (bert.total, bert.frame.height) == (40, 5)
    assert bert.frame.select("callset_id", "zygosity").unique().sort("zygosity").rows() == [
        ("a" * 16, "hom"),
        ("b" * 16, "partial"),
    ]


def test_a_sample_can_be_named_by_its_callset(control: MadeControl) -> None:
    result = ask(control, sample=f"{TENANT}/{'b' * 16}/bert", gene="BRCA2")
    assert result.total == 4
    assert set(result.frame["callset_id"]) == {"b" * 16}
    assert ask(control, sample=f"{TENANT}/{'b' * 16}/anna").total == 0


def test_an_unknown_sample_gets_near_misses(control: MadeControl) -> None:
    with pytest.raises(UsageError, match="Did you mean anna"):
        ask(control, sample="ana")


def test_an_unknown_callset_is_refused(control: MadeControl) -> None:
    with pytest.raises(UnknownPartition):
        ask(control, callset="no such label")


@pytest.mark.parametrize(
    ("options", "unknown", "near"),
    [
        ({"gene": "BRAC1"}, 'gene "BRAC1"', "BRCA1"),
        ({"gene": "c9orf7"}, 'gene "c9orf7"', "C9orf72"),
        ({"region": "chr71:100"}, 'contig "71"', "17"),
    ],
)
def test_an_unknown_name_gets_near_misses_instead_of_an_empty_table(
    control: MadeControl, options: dict[str, Any], unknown: str, near: str
) -> None:
    result = ask(control, **options)
    assert (result.total, result.unknown) == (0, unknown)
    assert near in result.near


def test_a_known_gene_without_a_match_is_no_misspelling(control: MadeControl) -> None:
    result = ask(control, gene="TP53", tier="1")
    assert (result.total, result.unknown, result.near) == (0, None, ())


def test_hostile_text_finds_nothing(control: MadeControl) -> None:
    assert ask(control, gene="x' OR '1'='1").total == 0


def test_a_tenant_without_a_load_gets_an_empty_result_with_the_same_columns(control: MadeControl) -> None:
    query = VariantQuery.parse()
    result = query_variants(query, tenant="other", tables=control.tables, ledger=control.ledger, store=control.lancedb)
    assert (result.total, result.frame.columns) == (0, RESULT_COLUMNS)


def test_callsets_that_are_still_loading_are_named(tmp_path: Path) -> None:
    made = MadeControl(tmp_path)
    key = made.put("c", label="slow one")
    assert ask(made).still_loading == {str(key): "slow one"}
    made.close()


def test_graph_questions_by_name_and_in_cypher(control: MadeControl) -> None:
    canned = ask_graph("carriers", {"variant_key": "17-1100-A-T"}, ledger=control.ledger, store=control.kuzu)
    own = ask_graph("MATCH (s:Sample) RETURN count(*) AS n", ledger=control.ledger, store=control.kuzu)
    assert [row[:2] for row in canned.answer.rows] == [["anna", "het"], ["bert", "hom"], ["bert", "partial"]]
    assert (own.answer.columns, own.answer.rows, own.linked) == (["n"], [[4]], [])


@pytest.mark.parametrize(
    ("question", "tenant", "code"),
    [
        ("gene", TENANT, "MISSING_PARAMETER"),
        ("MATCH (n) DELETE n", TENANT, "CYPHER_REFUSED"),
        ("shared-genes", "other", "NO_GRAPH"),
    ],
)
def test_graph_questions_that_cannot_be_answered(control: MadeControl, question: str, tenant: str, code: str) -> None:
    with pytest.raises(UsageError, match=code):
        ask_graph(question, tenant=tenant, ledger=control.ledger, store=control.kuzu)
