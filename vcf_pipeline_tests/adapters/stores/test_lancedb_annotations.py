"""The tables of explanations: a callset's rows replaced in one step, found by words and by likeness."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder
from vcf_pipeline.adapters.stores.lancedb_annotations import DISTANCE, SCORE, LanceAnnotations, table_name
from vcf_pipeline.domain.errors import BadTenantName
from vcf_pipeline.domain.projections.annotation_rows import ANNOTATION_ROWS, annotation_rows
from vcf_pipeline.domain.text_query import phrases
from vcf_pipeline_tests.made_annotations import made_answers
from vcf_pipeline_tests.made_tables import cut, made_triaged, made_variants
from vcf_pipeline_tests.programs import children

A, B = "a" * 16, "b" * 16
TABLE = table_name("hashing-1", 384)
TENANT = "default"


def made_rows(callset_id: str, n_records: int = 20, *, word: str = "known") -> pl.DataFrame:
    variants = made_variants(n_records, callset=callset_id[0])
    triaged = made_triaged(variants)
    answered = made_answers(variants, triaged, word=word).filter(pl.col("status") == "annotated")
    return annotation_rows(callset_id, answered, cut(variants), cut(triaged))


def put(store: LanceAnnotations, callset_id: str, n_records: int = 20, *, word: str = "known") -> pl.DataFrame:
    rows = made_rows(callset_id, n_records, word=word)
    store.replace(TENANT, TABLE, callset_id, rows, HashingEmbedder().embed(rows["meaning"].to_list()))
    return rows


def found(store: LanceAnnotations, text: str, *callsets: str, all_of: bool = True) -> list[str]:
    hits = store.find_words(TENANT, TABLE, phrases(text), callsets or (A, B), all_of=all_of)
    return hits["variant_key"].to_list()


@pytest.fixture
def store(tmp_path: Path) -> LanceAnnotations:
    return LanceAnnotations(tmp_path)


def test_rows_come_back_as_they_went_in(store: LanceAnnotations) -> None:
    rows = put(store, A)
    hits = store.find_words(TENANT, TABLE, phrases("known"), [A], all_of=True)
    assert hits.drop(SCORE).sort("record_no").equals(rows)
    assert rows.height == store.count(TENANT, TABLE, A) == 7


def test_the_next_rows_of_a_callset_replace_the_last_and_leave_others(store: LanceAnnotations) -> None:
    put(store, A, word="formerly")
    put(store, B, 10)
    put(store, A, 10, word="lately")
    store.settle(TENANT, TABLE)
    assert (store.count(TENANT, TABLE, A), store.count(TENANT, TABLE, B)) == (3, 3)
    assert (len(found(store, "formerly")), len(found(store, "lately"))) == (0, 3)
    put(store, A, 0)
    assert (store.count(TENANT, TABLE, A), store.count(TENANT, TABLE, B)) == (0, 3)


def test_words_are_found_indexed_or_not_by_gene_condition_id_and_key(store: LanceAnnotations) -> None:
    put(store, A)
    for _ in ("before the index", "after it"):
        assert len(found(store, "brca1")) == 4
        assert len(found(store, '"breast cancer" BRCA1')) == 4
        assert found(store, '"cancer breast"') == []
        assert found(store, "17-1010-A-T") == ["17-1010-A-T"]
        assert "17-1010-A-T" in found(store, "rs1 BRCA2")
        assert len(found(store, "brca1 brca2", all_of=False)) == 7
        assert found(store, "brca1 brca2") == []
        assert store.settle(TENANT, TABLE)


def test_only_the_callsets_that_are_named_are_looked_at(store: LanceAnnotations) -> None:
    put(store, A)
    put(store, B)
    assert len(found(store, "brca1", A)) == 4
    assert store.find_words(TENANT, TABLE, phrases("brca1"), [], all_of=True).is_empty()
    vector = HashingEmbedder().embed(["brca1"])[0]
    assert set(store.find_near(TENANT, TABLE, vector, [B], 100)["callset_id"]) == {B}


def test_the_nearest_are_those_that_share_words(store: LanceAnnotations) -> None:
    put(store, A)
    near = store.find_near(TENANT, TABLE, HashingEmbedder().embed(["breast cancer BRCA1"])[0], [A], 4)
    assert near["gene"].to_list() == ["BRCA1"] * 4
    assert near[DISTANCE].is_sorted()


def test_a_slip_of_a_letter_is_forgiven_where_asked(store: LanceAnnotations) -> None:
    put(store, A)
    store.settle(TENANT, TABLE)
    (word,) = phrases("pathogneic")
    assert store.find_words(TENANT, TABLE, [word], [A], all_of=True).is_empty()
    assert store.find_words(TENANT, TABLE, [word.forgiving()], [A], all_of=True).height == 4


def test_a_vector_that_is_known_is_not_made_again(store: LanceAnnotations) -> None:
    rows = put(store, A)
    known = store.vectors(TENANT, TABLE, [*rows["meaning_id"], "0" * 32])
    assert set(known) == set(rows["meaning_id"])
    expected = HashingEmbedder().embed(rows["meaning"].to_list())
    assert all((known[name] == vector).all() for name, vector in zip(rows["meaning_id"], expected, strict=True))


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE x; --", "a AND OR NOT (", "foo:bar^2 ~1 *", "\\ [x TO y]", '"', "naïve 日本 x"]
)
def test_hostile_words_are_only_words(store: LanceAnnotations, text: str) -> None:
    put(store, A)
    try:
        asked = phrases(text)
    except Exception as error:
        assert "BAD_TEXT" in str(error)
        return
    assert store.find_words(TENANT, TABLE, asked, [A], all_of=True).is_empty()
    assert store.find_rows(TENANT, TABLE, "ids", [text]).is_empty()


def test_tenants_do_not_meet_and_a_tenants_name_is_checked(store: LanceAnnotations) -> None:
    put(store, A)
    assert store.find_words("other", TABLE, phrases("brca1"), [A], all_of=True).is_empty()
    assert store.tables("other") == []
    with pytest.raises(BadTenantName):
        store.tables("../default")


def test_rows_are_removed_from_every_table_but_those_that_are_kept(store: LanceAnnotations) -> None:
    rows = put(store, A)
    other = table_name("other/model", 3)
    assert other != TABLE
    store.replace(TENANT, other, A, rows, HashingEmbedder().embed(rows["meaning"].to_list())[:, :3])
    assert store.tables(TENANT) == sorted([TABLE, other])
    store.remove(TENANT, A, but=[other])
    assert (store.count(TENANT, TABLE, A), store.count(TENANT, other, A)) == (0, rows.height)
    store.remove(TENANT, A)
    assert store.count(TENANT, other, A) == 0


def put_in_a_child(root: Path, callset_id: str, times: int) -> None:
    for number in range(times):
        put(LanceAnnotations(root), callset_id, 20 + 5 * number)


def test_writers_at_once_double_no_row(tmp_path: Path) -> None:
    """Two of the same callset and one of another, from the first moment of the table on."""
    writers = [children().Process(target=put_in_a_child, args=(tmp_path, callset, 2)) for callset in (A, A, B)]
    for child in writers:
        child.start()
    for child in writers:
        child.join(timeout=240)
    assert [child.exitcode for child in writers] == [0, 0, 0]
    store = LanceAnnotations(tmp_path)
    for callset in (A, B):
        hits = store.find_words(TENANT, TABLE, phrases("known"), [callset], all_of=True)
        assert hits["row_id"].n_unique() == hits.height == store.count(TENANT, TABLE, callset) == 9


def test_the_columns_of_a_table_that_nobody_made_are_there_all_the_same(store: LanceAnnotations) -> None:
    assert store.find_words(TENANT, TABLE, phrases("x"), [A], all_of=True).columns == [*ANNOTATION_ROWS, SCORE]
    assert store.settle(TENANT, TABLE) is False
    assert store.count(TENANT, TABLE, A) == 0
