"""Callsets: registered once, marked by generation, forgotten in one step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.domain.errors import AmbiguousCallset, Superseded, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline_tests.adapters.ledger.made_ledger import KEY, announced, register


def done(ledger: Ledger, generation: int = 0) -> None:
    ledger.mark_done(KEY, records=3, alleles=4, rejected=1, digest="d1:x", generation=generation)


def test_the_same_bytes_are_registered_once_and_keep_their_label(ledger: Ledger) -> None:
    first, is_new = register(ledger)
    again, is_new_again = register(ledger, label="another name", uri="/copy.vcf", correlation_id="c2")
    assert (is_new, is_new_again) == (True, False)
    assert (again.label, again.correlation_id, again.uri) == ("trio", "c", "/copy.vcf")
    assert first.state == "registered"
    assert first.reader_settings == {"mode": "quarantine", "info": ["DP"]}
    assert ledger.callsets() == [again]


def test_other_settings_make_a_done_callset_stale_and_the_same_ones_do_not(ledger: Ledger) -> None:
    register(ledger)
    done(ledger)
    assert register(ledger)[0].state == "done"
    stale, is_new = register(ledger, settings_fingerprint="0" * 16, reader_settings={"mode": "strict"})
    assert (stale.state, stale.digest, is_new) == ("registered", None, False)
    assert stale.reader_settings == {"mode": "strict"}


def test_what_was_spooled_is_marked_where_nobody_is_at_it_and_what_failed_is_asked_for_anew(ledger: Ledger) -> None:
    register(ledger)
    found, is_new = register(ledger, path="spool")
    assert (found.state, found.path, is_new) == ("registered", "spool", False)
    assert register(ledger)[0].path == "spool"
    ledger.mark_failed(KEY, "gone", "NOT_FOUND", permanent=True, generation=0)
    again, _ = register(ledger, path="spool")
    assert (again.state, again.attempts, again.is_permanent) == ("registered", 0, False)
    ledger.mark_running(KEY, "run-1", generation=0)
    assert register(ledger, path="spool")[0].state == "running"
    stale, _ = register(ledger, path="spool", settings_fingerprint="0" * 16)
    assert (stale.state, stale.path) == ("registered", "spool")


def test_an_announcement_is_more_than_a_place_in_the_spool(ledger: Ledger) -> None:
    ledger.record_announcement(announced())
    found, _ = register(ledger, path="spool")
    assert (found.state, found.path) == ("announced", "stream")


def test_failures_are_counted_until_it_is_done(ledger: Ledger) -> None:
    register(ledger)
    ledger.mark_running(KEY, "run-1", generation=0)
    for _ in range(2):
        ledger.mark_failed(KEY, "no answer", "UNAVAILABLE", permanent=False, generation=0)
    failed = ledger.callset(KEY)
    assert failed is not None
    assert (failed.state, failed.attempts, failed.reason, failed.code) == ("failed", 2, "no answer", "UNAVAILABLE")
    assert failed.run_id == "run-1"
    done(ledger)
    found = ledger.callset(KEY)
    assert found is not None
    assert (found.attempts, found.reason, found.alleles, found.rejected) == (0, None, 4, 1)


@pytest.mark.parametrize("before", ["registered", "announced", "failed", "done"])
def test_a_run_that_was_stopped_leaves_the_callset_as_it_was(ledger: Ledger, before: str) -> None:
    if before == "announced":
        ledger.record_announcement(announced())
    else:
        register(ledger)
    if before == "failed":
        ledger.mark_failed(KEY, "no answer", "UNAVAILABLE", permanent=False, generation=0)
    elif before == "done":
        done(ledger)
    was = ledger.callset(KEY)
    assert was is not None
    assert was.state == before
    ledger.mark_running(KEY, "run-1", generation=0)
    ledger.put_back(KEY, "another run")
    running = ledger.callset(KEY)
    assert running is not None
    assert running.state == "running"
    ledger.put_back(KEY, "run-1")
    now = ledger.callset(KEY)
    assert now is not None
    assert replace(now, updated_at=0) == replace(was, updated_at=0)


def test_what_is_refused_stays_so_with_its_reason_until_it_is_registered_again(ledger: Ledger) -> None:
    register(ledger)
    ledger.mark_refused(KEY, "no #CHROM", "NOT_A_VCF", generation=0)
    refused = ledger.callset(KEY)
    assert refused is not None
    assert (refused.state, refused.reason, refused.is_permanent) == ("refused", "no #CHROM", True)
    again, is_new = register(ledger)
    assert (again.state, again.reason, is_new) == ("registered", None, False)


def test_work_begun_before_a_forget_cannot_write_its_end(ledger: Ledger) -> None:
    register(ledger)
    assert ledger.forget(KEY) == 1
    with pytest.raises(Superseded):
        done(ledger)
    register(ledger)
    for late in (
        lambda: done(ledger),
        lambda: ledger.mark_running(KEY, "r", generation=0),
        lambda: ledger.mark_failed(KEY, "x", "X", permanent=True, generation=0),
        lambda: ledger.mark_refused(KEY, "x", "X", generation=0),
    ):
        with pytest.raises(Superseded):
            late()
    done(ledger, generation=1)


def test_a_forgotten_callset_leaves_no_name_and_can_come_again(ledger: Ledger) -> None:
    register(ledger)
    ledger.record_announcement(announced())
    ledger.forget(KEY)
    gone = ledger.callset(KEY)
    assert gone is not None
    assert (gone.state, gone.label, gone.uri) == ("forgotten", "", "")
    assert ledger.announcement(KEY) is None
    back, is_new = register(ledger, label="again")
    assert (back.generation, back.state, back.label, is_new) == (1, "registered", "again", True)
    assert ledger.announcement(KEY) is None


def test_what_nobody_registered_cannot_be_forgotten_or_marked(ledger: Ledger) -> None:
    with pytest.raises(UnknownPartition):
        ledger.forget(KEY)
    with pytest.raises(Superseded):
        done(ledger)


def test_a_callset_answers_to_key_id_prefix_and_label_of_its_tenant(ledger: Ledger) -> None:
    register(ledger)
    other = PartitionKey("default", "01ffffffffffffff")
    register(ledger, other, label="panel")
    for text in (str(KEY), KEY.callset_id, "0123", "trio"):
        assert ledger.resolve("default", text).key == KEY
    with pytest.raises(AmbiguousCallset) as found:
        ledger.resolve("default", "01")
    assert sorted(found.value.candidates) == [str(KEY), str(other)]
    for text in ("", "nobody", "other/0123456789abcdef"):
        with pytest.raises(UnknownPartition):
            ledger.resolve("default", text)
    with pytest.raises(UnknownPartition):
        ledger.resolve("other", "trio")
    ledger.forget(other)
    assert ledger.resolve("default", "01").key == KEY


def test_they_are_listed_by_tenant_and_state(ledger: Ledger) -> None:
    register(ledger)
    register(ledger, PartitionKey("other", "f" * 16))
    done(ledger)
    assert [one.key.tenant for one in ledger.callsets()] == ["default", "other"]
    assert [one.key for one in ledger.callsets("default")] == [KEY]
    assert [one.key for one in ledger.callsets(states=["done"])] == [KEY]
    assert ledger.callsets("other", ["done"]) == []
