"""Loads: pending, current, dead; graph versions by compare and swap."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.domain.errors import Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline_tests.adapters.ledger.made_ledger import KEY, register

STORE = "lancedb"
OTHER = PartitionKey("default", "f" * 16)


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    register(ledger)
    with ledger.lease(f"{STORE}/{KEY}", wait_seconds=0) as held:
        yield held


@pytest.fixture
def graph_lease(ledger: Ledger) -> Iterator[Lease]:
    register(ledger)
    register(ledger, OTHER)
    with ledger.lease("kuzu/default", wait_seconds=0) as held:
        yield held


def test_a_load_is_hidden_until_it_is_finished_and_the_one_before_it_from_then(ledger: Ledger, lease: Lease) -> None:
    first = ledger.begin_load(lease, STORE, KEY, "d-1")
    begun, hidden = ledger.hidden_loads(STORE, "default")
    assert hidden == [first]
    assert ledger.current_load(STORE, KEY) is None
    assert ledger.finish_load(lease, first, 10) == []
    finished, hidden = ledger.hidden_loads(STORE, "default")
    assert (hidden, finished > begun) == ([], True)
    second = ledger.begin_load(lease, STORE, KEY, "d-2")
    current = ledger.current_load(STORE, KEY)
    assert current is not None
    assert (current.load_id, current.digest, current.rows) == (first, "d-1", 10)
    assert ledger.finish_load(lease, second, 11) == [first]
    assert ledger.hidden_loads(STORE, "default")[1] == [first]
    ledger.drop_loads(STORE, [first, second])
    assert ledger.hidden_loads(STORE, "default")[1] == []
    kept = ledger.current_load(STORE, KEY)
    assert kept is not None
    assert kept.load_id == second


def test_what_a_dead_writer_left_is_marked_and_handed_out_for_removal(ledger: Ledger, lease: Lease) -> None:
    left = ledger.begin_load(lease, STORE, KEY, "d-1")
    assert ledger.abandon_stale_loads(lease, STORE, KEY) == [left]
    assert ledger.abandon_stale_loads(lease, STORE, KEY) == [left]
    with pytest.raises(Superseded):
        ledger.finish_load(lease, left, 1)
    assert ledger.hidden_loads(STORE, "default")[1] == [left]


def test_other_stores_tenants_and_callsets_are_left_alone(ledger: Ledger, lease: Lease) -> None:
    ledger.begin_load(lease, STORE, KEY, "d-1")
    assert ledger.hidden_loads("another", "default") == (0, [])
    assert ledger.hidden_loads(STORE, "other") == (0, [])
    assert ledger.abandon_stale_loads(lease, STORE, OTHER) == []


def test_a_forget_kills_current_and_pending_loads_and_raises_the_version(ledger: Ledger, lease: Lease) -> None:
    first = ledger.begin_load(lease, STORE, KEY, "d-1")
    ledger.finish_load(lease, first, 10)
    second = ledger.begin_load(lease, STORE, KEY, "d-2")
    before, _ = ledger.hidden_loads(STORE, "default")
    ledger.forget(KEY)
    after, hidden = ledger.hidden_loads(STORE, "default")
    assert after > before
    assert sorted(hidden) == sorted([first, second]) == sorted(ledger.dead_loads(STORE, KEY))
    assert ledger.current_load(STORE, KEY) is None
    with pytest.raises(Superseded):
        ledger.finish_load(lease, second, 11)


def test_no_load_begins_for_a_forgotten_callset(ledger: Ledger) -> None:
    register(ledger)
    ledger.forget(KEY)
    with ledger.lease(f"{STORE}/{KEY}", wait_seconds=0) as lease, pytest.raises(Superseded, match="forgotten"):
        ledger.begin_load(lease, STORE, KEY, "d-1")


def test_a_lost_lease_begins_and_finishes_nothing(ledger: Ledger) -> None:
    register(ledger)
    with ledger.lease(f"{STORE}/{KEY}", wait_seconds=0) as lost:
        load_id = ledger.begin_load(lost, STORE, KEY, "d-1")
        lost._release()
        for late in (
            lambda: ledger.begin_load(lost, STORE, KEY, "d-2"),
            lambda: ledger.finish_load(lost, load_id, 1),
            lambda: ledger.abandon_stale_loads(lost, STORE, KEY),
        ):
            with pytest.raises(Superseded):
                late()
    assert ledger.hidden_loads(STORE, "default")[1] == [load_id]


def test_a_graph_version_is_published_once_from_the_version_it_was_made_of(ledger: Ledger, graph_lease: Lease) -> None:
    assert ledger.graph_version("default") is None
    made = ledger.publish_graph(graph_lease, "default", 0, "v1", {KEY.callset_id: ("d-1", 5)})
    assert (made.version, made.n_callsets) == (1, 1)
    with pytest.raises(Superseded):
        ledger.publish_graph(graph_lease, "default", 0, "rival", {})
    ledger.publish_graph(graph_lease, "default", 1, "v2", {OTHER.callset_id: ("d-2", 6)})
    now = ledger.graph_version("default")
    assert now is not None
    assert (now.version, now.path, now.n_callsets) == (2, "v2", 2)
    assert {one: load.rows for one, load in ledger.graph_loads("default").items()} == {
        KEY.callset_id: 5,
        OTHER.callset_id: 6,
    }


def test_what_waits_for_the_graph_leaves_the_queue_with_the_digest_it_waited_with(
    ledger: Ledger, graph_lease: Lease
) -> None:
    ledger.queue_graph_load(KEY, "d-1")
    ledger.queue_graph_load(OTHER, "d-2")
    ledger.queue_graph_load(KEY, "d-3")
    loaded = {KEY.callset_id: ("d-1", 5), OTHER.callset_id: ("d-2", 6)}
    ledger.publish_graph(graph_lease, "default", 0, "v1", loaded)
    assert ledger.graph_queue("default") == [(KEY.callset_id, "d-3")]
    ledger.forget(KEY)
    assert ledger.graph_queue("default") == []


def test_a_callset_forgotten_while_it_was_loaded_is_not_current_in_the_graph(
    ledger: Ledger, graph_lease: Lease
) -> None:
    ledger.forget(KEY)
    ledger.publish_graph(graph_lease, "default", 0, "v1", {KEY.callset_id: ("d-1", 5)})
    assert ledger.current_load("kuzu", KEY) is None


def test_all_but_the_last_versions_are_old(ledger: Ledger, graph_lease: Lease) -> None:
    for version in range(4):
        ledger.publish_graph(graph_lease, "default", version, f"v{version + 1}", {})
    assert [old.path for old in ledger.old_graph_versions("default", keep=2)] == ["v1", "v2"]
    ledger.drop_graph_version("default", 1)
    assert [old.path for old in ledger.old_graph_versions("default")] == ["v2"]
