"""The first complete announcement of a generation wins, and none comes back from before a forget."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.announcements import CLAIM_SECONDS
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.errors import Superseded
from vcf_pipeline.domain.stream.run_plan import LIMITS
from vcf_pipeline_tests.adapters.ledger.made_ledger import KEY, address, announced, in_another_process, register


def state_of(ledger: Ledger) -> str | None:
    found = ledger.callset(KEY)
    return found and found.state


def test_an_announcement_makes_the_callset_known_and_a_resend_changes_nothing(ledger: Ledger) -> None:
    first = announced()
    assert ledger.record_announcement(first) == "accepted"
    found = ledger.callset(KEY)
    assert found is not None
    assert (found.state, found.path, found.generation, found.label) == ("announced", "stream", 0, "trio, sent")
    assert ledger.record_announcement(first) == "repeated"
    assert ledger.callset(KEY) == found
    assert ledger.announcement(KEY) == first


def test_the_second_of_two_equal_publications_is_a_repeat(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    assert ledger.record_announcement(announced("p2")) == "repeated"
    assert ledger.announcement(KEY) == announced("p1")


def test_a_later_publication_with_other_settings_takes_its_place_for_good(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    ledger.mark_done(KEY, records=3, alleles=3, rejected=0, digest="d1:x", generation=0)
    newer = announced("p2", fingerprint="0" * 16)
    assert ledger.record_announcement(newer) == "accepted"
    assert state_of(ledger) == "announced"
    # the log is read again from its start
    assert ledger.record_announcement(announced("p1")) == "superseded"
    assert ledger.record_announcement(newer) == "repeated"
    assert ledger.announcement(KEY) == newer


def test_an_older_publication_with_other_settings_that_comes_late_does_not(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p2"))
    assert ledger.record_announcement(announced("p1", fingerprint="0" * 16)) == "superseded"
    assert ledger.announcement(KEY) == announced("p2")


def test_what_was_recorded_before_a_forget_is_dropped_and_a_new_publication_is_not(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    ledger.forget(KEY)
    assert ledger.record_announcement(announced("p1")) == "superseded"
    assert state_of(ledger) == "forgotten"
    assert ledger.record_announcement(announced("p2")) == "accepted"
    found = ledger.callset(KEY)
    assert found is not None
    assert (found.state, found.generation) == ("announced", 1)
    assert ledger.record_announcement(announced("p1")) == "superseded"
    assert ledger.announcement(KEY) == announced("p2")


def test_a_done_callset_stays_done_when_it_is_announced_with_the_same_settings(ledger: Ledger) -> None:
    register(ledger)
    ledger.mark_done(KEY, records=3, alleles=3, rejected=0, digest="d1:x", generation=0)
    assert ledger.record_announcement(announced()) == "accepted"
    assert state_of(ledger) == "done"


def test_what_failed_of_its_file_begins_anew_when_it_is_announced(ledger: Ledger) -> None:
    register(ledger, path="spool")
    ledger.mark_failed(KEY, "gone", "NOT_FOUND", permanent=True, generation=0)
    assert ledger.record_announcement(announced()) == "accepted"
    found = ledger.callset(KEY)
    assert found is not None
    assert (found.state, found.path, found.attempts, found.is_permanent) == ("announced", "stream", 0, False)


def test_a_refused_callset_is_not_brought_back_by_a_resend(ledger: Ledger) -> None:
    register(ledger)
    ledger.mark_refused(KEY, "no", "NOT_A_VCF", generation=0)
    assert ledger.record_announcement(announced()) == "repeated"
    assert state_of(ledger) == "refused"


def lose(ledger: Ledger, *, permanent: bool = True) -> None:
    ledger.mark_failed(KEY, "gone", "TOPIC_RECREATED", permanent=permanent, generation=0)


def test_a_callset_whose_stream_is_lost_takes_the_next_publication_and_begins_a_generation(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    lose(ledger)
    assert ledger.published(KEY) is None
    newer = replace(announced("p2"), uri="/elsewhere/trio.vcf")
    assert ledger.record_announcement(newer) == "accepted"
    assert ledger.announcement(KEY) == ledger.published(KEY) == newer
    found = ledger.callset(KEY)
    assert found is not None
    assert (found.state, found.generation, found.uri, found.correlation_id) == (
        "announced",
        1,
        "/elsewhere/trio.vcf",
        "c-p2",
    )
    assert (found.is_permanent, found.attempts, found.code, found.reason) == (False, 0, None, None)
    # what the run of the lost one still has to say is about nobody any more
    with pytest.raises(Superseded, match="published anew"):
        lose(ledger)


def test_an_old_announcement_that_is_heard_again_never_takes_the_place_of_the_one_after_it(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    assert ledger.record_announcement(announced("p2")) == "repeated"
    lose(ledger)
    for old in ("p1", "p2"):
        assert ledger.record_announcement(announced(old)) == "repeated"
        assert state_of(ledger) == "failed"
    assert ledger.record_announcement(announced("p3")) == "accepted"
    taken = ledger.callset(KEY)
    for old in ("p1", "p2"):
        assert ledger.record_announcement(announced(old)) == "superseded"
    assert ledger.record_announcement(announced("p3")) == "repeated"
    assert ledger.record_announcement(announced("p4")) == "repeated"
    assert ledger.announcement(KEY) == announced("p3")
    assert ledger.callset(KEY) == taken


def test_a_failure_that_is_tried_again_by_itself_takes_none_until_it_is_given_up(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    for attempt in range(1, LIMITS.max_attempts):
        lose(ledger, permanent=False)
        assert ledger.record_announcement(announced(f"p{1 + attempt}")) == "repeated"
        assert ledger.published(KEY) == announced("p1")
    lose(ledger, permanent=False)
    assert ledger.published(KEY) is None
    assert ledger.record_announcement(announced("p9")) == "accepted"


def test_other_settings_after_a_lost_stream_begin_a_generation_too(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    lose(ledger)
    assert ledger.record_announcement(announced("p2", fingerprint="0" * 16)) == "accepted"
    found = ledger.callset(KEY)
    assert found is not None
    assert (found.state, found.generation, found.settings_fingerprint) == ("announced", 1, "0" * 16)


def test_what_is_lost_is_free_to_publish_although_its_publisher_lives(ledger: Ledger) -> None:
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p1", "f" * 16).won
    ledger.record_announcement(announced("p1"))
    lose(ledger)
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).won
    ledger.record_announcement(announced("p2"))
    assert not ledger.claim_publication(KEY.tenant, KEY.callset_id, "p3", "f" * 16).won


def test_of_two_publishers_at_once_the_second_is_told_who_has_it(ledger: Ledger) -> None:
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p1", "f" * 16).won
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p1", "f" * 16).won
    lost = ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16)
    assert (lost.won, lost.published_as) == (False, None)
    assert lost.held_by is not None
    assert f"process {os.getpid()} on" in lost.held_by
    ledger.record_announcement(announced("p1"))
    told = ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16)
    assert (told.won, told.published_as, told.held_by) == (False, str(KEY), None)


def test_a_claim_that_was_given_back_goes_to_the_next_and_nobody_gives_back_another_ones(ledger: Ledger) -> None:
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p1", "f" * 16).won
    ledger.release_publication(KEY.tenant, KEY.callset_id, "p2")
    assert not ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).won
    ledger.release_publication(KEY.tenant, KEY.callset_id, "p1")
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).won


def test_a_claim_from_another_host_whose_holder_may_be_dead_stands_for_a_while(ledger: Ledger) -> None:
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p1", "f" * 16).won

    def change(host: str, seconds: float) -> None:
        holder = replace(Holder.of_this_process(), host=host).to_text()
        with ledger.database.writing() as connection:
            at = ledger.database.now(connection) - seconds
            connection.execute(sa.update(schema.claims).values(holder=holder, claimed_at=at))

    change("elsewhere", CLAIM_SECONDS - 60)
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).held_by is not None
    change(Holder.of_this_process().host, CLAIM_SECONDS + 1)  # seen to live
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).held_by is not None
    change("elsewhere", CLAIM_SECONDS + 1)
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).won


def test_after_the_announcement_nobody_publishes_it_again_and_other_settings_are_told(ledger: Ledger) -> None:
    ledger.record_announcement(announced("p1"))
    lost = ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16)
    assert (lost.won, lost.published_as, lost.has_other_settings) == (False, str(KEY), False)
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "0" * 16).has_other_settings
    ledger.forget(KEY)
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).won


def _claim_and_end(url: str) -> None:
    open_ledger(url).claim_publication(KEY.tenant, KEY.callset_id, "p1", "f" * 16)


def test_the_claim_of_a_publisher_that_died_goes_to_the_next(ledger: Ledger, tmp_path: Path) -> None:
    child = in_another_process(_claim_and_end, address(tmp_path))
    child.join(60)
    assert child.exitcode == 0
    assert ledger.claim_publication(KEY.tenant, KEY.callset_id, "p2", "f" * 16).won
