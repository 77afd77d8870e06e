"""Explanations in both stores: as the tables are, once, and again after any death; gone when the callset is."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder
from vcf_pipeline.adapters.embedders.port import Embedder
from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph, Written
from vcf_pipeline.adapters.stores.lancedb_annotations import LanceAnnotations
from vcf_pipeline.domain.errors import PermanentError, ProviderUnavailable
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections.graph_rows import GRAPH_VERSION
from vcf_pipeline.domain.text_query import phrases
from vcf_pipeline.stages.forget import forget_callset
from vcf_pipeline.stages.load import LoadReport
from vcf_pipeline.stages.load_annotations import (
    GRAPH,
    SEARCH,
    SearchLoad,
    load_kuzu_annotations,
    load_lancedb_annotations,
    stale_annotation_loads,
)
from vcf_pipeline.stages.query import ask_graph
from vcf_pipeline_tests.adapters.stores.test_kuzu_graph import contents
from vcf_pipeline_tests.programs import children
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl, die


class Counting(HashingEmbedder):
    """Remembers what it was asked. name: of the model that it stands for."""

    def __init__(self, name: str = "hashing-1", width: int = 384) -> None:
        self.name = name
        self.width = width
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return super().embed(texts)[:, : self.width]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[MadeControl]:
    made = MadeControl(tmp_path)
    yield made
    made.close()


def load_search(control: MadeControl, key: PartitionKey, embedder: Embedder | None = None) -> LoadReport:
    return load_lancedb_annotations(
        key=key,
        tables=control.tables,
        ledger=control.ledger,
        store=control.annotations,
        embedder=embedder or HashingEmbedder(),
    )


def load_graph(control: MadeControl, key: PartitionKey) -> LoadReport:
    return load_kuzu_annotations(key=key, tables=control.tables, ledger=control.ledger, store=control.kuzu)


def searched(control: MadeControl, word: str = "known") -> pl.DataFrame:
    """Rows of every table that have the word, whatever the ledger says."""
    callsets = [callset.callset_id for callset in control.ledger.callsets(TENANT)]
    found = [
        control.annotations.find_words(TENANT, table, phrases(word), callsets, all_of=True)
        for table in control.annotations.tables(TENANT)
    ]
    return pl.concat(found) if found else pl.DataFrame()


def explained(control: MadeControl) -> list[list[Any]]:
    cypher = "MATCH (c:Callset)-[r:EXPLAINED]->(v:Variant) RETURN c.key, v.variant_key, r.summary ORDER BY c.key, v.key"
    return ask_graph(cypher, ledger=control.ledger, store=control.kuzu).answer.rows


def stale(control: MadeControl, key: PartitionKey, embedder: str = "hashing-1") -> list[str]:
    return stale_annotation_loads(key, ledger=control.ledger, tables=control.tables, embedder_name=embedder)


def test_only_what_was_annotated_is_loaded_and_only_once(control: MadeControl) -> None:
    key = control.put("a", 20)
    control.explain(key)
    assert stale(control, key) == [SEARCH, GRAPH]
    first, again = load_search(control, key), load_search(control, key)
    assert (first.rows, first.expected_rows, first.reused, again.reused) == (7, 7, False, True)
    on_graph, once_more = load_graph(control, key), load_graph(control, key)
    assert (on_graph.rows, on_graph.expected_rows, on_graph.reused, once_more.reused) == (7, 7, False, True)
    assert searched(control).height == len(explained(control)) == 7
    assert stale(control, key) == []


def test_without_explanations_there_is_nothing_to_load_or_to_miss(control: MadeControl) -> None:
    key = control.put("a", 5)
    assert stale(control, key) == []
    for load in (load_search, load_graph):
        with pytest.raises(PermanentError, match="NO_TABLES"):
            load(control, key)


def test_new_explanations_replace_the_old_and_leave_other_callsets(control: MadeControl) -> None:
    keys = [control.put("a", 20), control.put("b", 10, first_pos=5000)]
    for key in keys:
        control.explain(key)
        load_search(control, key)
        load_graph(control, key)
    control.explain(keys[0], word="since", tiers=(1,))
    assert stale(control, keys[0]) == [SEARCH, GRAPH]
    assert load_search(control, keys[0]).rows == load_graph(control, keys[0]).rows == 3
    assert (searched(control, "since").height, searched(control, "known").height) == (3, 3)
    assert sorted("since" in summary for _, _, summary in explained(control)) == [False] * 3 + [True] * 3


def test_the_graph_tells_what_is_explained_of_a_gene_or_for_a_condition(control: MadeControl) -> None:
    key = control.put("a", 20)
    control.explain(key)
    load_graph(control, key)
    for question, value, n_rows in [("explained", "BRCA2", 3), ("explained-condition", "BREAST", 4)]:
        parameter = "gene" if question == "explained" else "condition"
        answer = ask_graph(question, {parameter: value}, ledger=control.ledger, store=control.kuzu).answer
        assert len(answer.rows) == n_rows
        assert answer.columns[0] == "tier"
        assert all("is known to be" in row[answer.columns.index("summary")] for row in answer.rows)


def test_a_callset_that_comes_to_the_graph_later_or_anew_brings_its_explanations(control: MadeControl) -> None:
    first, second = control.put("a", 20), control.put("b", 10, first_pos=5000)
    control.explain(first)
    assert load_graph(control, first).rows == 7  # kuzu_variants had not been there yet
    control.load_kuzu(second)
    assert len(explained(control)) == 7
    control.explain(second)
    before = contents(control.kuzu, control.graph_is_at())
    # a callset whose tables change is left out of the copy and written anew
    control.put("b", 8, first_pos=5000)
    control.load_kuzu(second)
    assert explained(control) == [row for row in explained(control) if row[0] == first.callset_id]
    assert stale(control, second) == []  # its explanations were of the triage before
    control.put("b", 10, first_pos=5000)
    control.explain(second)
    control.load_kuzu(second)
    assert len(explained(control)) == 7 + 3
    assert load_graph(control, second).reused
    assert {
        name: rows for name, rows in contents(control.kuzu, control.graph_is_at()).items() if name != "EXPLAINED"
    } == {name: rows for name, rows in before.items() if name != "EXPLAINED"}


def test_explanations_of_an_older_triage_do_not_count(control: MadeControl) -> None:
    key = control.put("a", 20)
    control.explain(key)
    control.put("a", 21)
    with pytest.raises(PermanentError, match="NO_TABLES"):
        load_search(control, key)
    control.load_kuzu(key)
    assert explained(control) == []


def test_a_callset_with_nothing_to_explain_is_loaded_with_nothing(control: MadeControl) -> None:
    key = control.put("a", 20)
    control.explain(key, tiers=(1,))
    load_search(control, key)
    load_graph(control, key)
    control.explain(key, tiers=())
    assert load_search(control, key).rows == load_graph(control, key).rows == 0
    assert load_search(control, key).reused
    assert (searched(control).height, explained(control)) == (0, [])


def test_another_embedder_makes_new_vectors_and_the_old_ones_go(control: MadeControl) -> None:
    key = control.put("a", 20)
    control.explain(key)
    load_search(control, key)
    other = Counting("vendor/model:latest", width=96)
    assert stale(control, key, other.name) == [SEARCH, GRAPH]
    assert not load_search(control, key, other).reused
    assert len(other.asked) == 7
    assert searched(control).height == 7
    current = control.ledger.current_load(SEARCH, key)
    assert current is not None
    load = SearchLoad.parse(current.digest)
    assert (load.embedder, load.dimensions) == ("vendor/model:latest", 96)
    assert SearchLoad.parse(load.digest) == load


def test_the_same_text_is_embedded_once_for_all_callsets(control: MadeControl) -> None:
    embedder = Counting()
    for digit in "ab":
        key = control.put(digit, 20)  # the same alleles in another file
        control.explain(key)
        load_search(control, key, embedder)
    assert len(embedder.asked) == len(set(embedder.asked)) == 7
    control.explain(key, word="since")
    load_search(control, key, embedder)
    assert len(embedder.asked) == 14


def test_an_embedder_that_fails_leaves_what_was_there(control: MadeControl) -> None:
    class Failing(HashingEmbedder):
        name = "vendor/model"

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            raise ProviderUnavailable(where="vendor", provider="vendor", retry_after=None, may_be_billed=False)

    key = control.put("a", 20)
    control.explain(key)
    load_search(control, key)
    with pytest.raises(ProviderUnavailable):
        load_search(control, key, Failing())
    assert searched(control).height == 7
    assert load_search(control, key).reused
    control.explain(key, word="since")
    stood_in = load_lancedb_annotations(
        key=key,
        tables=control.tables,
        ledger=control.ledger,
        store=control.annotations,
        embedder=Failing(),
        stand_in=HashingEmbedder(),
    )
    assert (stood_in.rows, searched(control, "since").height) == (7, 7)
    assert SEARCH in stale(control, key, Failing.name)  # tried anew when it can


def test_a_forgotten_callset_leaves_no_explanation(control: MadeControl) -> None:
    gone, kept = control.put("a", 20), control.put("b", 20)
    for key in (gone, kept):
        control.explain(key)
        load_search(control, key)
        load_graph(control, key)
    forget_callset(gone, ledger=control.ledger, tables=control.tables, lancedb=control.lancedb, kuzu=control.kuzu)
    assert set(searched(control)["callset_id"]) == {row[0] for row in explained(control)} == {kept.callset_id}
    for store in (SEARCH, GRAPH):
        assert control.ledger.current_load(store, gone) is None
        assert control.ledger.dead_loads(store, gone) == []


def test_who_waits_for_the_graph_is_taken_along(control: MadeControl) -> None:
    first, second = control.put("a", 20), control.put("b", 10, first_pos=5000)
    for key in (first, second):
        control.load_kuzu(key)
        control.explain(key)
    with control.ledger.lease(f"{GRAPH}/{second}", wait_seconds=5) as lease:
        triaged = control.tables.manifest(TENANT, second.callset_id, "triaged_variants")
        ai = control.tables.manifest(TENANT, second.callset_id, "ai_annotations")
        assert triaged is not None
        assert ai is not None
        # as another process does before it waits
        control.ledger.begin_load(lease, GRAPH, second, f"{ai.digest}/{triaged.digest}/{GRAPH_VERSION}")
    before = control.ledger.graph_version(TENANT)
    load_graph(control, first)
    assert load_graph(control, second).reused
    after = control.ledger.graph_version(TENANT)
    assert before is not None
    assert after is not None
    assert after.version == before.version + 1
    assert control.ledger.pending_loads(GRAPH, TENANT) == {}


# --- killed


class DyingAnnotations(LanceAnnotations):
    """Dies once: `before` and `after` the commit of the rows, `removing` when the ledger has it already."""

    def __init__(self, root: Path, moment: str) -> None:
        super().__init__(root)
        self.moment = moment

    def replace(self, *given: Any) -> None:
        if self.moment == "before":
            die()
        super().replace(*given)
        if self.moment == "after":
            die()

    def remove(self, *given: Any, **named: Any) -> None:
        if self.moment == "removing":
            die()
        super().remove(*given, **named)


class DyingGraph(KuzuGraph):
    """Dies once: `written` before the version is published, `sweeping` after."""

    def __init__(self, root: Path, moment: str) -> None:
        super().__init__(root, buffer_pool_bytes=64 << 20)
        self.moment = moment

    def write_version(self, tenant: str, **given: Any) -> Written:
        written = super().write_version(tenant, **given)
        if self.moment == "written":
            die()
        return written

    def sweep(self, tenant: str, keep: Any) -> list[str]:
        if self.moment == "sweeping":
            die()
        return super().sweep(tenant, keep)


def load_until_it_dies(root: Path, store: str, moment: str) -> None:
    control = MadeControl(root)
    key = PartitionKey(TENANT, "a" * 16)
    if store == SEARCH:
        control.annotations = DyingAnnotations(control.data, moment)
        load_search(control, key, HashingEmbedder())
    else:
        control.kuzu = DyingGraph(control.data, moment)
        load_graph(control, key)


@pytest.mark.parametrize(
    ("store", "moment"),
    [(SEARCH, "before"), (SEARCH, "after"), (SEARCH, "removing"), (GRAPH, "written"), (GRAPH, "sweeping")],
)
def test_killed_and_tried_again_it_is_as_if_nothing_had_been(control: MadeControl, store: str, moment: str) -> None:
    key = control.put("a", 20)
    control.load_kuzu(key)
    control.explain(key, word="formerly")
    load_search(control, key)
    load_graph(control, key)
    control.explain(key, word="lately")
    child = children().Process(target=load_until_it_dies, args=(control.root, store, moment))
    child.start()
    child.join(timeout=240)
    assert child.exitcode == -signal.SIGKILL
    # whole, the old or the new
    words = {"formerly" in row for row in searched(control, "17")["summary"]}
    assert (len(words), searched(control, "17").height) == (1, 7)
    assert len({"formerly" in summary for _, _, summary in explained(control)}) == 1
    assert len(explained(control)) == 7
    assert load_search(control, key).rows == load_graph(control, key).rows == 7
    assert (searched(control, "formerly").height, searched(control, "lately").height) == (0, 7)
    assert all("lately" in summary for _, _, summary in explained(control))
    assert stale(control, key) == []
    assert control.ledger.hidden_loads(store, TENANT)[1] == []
