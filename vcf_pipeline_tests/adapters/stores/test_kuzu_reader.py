"""Questions to a graph: canned ones, a person's own, and those that do harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
from vcf_pipeline.adapters.stores.kuzu_reader import QUESTIONS, ask, check_cypher
from vcf_pipeline.domain.errors import StoreUnavailable, UsageError
from vcf_pipeline_tests.adapters.stores.test_kuzu_graph import A, B, made_callset


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = KuzuGraph(tmp_path_factory.mktemp("graph"), buffer_pool_bytes=64 << 20)
    callsets = [made_callset(A), made_callset(B, first_pos=1100)]
    return store.path(store.write_version("default", name="v1", base=None, kept=(), callsets=callsets)[0])


@pytest.mark.parametrize(
    ("question", "parameters", "first", "n_rows"),
    [
        ("gene", {"gene": "TP53"}, ["17-1030-A-T", "GRCh38", "missense_variant", "MODERATE", "anna", "het", A], 16),
        ("carriers", {"variant_key": "17-1100-A-T"}, ["anna", "het", "GRCh38", A], 4),
        ("shared-genes", {}, ["BRCA1", 4, 6], 3),
        ("conditions", {"sample": "bert"}, ["Breast cancer", "pathogenic", 2, "17-1000-A-T", "hom", 1, A], 8),
        ("shared-variants", {}, ["17-1100-A-T", "GRCh38", 2, 1], 10),
    ],
)
def test_the_canned_questions(
    version: Path, question: str, parameters: dict[str, str], first: list[object], n_rows: int
) -> None:
    answer = ask(version, QUESTIONS[question].cypher, parameters)
    assert answer.rows[0] == first
    assert len(answer.rows) == n_rows
    assert not answer.is_cut


def test_an_answer_is_cut_at_the_limit_and_says_so(version: Path) -> None:
    answer = ask(version, "MATCH (v:Variant) RETURN v.variant_key", max_rows=7)
    assert (len(answer.rows), answer.is_cut) == (7, True)


def test_text_that_is_not_cypher_is_refused_with_the_place(version: Path) -> None:
    with pytest.raises(UsageError, match="Parser exception"):
        ask(version, "MATCH (n RETURN n")


def test_a_question_that_takes_too_long_is_ended(version: Path) -> None:
    nodes = ", ".join(f"({name}:Variant)" for name in "abcdef")
    product = " * ".join(f"{name}.pos" for name in "abcdef")
    with pytest.raises(UsageError, match="no answer in 2 s"):
        ask(version, f"MATCH {nodes} WHERE {product} % 7 = 1 RETURN count(*)", timeout_seconds=2)


def test_a_question_that_takes_too_much_memory_is_ended(version: Path) -> None:
    product = "MATCH " + ", ".join(f"({name}:Variant)" for name in "abcdef")
    with pytest.raises(UsageError, match="QUERY_TOO_HEAVY"):
        ask(version, product + " RETURN a.key + b.key + c.key + d.key + e.key + f.key AS x ORDER BY x")


@pytest.mark.parametrize(
    "cypher",
    [
        "MATCH (n) DELETE n",
        "MATCH (n) SET n.key = 'x'",
        "COPY (MATCH (n:Gene) RETURN n.key) TO 'out.csv'",
        "EXPORT DATABASE 'out'",
        "LOAD FROM '/etc/passwd' (file_format='csv') RETURN *",
        "MATCH (n) RETURN n; MATCH (m) RETURN m",
        "MATCH (n) /* ' */ DELETE n /* ' */",
        "MATCH (n) // '\nDELETE n // '",
        "CALL show_tables() RETURN *",
        "INSTALL httpfs",
        "",
        "MATCH (n) RETURN n" + " " * 30_000,
    ],
)
def test_what_does_more_than_read_never_reaches_the_engine(cypher: str) -> None:
    with pytest.raises(UsageError, match="CYPHER_REFUSED"):
        check_cypher(cypher)


@pytest.mark.parametrize(
    "cypher",
    [
        "MATCH (n) RETURN 'DELETE; SET' AS word;",
        "match (n:Gene) return n.`set` // CREATE",
        "OPTIONAL MATCH (n) RETURN n",
        "WITH 1 AS created RETURN created",
    ],
)
def test_words_in_strings_names_and_comments_do_no_harm(cypher: str) -> None:
    assert check_cypher(cypher) == cypher


def test_a_version_that_is_gone_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        ask(tmp_path / "graph.kuzu", "MATCH (n) RETURN n")
    assert caught.value.data["is_missing"] is True
