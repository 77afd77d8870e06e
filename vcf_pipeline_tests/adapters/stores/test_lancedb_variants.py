"""The search table: whole loads or none, any number of writers, and text that nobody may trust."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.adapters.stores import lance, lancedb_variants
from vcf_pipeline.adapters.stores.lancedb_variants import (
    ROW_ADDRESS,
    LanceVariants,
    best_rows,
    where_clause,
)
from vcf_pipeline.domain.errors import BadTenantName, PermanentError, StoreUnavailable
from vcf_pipeline.domain.projections.search_rows import SEARCH_ROWS, search_rows
from vcf_pipeline.domain.query import Condition, VariantQuery
from vcf_pipeline_tests.made_tables import cut, made_triaged, made_variants
from vcf_pipeline_tests.programs import children

CALLSET = "0123456789abcdef"


def made_rows(n_records: int, callset: str = CALLSET) -> Iterator[pl.DataFrame]:
    variants = made_variants(n_records, callset=callset)
    return search_rows(callset, cut(variants, n_records // 2), cut(made_triaged(variants)))


@pytest.fixture
def store(tmp_path: Path) -> LanceVariants:
    return LanceVariants(tmp_path)


def test_a_load_is_counted_found_and_removed(store: LanceVariants) -> None:
    assert store.add("default", "load-1", made_rows(50)) == 50
    assert store.count("default", "load-1") == 50
    found = store.search("default", VariantQuery.parse(gene="tp53").conditions(), [], ["pos", "gene"], 3)
    assert found.rows() == [(1030, "TP53"), (1080, "TP53"), (1130, "TP53")]
    store.remove("default", ["load-1", "never-heard-of"])
    assert store.count("default", "load-1") == 0


def test_a_tenant_that_never_loaded_has_nothing_and_leaves_nothing(store: LanceVariants) -> None:
    assert store.count("nobody", "load-1") == 0
    assert store.search("nobody", [], [], ["pos"], 5).is_empty()
    store.remove("nobody", ["load-1"])
    assert store.optimize("nobody") is False
    assert list(store.root.iterdir()) == []


def test_a_tenants_name_is_checked_before_it_becomes_a_path(store: LanceVariants) -> None:
    with pytest.raises(BadTenantName):
        store.count("../else", "load-1")


def test_values_come_back_as_they_went_in(store: LanceVariants) -> None:
    sent = pl.concat(made_rows(12))
    store.add("default", "load-1", iter([sent]))
    back = store.search("default", [], [], list(SEARCH_ROWS), 100)
    assert back.cast(dict(SEARCH_ROWS)).equals(sent)  # type: ignore[arg-type]


def test_hidden_loads_do_not_show(store: LanceVariants) -> None:
    store.add("default", "old", made_rows(10))
    store.add("default", "new", made_rows(10))
    assert store.count_where("default", [], []) == 20
    assert store.count_where("default", [], ["old"]) == 10
    assert store.count_where("default", [], ["old", "new"]) == 0


def test_an_error_in_the_rows_is_the_error_that_is_raised_and_nothing_is_added(store: LanceVariants) -> None:
    def rows() -> Iterator[pl.DataFrame]:
        yield from made_rows(10)
        raise PermanentError(code="TABLES_DISAGREE", where="record 11")

    with pytest.raises(PermanentError, match="TABLES_DISAGREE"):
        store.add("default", "load-1", rows())
    assert store.count("default", "load-1") == 0


def test_an_empty_load_is_a_load(store: LanceVariants) -> None:
    assert store.add("default", "load-1", iter([])) == 0
    assert store.count("default", "load-1") == 0


def test_a_snapshot_does_not_see_what_comes_after_it(store: LanceVariants) -> None:
    store.add("default", "load-1", made_rows(10))
    snapshot = store.snapshot("default")
    assert snapshot is not None
    store.add("default", "load-2", made_rows(7))
    store.remove("default", ["load-1"])
    store.optimize("default")
    assert snapshot.count() == 10
    rows = pl.concat(snapshot.scan(["pos"]))
    assert snapshot.take(rows[ROW_ADDRESS].reverse().to_list(), ["pos"])["pos"].equals(rows["pos"].reverse())
    assert store.count_where("default", [], []) == 7


def test_large_tables_get_indexes_and_answer_the_same(store: LanceVariants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lancedb_variants, "ROWS_WORTH_AN_INDEX", 1)
    questions = [
        VariantQuery.parse(gene="c9ORF72"),
        VariantQuery.parse(region="17:1,100-1,200", tier="1,unknown"),
        VariantQuery.parse(max_af=0.01, significance="P"),
    ]
    store.add("default", "load-1", made_rows(60))
    before = [store.count_where("default", question.conditions(), []) for question in questions]
    assert store.optimize("default") is True
    store.add("default", "load-2", made_rows(60, "f" * 16))
    after = [store.count_where("default", question.conditions(), ["load-2"]) for question in questions]
    assert before == after == [12, 5, 8]


@pytest.mark.parametrize(
    "text", ["x' OR '1'='1", "x'; DROP TABLE variants; --", "\\' OR 1=1 --", "100%", "naïve 日本", "`gene`"]
)
def test_hostile_text_is_only_a_value(store: LanceVariants, text: str) -> None:
    rows = pl.concat(made_rows(10)).with_columns(
        pl.when(pl.col("record_no") == 3).then(pl.lit(text)).otherwise("gene").alias("gene")
    )
    store.add("default", "load-1", iter([rows]))
    for operator in ("=", "in"):
        condition = Condition("gene", operator, text)  # type: ignore[arg-type]
        assert store.search("default", [condition], [], ["record_no"], 9)["record_no"].to_list() == [3]


def test_columns_are_ours_and_control_characters_are_refused() -> None:
    with pytest.raises(PermanentError, match="column"):
        where_clause([Condition("gene = 1 OR tier", "=", 1)])
    with pytest.raises(PermanentError, match="printable"):
        where_clause([Condition("gene", "=", "a\0b")])
    assert where_clause([Condition("tier", "in or null", ())]) == "(FALSE OR `tier` IS NULL)"


def test_the_best_rows_are_the_same_however_they_come() -> None:
    frame = pl.DataFrame({"tier": [3, None, 1, 2, 1], ROW_ADDRESS: [0, 1, 2, 3, 4]})
    whole = best_rows(iter([frame]), ["tier", ROW_ADDRESS], 3)
    assert whole[ROW_ADDRESS].to_list() == [2, 4, 3]
    assert best_rows(cut(frame, 1, 2, 1), ["tier", ROW_ADDRESS], 3).equals(whole)


def _load_and_replace(root: Path, name: str) -> None:
    store = LanceVariants(root)
    for turn in range(3):
        store.add("default", f"{name}-{turn}", made_rows(200, f"{name}"))
        if turn:
            store.remove("default", [f"{name}-{turn - 1}"])
        store.optimize("default")


def test_writers_in_several_processes_make_one_table_and_lose_nothing(tmp_path: Path) -> None:
    writers = [children().Process(target=_load_and_replace, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    store = LanceVariants(tmp_path)
    assert [store.count("default", f"{name}-2") for name in "abc"] == [200, 200, 200]
    assert store.count_where("default", [], []) == 600


@pytest.mark.parametrize(
    ("error", "kind", "is_conflict"),
    [
        (RuntimeError("lance error: Retryable commit conflict for version 3: …, /rust/x.rs:1"), StoreUnavailable, True),
        (RuntimeError("lance error: LanceError(IO): No space left on device"), StoreUnavailable, False),
        (OSError(28, "No space left on device"), StoreUnavailable, False),
        (ValueError("Invalid input, Schema error: No field named x"), PermanentError, None),
    ],
)
def test_every_error_of_the_vendor_becomes_one_of_ours(
    error: Exception, kind: type[Exception], is_conflict: bool | None
) -> None:
    with pytest.raises(kind) as caught, lance.mapped():
        raise error
    assert caught.value.data.get("is_conflict") is is_conflict  # type: ignore[attr-defined]


def test_a_broken_table_is_a_store_that_is_unavailable(store: LanceVariants) -> None:
    store.add("default", "load-1", made_rows(10))
    for data in store.root.glob("default/_lancedb/variants.lance/data/*"):
        data.write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        store.search("default", [], [], ["pos"], 5)
