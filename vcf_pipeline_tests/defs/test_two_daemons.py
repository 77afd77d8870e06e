"""Two daemons on one ledger: their sensors hear the same with cursors of their own, and what they ask for is done once.

Not here: two daemons with a ledger each (journeys/test_sender_and_control_apart.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.stores.kuzu_graph import open_graph, rows_of
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline_tests.defs.conftest import Desk

Daemons = tuple[Desk, Desk]
ROUNDS = 3


@pytest.fixture
def daemons(disk_desk: Desk) -> Iterator[Daemons]:
    """Each with its own control and cursors, over one home and one instance."""
    other = Desk(disk_desk.instance, disk_desk.folder)
    yield disk_desk, other
    other.close()


def asked(result: dg.SensorResult) -> dict[str | None, str | None]:
    """Partition by run key: Dagster starts one run a key."""
    return {request.run_key: request.partition_key for request in result.run_requests or []}


def reused(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """By asset, whether its materialisation found everything done."""
    assert result.success
    events = [event for event in result.all_events if event.is_step_materialization]
    made = [event.step_materialization_data.materialization for event in events]
    return {one.asset_key.to_user_string(): bool(one.metadata["reused"].value) for one in made}


def rows(desk: Desk, partition: str) -> dict[str, int]:
    """Of the callset, counted wherever it is kept."""
    key, control = PartitionKey.parse(partition), desk.control
    place = pl.struct("record_no", "alt_index")
    table = control.tables.scan(key.tenant, key.callset_id, "parsed_variants", "variants").select(place).collect()
    load, version = control.ledger.current_load("lancedb", key), control.ledger.graph_version(key.tenant)
    assert load is not None
    assert version is not None
    with open_graph(control.kuzu.path(version.path), buffer_pool_bytes=64 << 20, is_read_only=True) as graph:
        counted = "MATCH (c:Callset)-[r:CONTAINS]->(:Variant) WHERE c.`key` ENDS WITH $callset RETURN count(r)"
        ((in_graph,),) = rows_of(graph, counted, {"callset": key.callset_id})
    return {
        "table": table.height,
        "unique": table.n_unique(),
        "lancedb": control.lancedb.count(key.tenant, load.load_id),
        "graph": in_graph,
    }


def test_daemons_that_take_turns_ask_for_the_same_and_the_second_run_finds_it_done(daemons: Daemons) -> None:
    one, other = daemons
    alleles = {one.publish(records): records + 1 for records in (3, 4)}
    first = one.tick("callset_sensor")
    second = other.tick("callset_sensor")
    assert asked(first) == asked(second)
    assert sorted(asked(first).values()) == sorted(alleles)
    for request in first.run_requests:
        assert set(reused(one.run(request)).values()) == {False}
    once = {partition: rows(one, partition) for partition in alleles}
    assert once == {
        partition: dict.fromkeys(("table", "unique", "lancedb", "graph"), count) for partition, count in alleles.items()
    }
    for request in second.run_requests:
        assert set(reused(other.run(request)).values()) == {True}
    assert {partition: rows(other, partition) for partition in alleles} == once


def test_a_daemon_that_hears_late_asks_for_nothing_that_the_other_has_done(daemons: Daemons) -> None:
    one, other = daemons
    partition = one.publish()
    (request,) = one.tick("callset_sensor").run_requests
    assert one.run(request).success
    assert asked(other.tick("callset_sensor")) == {}
    later = other.publish(5)
    assert list(asked(other.tick("callset_sensor")).values()) == [later]
    assert list(asked(one.tick("callset_sensor")).values()) == [later]
    assert one.state(partition) == "done"


@pytest.mark.parametrize("callsets", [3, 9], ids=["singly", "a burst"])
def test_daemons_that_hear_at_the_same_moment_ask_for_the_same(callsets: int, daemons: Daemons) -> None:
    for turn in range(ROUNDS):
        published = [daemons[0].publish(1 + turn * callsets + number) for number in range(callsets)]
        together = threading.Barrier(len(daemons))

        def tick(desk: Desk, together: threading.Barrier = together) -> dg.SensorResult:
            together.wait(60)
            return desk.tick("callset_sensor")

        with ThreadPoolExecutor(len(daemons)) as pool:
            first, second = pool.map(tick, daemons)
        assert asked(first) == asked(second)
        assert len(asked(first)) == (callsets if callsets < 8 else 1)
        known = daemons[0].instance.get_dynamic_partitions("callsets")
        assert len(known) == len(set(known))
        assert set(published) <= set(known)


def test_who_loses_the_race_for_a_new_partition_asks_for_the_same_at_the_next_tick(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = daemons
    one.publish()
    add = one.instance.add_dynamic_partitions

    def too_late(name: str, keys: list[str]) -> None:
        add(name, keys)
        raise sa.exc.IntegrityError("INSERT INTO dynamic_partitions", None, Exception("UNIQUE constraint failed"))

    with monkeypatch.context() as patch, pytest.raises(sa.exc.IntegrityError):
        patch.setattr(one.instance, "add_dynamic_partitions", too_late)
        one.tick("callset_sensor")
    first, second = one.tick("callset_sensor"), other.tick("callset_sensor")
    assert asked(first) == asked(second)
    assert len(asked(first)) == 1
