"""A callset removed everywhere; the others stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.domain.errors import UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.stages.forget import ForgetReport, forget_callset
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl


@pytest.fixture
def control(tmp_path: Path) -> Iterator[MadeControl]:
    made = MadeControl(tmp_path)
    yield made
    made.close()


def forget(control: MadeControl, key: PartitionKey) -> ForgetReport:
    return forget_callset(key, ledger=control.ledger, tables=control.tables, lancedb=control.lancedb, kuzu=control.kuzu)


def test_nothing_of_it_is_left_anywhere_and_the_other_one_stays(control: MadeControl) -> None:
    gone, kept = control.put("a"), control.put("b")
    for key in (gone, kept):
        control.load_lancedb(key)
        control.load_kuzu(key)
    loads = {key: control.ledger.current_load("lancedb", key) for key in (gone, kept)}
    report = forget(control, gone)
    assert (report.generation, report.lancedb_loads, report.graph) == (1, 1, True)
    assert not (control.data / str(gone)).exists()
    load, load_kept = loads[gone], loads[kept]
    assert load is not None
    assert load_kept is not None
    assert control.lancedb.count(TENANT, load.load_id) == 0
    assert control.lancedb.count(TENANT, load_kept.load_id) == load_kept.rows > 0
    assert control.kuzu.callsets(control.graph_is_at()) == {kept.callset_id}
    for store in ("lancedb", "kuzu"):
        assert control.ledger.current_load(store, gone) is None
        assert control.ledger.current_load(store, kept) is not None
        assert control.ledger.hidden_loads(store, TENANT)[1] == []
    assert control.tables.manifest(kept.tenant, kept.callset_id, "parsed_variants") is not None


def test_forgetting_once_more_ends_the_same(control: MadeControl) -> None:
    key = control.put("a")
    control.load_lancedb(key)
    control.load_kuzu(key)
    # as if the first attempt was killed after its first step
    control.ledger.forget(key)
    report = forget(control, key)
    assert (report.generation, report.lancedb_loads) == (2, 1)
    assert control.kuzu.callsets(control.graph_is_at()) == set()
    assert not (control.data / str(key)).exists()


def test_it_can_come_again_and_be_loaded_again(control: MadeControl) -> None:
    key = control.put("a")
    control.load_lancedb(key)
    forget(control, key)
    control.put("a")
    found = control.ledger.callset(key)
    assert found is not None
    assert (found.state, found.generation) == ("registered", 1)
    assert control.load_lancedb(key).rows > 0


def test_what_the_ledger_does_not_know_is_an_unknown_partition(control: MadeControl) -> None:
    with pytest.raises(UnknownPartition):
        forget(control, PartitionKey(TENANT, "c" * 16))
