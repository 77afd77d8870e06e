"""`query text` and `query similar` on the command line: tables, JSON lines, CSV, notes, exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline_tests.stages.made_control import MadeControl
from vcf_pipeline_tests.stages.test_load_annotations import load_search


@pytest.fixture
def made(home: Path) -> Iterator[MadeControl]:
    """The same home that the command line of this test opens: 20 alleles, 7 of them explained."""
    home.mkdir()
    control = MadeControl(home)
    key = control.put("a", 20)
    control.load_lancedb(key)
    control.explain(key)
    load_search(control, key)
    yield control
    control.close()


def test_words_as_a_table_as_json_lines_and_as_csv(cli, made):
    table = cli("query", "text", "brca1", "breast cancer")
    assert table.code == 0
    assert "17-1000-A-T is known to be pathogenic" in table.out
    assert "4 of 4 explanations" in table.err
    assert "not a diagnosis" in table.err
    rows = [json.loads(line) for line in cli("query", "text", "brca1", "--limit", "2", "--json").out.splitlines()]
    explained = [row for row in rows if "summary" in row]
    assert len(explained) == 2
    assert {"score", "tier", "cited", "provider", "row_id"} <= explained[0].keys()
    assert "meaning" not in explained[0]
    assert cli("query", "text", "brca1", "--csv").out.splitlines()[0].startswith("row_id,")


def test_what_is_not_explained_or_misspelled_is_said(cli, made):
    gene = cli("query", "text", "tp53")
    assert "without an explanation" in gene.out
    assert "4 alleles are named so and not explained" in gene.err
    slip = cli("query", "text", "pathogneic")
    assert (slip.code, slip.out) == (0, "")
    assert "Near: pathogenic" in slip.err


def test_likeness_says_who_made_the_vectors_and_that_they_know_words_alone(cli, made):
    near = cli("query", "similar", "breast", "cancer", "--limit", "3")
    assert near.code == 0
    assert "Likeness by hashing-1: words and spelling alone, not meaning" in near.err
    assert len(cli("query", "similar", "17-1000-A-T", "--json").out.splitlines()) == 6
    refused = cli("query", "similar", "17-1030-A-T")
    assert (refused.code, "NOT_EXPLAINED" in refused.err) == (2, True)


def test_what_cannot_be_asked_ends_with_two(cli, made):
    for words in (["***"], ["brca1", "--tier", "9"], ["brca1", "--limit", "0"], ["brca1", "--csv", "--json"]):
        assert cli("query", "text", *words).code == 2
    assert cli("query", "text", "brca1", "--callset", "nobody").code == 2
    other = cli("--tenant", "other", "query", "text", "brca1")
    assert (other.code, other.out) == (0, "")
