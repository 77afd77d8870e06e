"""How far the annotation of a callset is: asked for, under way, explained, loaded; and who forgets it."""

from __future__ import annotations

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline_tests.adapters.ledger.made_ledger import KEY, register

DIGEST, OTHER = "d1:" + "a" * 32, "d1:" + "b" * 32


def state(ledger: Ledger) -> tuple[str, int] | None:
    found = ledger.analysis(KEY)
    return None if found is None else (found.state, found.attempts)


def test_a_request_is_written_once_and_an_end_ends_it(ledger: Ledger) -> None:
    assert state(ledger) is None
    ledger.request_analysis(KEY, 0, DIGEST)
    ledger.request_analysis(KEY, 0, DIGEST)
    assert state(ledger) == ("requested", 0)
    ledger.begin_analysis(KEY, 0)
    assert state(ledger) == ("running", 0)
    ledger.end_analysis(KEY, 0, DIGEST, loads_are_due=True)
    assert state(ledger) == ("explained", 0)
    ledger.request_analysis(KEY, 0, DIGEST)
    assert state(ledger) == ("explained", 0)
    ledger.end_loads(KEY, 0)
    assert state(ledger) == ("done", 0)
    ledger.request_analysis(KEY, 0, DIGEST)
    assert state(ledger) == ("done", 0)
    ledger.request_analysis(KEY, 0, OTHER)
    assert state(ledger) == ("requested", 0)


def test_a_batch_run_leaves_no_row_before_its_end(ledger: Ledger) -> None:
    ledger.begin_analysis(KEY, 0)
    ledger.fail_analysis(KEY, 0, "why", permanent=False)
    ledger.end_loads(KEY, 0)
    assert state(ledger) is None
    ledger.end_analysis(KEY, 0, DIGEST, loads_are_due=False)
    assert state(ledger) == ("done", 0)


def test_a_failure_counts_unless_it_was_counted_and_a_permanent_one_is_for_good(ledger: Ledger) -> None:
    ledger.request_analysis(KEY, 0, DIGEST)
    ledger.fail_analysis(KEY, 0, "no network", permanent=False)
    assert state(ledger) == ("failed", 1)
    assert ledger.note_analysis_attempt(KEY, 0)
    ledger.fail_analysis(KEY, 0, "no network", permanent=False, counts=False)
    assert state(ledger) == ("failed", 2)
    found = ledger.analysis(KEY)
    assert found is not None
    assert (found.reason, found.is_permanent) == ("no network", False)
    ledger.fail_analysis(KEY, 0, "no tables", permanent=True)
    found = ledger.analysis(KEY)
    assert found is not None
    assert found.is_permanent
    ledger.request_analysis(KEY, 0, DIGEST)
    assert state(ledger) == ("requested", 0)


def test_a_stop_puts_it_back_and_another_generation_changes_nothing(ledger: Ledger) -> None:
    ledger.request_analysis(KEY, 0, DIGEST)
    ledger.begin_analysis(KEY, 1)
    assert state(ledger) == ("requested", 0)
    ledger.begin_analysis(KEY, 0)
    ledger.put_back_analysis(KEY, 0)
    assert state(ledger) == ("requested", 0)
    assert not ledger.note_analysis_attempt(KEY, 1)


def test_a_failed_load_stays_explained_and_counts(ledger: Ledger) -> None:
    ledger.request_analysis(KEY, 0, DIGEST)
    ledger.end_analysis(KEY, 0, DIGEST, loads_are_due=True)
    ledger.fail_analysis(KEY, 0, "disk full", permanent=False)
    assert state(ledger) == ("explained", 1)
    assert [one.key for one in ledger.analyses(["explained"])] == [KEY]
    assert ledger.analyses(["failed"]) == []


def test_a_forgotten_callset_has_none(ledger: Ledger) -> None:
    register(ledger)
    ledger.request_analysis(KEY, 0, DIGEST)
    ledger.forget(KEY)
    assert state(ledger) is None
