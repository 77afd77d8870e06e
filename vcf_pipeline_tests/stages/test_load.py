"""Loads: once, whole, and again after any death, while a reader looks on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph, Written
from vcf_pipeline.domain.errors import PermanentError, StoreUnavailable, Superseded, UsageError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections.graph_rows import GRAPH_VERSION, GraphRows
from vcf_pipeline.domain.projections.search_rows import PROJECTION_VERSION
from vcf_pipeline.domain.query import VariantQuery
from vcf_pipeline.stages.load import LoadReport, is_load_of, load_kuzu, unload_kuzu, unload_lancedb
from vcf_pipeline.stages.query import ask_graph, query_variants
from vcf_pipeline_tests.adapters.stores.test_kuzu_graph import contents
from vcf_pipeline_tests.made_tables import made_triaged, made_variants
from vcf_pipeline_tests.programs import children
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl, load_until_it_dies


@pytest.fixture
def control(tmp_path: Path) -> Iterator[MadeControl]:
    made = MadeControl(tmp_path)
    yield made
    made.close()


def rows_seen(control: MadeControl) -> int:
    """What a question finds now."""
    query = VariantQuery.parse()
    return query_variants(query, tables=control.tables, ledger=control.ledger, store=control.lancedb).total


def alleles_seen(control: MadeControl) -> int:
    """Alleles of every callset of the graph, or 0 where there is none."""
    try:
        cypher = "MATCH (:Callset)-[r:CONTAINS]->(:Variant) RETURN count(*)"
        return int(ask_graph(cypher, ledger=control.ledger, store=control.kuzu).answer.rows[0][0])
    except UsageError as error:
        assert error.code == "NO_GRAPH"
        return 0


LOADERS: dict[str, Callable[[MadeControl, PartitionKey], LoadReport]] = {
    "lancedb": MadeControl.load_lancedb,
    "kuzu": MadeControl.load_kuzu,
}


@pytest.mark.parametrize("store", LOADERS)
def test_a_load_is_done_once_and_anew_when_the_tables_change(control: MadeControl, store: str) -> None:
    load = LOADERS[store]
    key = control.put("a", 20)
    first, again = load(control, key), load(control, key)
    assert (first.rows, first.expected_rows, first.reused, first.scope) == (20, 20, False, "all")
    assert (again.rows, again.reused, again.digest) == (20, True, first.digest)
    control.put("a", 8)
    changed = load(control, key)
    assert (changed.rows, changed.reused) == (8, False)
    assert changed.digest != first.digest
    assert (rows_seen(control) if store == "lancedb" else alleles_seen(control)) == 8


def test_a_load_names_the_tables_that_it_was_made_from(control: MadeControl) -> None:
    key = control.put("a")
    parsed = control.tables.manifest(TENANT, key.callset_id, "parsed_variants")
    triaged = control.tables.manifest(TENANT, key.callset_id, "triaged_variants")
    assert parsed is not None
    assert triaged is not None
    for load in LOADERS.values():
        digest = load(control, key).digest
        assert is_load_of(digest, parsed.digest, triaged.digest)
        assert not is_load_of(digest, triaged.digest, parsed.digest)


@pytest.mark.parametrize("store", LOADERS)
def test_a_dropped_store_is_rebuilt_by_loading_again(control: MadeControl, store: str) -> None:
    keys = [control.put("a", 20), control.put("b", 10)]
    for key in keys:
        LOADERS[store](control, key)
    before = rows_seen(control) if store == "lancedb" else contents(control.kuzu, control.graph_is_at())
    for path in sorted((control.data / TENANT / f"_{'graph' if store == 'kuzu' else store}").rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    for key in keys:
        assert LOADERS[store](control, key).rows in (20, 10)
    after = rows_seen(control) if store == "lancedb" else contents(control.kuzu, control.graph_is_at())
    assert after == before


@pytest.mark.parametrize("store", LOADERS)
def test_a_callset_without_tables_is_refused(control: MadeControl, store: str) -> None:
    with pytest.raises(PermanentError, match="NO_TABLES"):
        LOADERS[store](control, PartitionKey(TENANT, "e" * 16))


@pytest.mark.parametrize("store", LOADERS)
def test_an_empty_callset_is_loaded_too(control: MadeControl, store: str) -> None:
    key = control.put("a", 0)
    assert LOADERS[store](control, key).rows == 0
    assert LOADERS[store](control, key).reused


def test_progress_ends_at_the_number_of_alleles(control: MadeControl) -> None:
    told: list[tuple[int, int]] = []
    key = control.put("a", 20)
    load_kuzu(
        key=key,
        tables=control.tables,
        ledger=control.ledger,
        store=control.kuzu,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (20, 20)


def test_a_large_callset_goes_into_the_graph_by_its_links(control: MadeControl) -> None:
    control.kuzu.all_up_to_alleles = 19
    key = control.put("a", 20)
    report = control.load_kuzu(key)
    assert (report.scope, report.rows, report.expected_rows) == ("linked", 16, 16)
    assert ask_graph("shared-genes", ledger=control.ledger, store=control.kuzu).linked == ["made a"]


def test_whoever_is_queued_is_taken_along(control: MadeControl) -> None:
    first, second, third = control.put("a"), control.put("b", first_pos=2000), control.put("c", first_pos=3000)
    control.load_kuzu(first)
    # as its own load, which waits for the lease, has queued it
    of_search = control.load_lancedb(third).digest
    control.ledger.queue_graph_load(third, of_search.replace(PROJECTION_VERSION, GRAPH_VERSION))
    assert not control.load_kuzu(second).reused
    assert control.kuzu.callsets(control.graph_is_at()) == {"a" * 16, "b" * 16, "c" * 16}
    assert control.ledger.graph_queue(TENANT) == []
    assert control.load_kuzu(third).reused


def test_a_queued_callset_that_is_broken_stops_its_own_load_alone(control: MadeControl) -> None:
    good, bad = control.put("a"), control.put("b")
    fewer = made_triaged(made_variants(3, callset="b"))
    control.write(bad, "triaged_variants", {"triaged": fewer})
    with pytest.raises(PermanentError, match="TABLES_DISAGREE"):
        control.load_kuzu(bad)
    assert [callset_id for callset_id, _ in control.ledger.graph_queue(TENANT)] == [bad.callset_id]
    assert control.load_kuzu(good).rows == 20
    assert control.ledger.current_load("kuzu", bad) is None


def test_two_versions_stay_and_no_orphan(control: MadeControl) -> None:
    for digit in "abcd":
        control.load_kuzu(control.put(digit, first_pos=ord(digit) * 1000))
    files = {f"{TENANT}/_graph/{folder.name}/" for folder in (control.data / TENANT / "_graph").iterdir()}
    known = control.ledger.old_graph_versions(TENANT, keep=0)
    assert [version.version for version in known] == [3, 4]
    assert {version.path.rpartition("/")[0] + "/" for version in known} == files


def test_a_forget_leaves_no_older_version_where_the_newest_was_lost(control: MadeControl) -> None:
    stays, goes = control.put("a"), control.put("b", first_pos=5000)
    control.load_kuzu(goes)
    control.load_kuzu(stays)
    control.kuzu.path(control.graph_is_at()).unlink()
    control.ledger.forget(goes)
    assert not unload_kuzu(goes, ledger=control.ledger, store=control.kuzu)
    assert [version.version for version in control.ledger.old_graph_versions(TENANT, keep=0)] == [2]
    assert not any((control.data / TENANT / "_graph").rglob("v000001*/*"))
    control.load_kuzu(stays)
    assert control.kuzu.callsets(control.graph_is_at()) == {stays.callset_id}


def test_a_forgotten_callset_is_gone_from_both_stores(control: MadeControl) -> None:
    stays, goes = control.put("a"), control.put("b", first_pos=5000)
    for key in (stays, goes):
        control.load_lancedb(key)
        control.load_kuzu(key)
    control.ledger.forget(goes)
    assert rows_seen(control) == 20
    assert unload_lancedb(goes, ledger=control.ledger, store=control.lancedb) == 1
    assert unload_kuzu(goes, ledger=control.ledger, store=control.kuzu)
    assert control.lancedb.count_where(TENANT, [], []) == 20
    assert control.kuzu.callsets(control.graph_is_at()) == {stays.callset_id}
    assert len(list((control.data / TENANT / "_graph").iterdir())) == 1
    assert unload_lancedb(goes, ledger=control.ledger, store=control.lancedb) == 0


def test_a_forget_in_the_middle_of_a_load_leaves_no_row(control: MadeControl, monkeypatch: pytest.MonkeyPatch) -> None:
    key = control.put("a")
    count = control.lancedb.count

    def forgotten_meanwhile(tenant: str, load_id: str) -> int:
        control.ledger.forget(key)
        return count(tenant, load_id)

    monkeypatch.setattr(control.lancedb, "count", forgotten_meanwhile)
    with pytest.raises(Superseded):
        control.load_lancedb(key)
    assert control.lancedb.count_where(TENANT, [], []) == 0


class Watcher:
    """Asks again and again, in a thread, and keeps what it saw and what went wrong."""

    def __init__(self, look: Callable[[], int]) -> None:
        self.seen: list[int] = []
        self.errors: list[BaseException] = []
        self._look, self._ended = look, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        # each look at a graph is a process: without a pause the looks would take the loads' processor
        while not self._ended.wait(0.1):
            try:
                self.seen.append(self._look())
            except BaseException as error:
                self.errors.append(error)
                return

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.mark.parametrize(
    ("store", "moments"),
    [("lancedb", ("rows", "added", "removing")), ("kuzu", ("rows", "written", "discarding"))],
)
def test_a_reader_beside_loads_that_are_killed_sees_whole_loads_only(
    control: MadeControl, tmp_path: Path, store: str, moments: tuple[str, ...]
) -> None:
    key = control.put("a", 20)
    LOADERS[store](control, key)
    look = rows_seen if store == "lancedb" else alleles_seen
    with Watcher(lambda: look(control)) as watcher:
        for n_records, moment in enumerate(moments, start=30):
            control.put("a", n_records)
            child = children().Process(target=load_until_it_dies, args=(tmp_path, store, "a", moment))
            child.start()
            child.join(60)
            assert child.exitcode == -signal.SIGKILL
            assert look(control) in (20 if n_records == 30 else n_records - 1, n_records)
            assert LOADERS[store](control, key).rows == n_records
            assert look(control) == n_records
    assert watcher.errors == []
    assert len(watcher.seen) > 3
    assert set(watcher.seen) <= {20, 30, 31, 32}
    assert watcher.seen == sorted(watcher.seen)
    assert control.ledger.hidden_loads(store, TENANT)[1] == []
    if store == "lancedb":
        assert control.lancedb.count_where(TENANT, [], []) == 32
    else:
        assert len(list((control.data / TENANT / "_graph").iterdir())) <= 2


class FullGraph(KuzuGraph):
    """Takes any callset but one, as where its edges are more than the store can hold."""

    too_much = ""

    def write_version(self, tenant: str, **given: Any) -> Written:
        def until_it_is_full() -> Iterator[GraphRows]:
            for rows in given["callsets"]:
                if rows.callset_id == self.too_much:
                    raise StoreUnavailable(where="Kuzu", got="no memory")
                yield rows

        return super().write_version(tenant, **{**given, "callsets": until_it_is_full()})


def test_a_callset_that_the_graph_cannot_take_fails_its_own_load_alone(control: MadeControl) -> None:
    control.load_kuzu(control.put("a", 5))
    heavy, light = control.put("b", 7, first_pos=3000), control.put("c", 9, first_pos=5000)
    graph = FullGraph(control.data, buffer_pool_bytes=64 << 20)
    graph.too_much = heavy.callset_id
    control.kuzu = graph
    with pytest.raises(StoreUnavailable, match="no memory"):
        control.load_kuzu(heavy)
    assert control.load_kuzu(light).rows == 9
    assert alleles_seen(control) == 14
    graph.too_much = ""
    assert control.load_kuzu(heavy).rows == 7
    assert alleles_seen(control) == 21


def _load_both(root: Path, digit: str) -> None:
    control = MadeControl(root)
    key = PartitionKey(TENANT, digit * 16)
    control.load_lancedb(key)
    control.load_kuzu(key)


def test_callsets_that_are_loaded_at_once_by_several_processes_all_arrive(control: MadeControl, tmp_path: Path) -> None:
    for number, digit in enumerate("ab"):
        control.put(digit, 20, first_pos=1000 + 1000 * number)
    loaders = [children().Process(target=_load_both, args=(tmp_path, digit)) for digit in "aba"]
    for loader in loaders:
        loader.start()
    for loader in loaders:
        loader.join(120)
    assert [loader.exitcode for loader in loaders] == [0, 0, 0]
    assert rows_seen(control) == alleles_seen(control) == 40
