"""Versions of the graph: whole, never changed, and equal however they came about."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph, mapped, open_graph, rows_of
from vcf_pipeline.domain.errors import StoreUnavailable, Superseded
from vcf_pipeline.domain.projections.graph_rows import EDGES, NODES, GraphRows, graph_rows
from vcf_pipeline_tests.made_tables import cut, made_genotypes, made_triaged, made_variants

POOL = 64 << 20
A, B = "a" * 16, "b" * 16


@pytest.fixture
def store(tmp_path: Path) -> KuzuGraph:
    return KuzuGraph(tmp_path, buffer_pool_bytes=POOL)


def made_callset(callset: str, n_records: int = 20, *, first_pos: int = 1000) -> GraphRows:
    variants = made_variants(n_records, callset=callset, first_pos=first_pos)
    return graph_rows(
        tenant="default",
        callset_id=callset,
        label=f"made {callset[0]}",
        assembly="GRCh38",
        samples=["anna", "bert"],
        scope="all",
        variants=cut(variants, 7),
        triaged=cut(made_triaged(variants)),
        genotypes=cut(made_genotypes([[0, 1, 1, 1]] * n_records), 4),
    )


def write(store: KuzuGraph, name: str, base: str | None, kept: Sequence[str], *callsets: GraphRows) -> str:
    return store.write_version("default", name=name, base=base, kept=kept, callsets=callsets)[0]


def contents(store: KuzuGraph, path: str) -> dict[str, list[list[Any]]]:
    """Every node and edge, in an order of their own."""
    found = {}
    with open_graph(store.path(path), buffer_pool_bytes=POOL, is_read_only=True) as graph:
        for name, columns in NODES.items():
            wanted = ", ".join(f"n.`{column}`" for column in columns)
            found[name] = sorted(rows_of(graph, f"MATCH (n:{name}) RETURN {wanted}"), key=repr)
        for name, (source, target, edge_columns) in EDGES.items():
            wanted = ", ".join(["a.`key`", "b.`key`", *(f"r.`{column}`" for column in edge_columns)])
            cypher = f"MATCH (a:{source})-[r:{name}]->(b:{target}) RETURN {wanted}"
            found[name] = sorted(rows_of(graph, cypher), key=repr)
    return found


def test_a_version_holds_a_callset_in_one_file_that_nobody_may_write(store: KuzuGraph) -> None:
    path, rows, _ = store.write_version("default", name="v1", base=None, kept=(), callsets=[made_callset(A)])
    assert rows == {A: 20}
    assert [found.name for found in store.path(path).parent.iterdir()] == ["graph.kuzu"]
    assert stat.S_IMODE(store.path(path).stat().st_mode) == 0o400
    found = contents(store, path)
    assert len(found["Variant"]) == len(found["CONTAINS"]) == 20
    assert len(found["CARRIES"]) == 40
    assert [row[0] for row in found["Gene"]] == ["BRCA1", "BRCA2", "C9orf72", "TP53"]
    assert len(found["HAS_CLAIM"]) == 4


def test_callsets_share_variants_genes_and_conditions(store: KuzuGraph) -> None:
    first = write(store, "v1", None, (), made_callset(A))
    second = write(store, "v2", first, [A], made_callset(B, first_pos=1100))
    found = contents(store, second)
    assert len(found["Callset"]) == 2
    assert len(found["Variant"]) == 30
    assert len(found["CONTAINS"]) == 40
    assert len(found["Gene"]) == 4


def test_the_version_before_is_untouched(store: KuzuGraph) -> None:
    first = write(store, "v1", None, (), made_callset(A))
    before = store.path(first).read_bytes()
    write(store, "v2", first, [A], made_callset(B))
    assert store.path(first).read_bytes() == before


def test_the_order_and_the_number_of_passes_do_not_show(store: KuzuGraph) -> None:
    one_by_one = write(store, "v2", write(store, "v1", None, (), made_callset(A)), [A], made_callset(B, first_pos=1100))
    the_other_way = write(
        store, "v4", write(store, "v3", None, (), made_callset(B, first_pos=1100)), [B], made_callset(A)
    )
    at_once = write(store, "v5", None, (), made_callset(A), made_callset(B, first_pos=1100))
    assert contents(store, one_by_one) == contents(store, the_other_way) == contents(store, at_once)


def test_a_changed_callset_leaves_nothing_of_what_it_was(store: KuzuGraph) -> None:
    both = write(store, "v1", None, (), made_callset(A), made_callset(B, first_pos=5000))
    changed = write(store, "v2", both, [B], made_callset(A, 5))
    anew = write(store, "v3", None, (), made_callset(A, 5), made_callset(B, first_pos=5000))
    assert contents(store, changed) == contents(store, anew)


def test_a_callset_that_is_not_kept_is_gone(store: KuzuGraph) -> None:
    both = write(store, "v1", None, (), made_callset(A), made_callset(B, first_pos=5000))
    assert store.callsets(both) == {A, B}
    without = write(store, "v2", both, [B])
    assert contents(store, without) == contents(store, write(store, "v3", None, (), made_callset(B, first_pos=5000)))


def test_work_that_ends_early_leaves_nothing(store: KuzuGraph) -> None:
    def callsets() -> Iterator[GraphRows]:
        yield made_callset(A)
        raise Superseded(where="lease")

    with pytest.raises(Superseded):
        store.write_version("default", name="v1", base=None, kept=(), callsets=callsets())
    assert list(store.root.glob("default/_graph/*")) == []


def test_a_lost_lease_stops_the_work(store: KuzuGraph) -> None:
    def lost() -> None:
        raise Superseded(where="lease")

    with pytest.raises(Superseded):
        store.write_version("default", name="v1", base=None, kept=(), callsets=[made_callset(A)], check=lost)


def test_orphans_are_swept_and_versions_discarded(store: KuzuGraph) -> None:
    first = write(store, "v1", None, (), made_callset(A))
    second = write(store, "v2", first, [A])
    assert store.sweep("default", [second]) == ["v1"]
    store.discard(second)
    store.discard(second)
    assert store.sweep("default", []) == []


def test_a_missing_base_is_said_as_such(store: KuzuGraph) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        write(store, "v2", "default/_graph/v1/graph.kuzu", [A])
    assert caught.value.data["is_missing"] is True


@pytest.mark.parametrize(
    "error", [RuntimeError("Buffer manager exception"), OSError(28, "No space left"), MemoryError()]
)
def test_every_error_of_the_vendor_becomes_one_of_ours(error: Exception) -> None:
    with pytest.raises(StoreUnavailable), mapped():
        raise error


def test_edges_are_copied_in_pieces_and_none_is_lost(store: KuzuGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(store, write(store, "v1", None, (), made_callset(A)))
    monkeypatch.setattr("vcf_pipeline.adapters.stores.kuzu_graph.EDGES_A_COPY", 3)
    assert contents(store, write(store, "v2", None, (), made_callset(A))) == whole
