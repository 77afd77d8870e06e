"""Explanations found by words and by likeness, as the ledger has them; what nobody has explained is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder
from vcf_pipeline.domain.errors import UnknownPartition, UsageError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages.forget import forget_callset
from vcf_pipeline.stages.load_annotations import load_lancedb_annotations
from vcf_pipeline.stages.search_text import Searched, TextResult, query_similar, query_text
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl
from vcf_pipeline_tests.stages.test_load_annotations import Counting


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeControl]:
    """Two callsets, a of 20 alleles and b of 10; both explained, and searchable by field too."""
    made = MadeControl(tmp_path_factory.mktemp("control"))
    for digit, n_records, first_pos in (("a", 20, 1000), ("b", 10, 5000)):
        put(made, digit, n_records, first_pos)
    yield made
    made.close()


def put(made: MadeControl, digit: str, n_records: int, first_pos: int) -> PartitionKey:
    key = made.put(digit, n_records, first_pos=first_pos)
    made.load_lancedb(key)
    made.explain(key)
    load(made, key)
    return key


def load(made: MadeControl, key: PartitionKey, embedder: Any = None) -> None:
    load_lancedb_annotations(
        key=key,
        tables=made.tables,
        ledger=made.ledger,
        store=made.annotations,
        embedder=embedder or HashingEmbedder(),
    )


def where(made: MadeControl, **options: Any) -> Searched:
    return Searched.of(ledger=made.ledger, annotations=made.annotations, variants=made.lancedb, **options)


def found(made: MadeControl, text: str, **options: Any) -> TextResult:
    return query_text(text, where(made, **options))


def test_words_filters_and_the_limit(control: MadeControl) -> None:
    assert found(control, "pathogenic").total == 6
    assert found(control, "pathogenic", callset="made b").total == 2
    assert found(control, "known", tier="2").total == found(control, "unclaimed").total == 4
    cut = found(control, "known", limit=3)
    assert (cut.frame.height, cut.total) == (3, 10)
    assert cut.frame["score"].is_sorted(descending=True)


def test_every_word_must_be_there_unless_no_row_has_all(control: MadeControl) -> None:
    both = found(control, "brca1 pathogenic")
    assert (both.total, both.all_of) == (6, True)
    either = found(control, "pathogenic brca2")
    assert (either.total, either.all_of) == (10, False)


def test_an_unknown_word_gets_near_misses(control: MadeControl) -> None:
    result = found(control, "pathogneic")
    assert (result.total, result.unknown, result.near[0]) == (0, ("pathogneic",), "pathogenic")
    assert found(control, "qqqqqqqq").near == ()


def test_what_nobody_has_explained_is_found_by_its_names(control: MadeControl) -> None:
    """TP53 has tier 4 alone here; 17-1030-A-T is one of them, and has the ids rs1 and rs2."""
    gene = found(control, "TP53")
    assert gene.total == 0
    assert gene.unexplained is not None
    assert (gene.unexplained_total, set(gene.unexplained["gene"])) == (6, {"TP53"})
    for text in ("17-1030-A-T", "chr17:1,030 A>T"):
        named = found(control, text).unexplained
        assert named is not None
        assert named["variant_key"].to_list() == ["17-1030-A-T"]
    ids = found(control, "rs2", callset="made a").unexplained
    assert ids is not None
    assert ids.height == 10 - 4  # four of them are explained, and found as that
    assert set(ids["named"]) == {"id rs2"}


def test_a_genes_other_alleles_do_not_drown_what_is_explained_of_it(control: MadeControl) -> None:
    result = found(control, "BRCA2")
    assert (result.total, result.unexplained_total) == (4, 0)


def test_the_nearest_to_a_text_and_to_a_variant(control: MadeControl) -> None:
    near = query_similar("claims of breast cancer in BRCA1", where(control, limit=4), HashingEmbedder())
    assert near.frame["gene"].to_list() == ["BRCA1"] * 4
    assert near.frame["likeness"].is_sorted(descending=True)
    like = query_similar("17-1000-A-T", where(control, limit=3), HashingEmbedder())
    assert "17-1000-A-T" not in like.frame["variant_key"].to_list()
    assert like.frame["gene"].to_list() == ["BRCA1"] * 3
    assert query_similar("BRCA1", where(control, tier="2"), HashingEmbedder()).frame["tier"].unique().to_list() == [2]


def test_a_variant_without_an_explanation_is_like_nothing(control: MadeControl) -> None:
    with pytest.raises(UsageError, match="NOT_EXPLAINED"):
        query_similar("17-1030-A-T", where(control), HashingEmbedder())


def test_another_tenant_sees_nothing(control: MadeControl) -> None:
    result = found(control, "pathogenic brca1", tenant="other")
    assert (result.total, result.unexplained_total) == (0, 0)
    assert query_similar("brca1", where(control, tenant="other"), HashingEmbedder()).total == 0
    with pytest.raises(UnknownPartition):
        found(control, "brca1", tenant="other", callset="made a")


@pytest.mark.parametrize("text", ["' OR 1=1 --", "a AND (b OR", "id:rs1 +brca1 -x ~", "`) ; DROP"])
def test_hostile_words_find_no_more_than_words(control: MadeControl, text: str) -> None:
    result = found(control, text)
    assert result.total <= 10


def test_callsets_of_another_embedder_older_triage_or_that_are_forgotten_are_told_apart(tmp_path: Path) -> None:
    made = MadeControl(tmp_path)
    first, second = put(made, "a", 10, 1000), put(made, "b", 10, 5000)
    other = Counting("vendor/model", width=96)
    load(made, second, other)
    assert found(made, "pathogenic").total == 4
    near = query_similar("pathogenic", where(made), HashingEmbedder())
    assert (set(near.frame["callset_id"]), near.elsewhere) == ({first.callset_id}, ("made b",))
    assert query_similar("pathogenic", where(made), other).elsewhere == ("made a",)
    made.put("a", 11, first_pos=1000)
    made.load_lancedb(first)
    assert found(made, "pathogenic").outdated == ("made a",)
    made.ledger.forget(first)  # as it is the moment after, before anything is swept
    assert set(found(made, "pathogenic").frame["callset_id"]) == {second.callset_id}
    forget_callset(second, ledger=made.ledger, tables=made.tables, lancedb=made.lancedb, kuzu=made.kuzu)
    assert found(made, "pathogenic").total == 0
    assert TENANT == "default"
    made.close()
