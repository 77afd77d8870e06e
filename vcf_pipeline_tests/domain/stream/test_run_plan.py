"""plan_runs and plan_reconcile: repeats, bursts, what is final. No broker, no Dagster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vcf_pipeline.domain.identity import PartitionKey, announcement_id
from vcf_pipeline.domain.stream.announcement import Announcement, Segment
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.events import Heard
from vcf_pipeline.domain.stream.run_plan import (
    SPOOL_PATH,
    Limits,
    Progress,
    Standing,
    State,
    View,
    plan_reconcile,
    plan_runs,
)


def announced(number: int, tenant: str = "default", digest: str = "d1:aa", publish_id: str = "") -> Announcement:
    callset_id = f"{number:016x}"
    publish_id = publish_id or f"publish-{number}"
    return Announcement(
        id=announcement_id(tenant, callset_id, publish_id),
        tenant=tenant,
        callset_id=callset_id,
        publish_id=publish_id,
        correlation_id=f"correlation-{number}",
        label=f"file {number}",
        uri="/x.vcf",
        sha256="0" * 64,
        size_bytes=1,
        assembly=None,
        reader_settings={},
        settings_fingerprint="f",
        segments=(Segment("embedded", f"{tenant}.vcf-variants", "life-1", 0, publish_id, 0, 1),),
        n_chunks=2,
        records=1,
        alleles=1,
        rejected=0,
        digest=digest,
        vcf_version="VCFv4.2",
        created_at="2026-01-01T00:00:00+00:00",
    )


def at(offset: int, incarnation: str = "life-1") -> Place:
    return Place("embedded", "vcf-callsets", incarnation, 0, offset)


def told(*announcements: Announcement) -> list[Heard]:
    return [Heard(at(offset), one) for offset, one in enumerate(announcements)]


def key(number: int, tenant: str = "default") -> str:
    return f"{tenant}/{number:016x}"


def test_one_announcement_asks_for_one_run_named_by_stage_callset_generation_and_digest():
    one = announced(1)
    plan = plan_runs(told(one), View({one.id: Progress("none", generation=2)}), Cursor())
    (run,) = plan.runs
    assert run.key == f"variants/{key(1)}/2/d1:aa"
    assert run.partition_keys == (key(1),)
    assert run.tags["vcf_pipeline/path"] == "stream"
    assert run.correlation_id == "correlation-1"
    assert plan.accepted == (one,)
    assert plan.partition_keys == (key(1),)
    assert plan.cursor.start("embedded", "vcf-callsets", "life-1", {0: 1}) == ({0: 1}, None)


@pytest.mark.parametrize("state", ["in_flight", "refused", "forgotten"])
def test_what_is_in_flight_refused_or_forgotten_asks_for_nothing_and_is_passed(state: State):
    one = announced(1)
    plan = plan_runs(told(one), View({one.id: Progress(state)}), Cursor())
    assert (plan.runs, plan.accepted, plan.partition_keys) == ((), (), ())
    assert plan.cursor.start("embedded", "vcf-callsets", "life-1", {0: 1})[0] == {0: 1}


def test_what_is_done_with_this_digest_is_dropped_and_with_another_runs_again():
    one = announced(1, digest="d1:new")
    assert plan_runs(told(one), View({one.id: Progress("done", 0, "d1:new")}), Cursor()).runs == ()
    assert len(plan_runs(told(one), View({one.id: Progress("done", 0, "d1:old")}), Cursor()).runs) == 1


def test_repeats_and_rival_publications_in_one_poll_ask_for_one_run_of_the_first():
    one, rival = announced(1), announced(1, publish_id="rival")
    plan = plan_runs(told(one, one, rival), View(), Cursor())
    assert [run.key for run in plan.runs] == [f"variants/{key(1)}/0/d1:aa"]
    assert plan.accepted == (one,)


def test_an_existing_partition_is_not_added_again():
    plan = plan_runs(told(announced(1)), View(partitions=[key(9), key(1)]), Cursor())
    assert plan.partition_keys == ()
    assert len(plan.runs) == 1


def test_a_message_that_cannot_be_read_becomes_a_dead_letter_and_the_others_go_on():
    messages = [Heard(at(0), None, "no envelope", b"junk"), Heard(at(1), announced(1))]
    plan = plan_runs(messages, View(), Cursor())
    assert [(letter.place.offset, letter.reason, letter.body) for letter in plan.dead_letters] == [
        (0, "no envelope", b"junk")
    ]
    assert len(plan.runs) == 1
    assert plan.cursor.start("embedded", "vcf-callsets", "life-1", {0: 2})[0] == {0: 2}


def test_seven_pending_neighbours_are_seven_runs_and_eight_are_one_range_in_list_order():
    seven = plan_runs(told(*(announced(n) for n in range(7))), View(), Cursor())
    assert [run.is_range for run in seven.runs] == [False] * 7
    eight = plan_runs(told(*(announced(n) for n in range(8))), View(), Cursor())
    (run,) = eight.runs
    assert run.partition_keys == (key(0), key(7))
    assert run.members == tuple(key(n) for n in range(8))


def test_a_reversed_range_is_turned_to_the_order_of_the_partition_list():
    existing = [key(n) for n in range(8)]
    plan = plan_runs(told(*(announced(n) for n in reversed(range(8)))), View(partitions=existing), Cursor())
    (run,) = plan.runs
    assert run.partition_keys == (key(0), key(7))


def test_ranges_are_bounded_and_of_even_length():
    plan = plan_runs(told(*(announced(n) for n in range(40))), View(), Cursor())
    assert [len(run.members) for run in plan.runs] == [13, 13, 14]
    assert [name for run in plan.runs for name in run.members] == [key(n) for n in range(40)]
    assert len({run.key for run in plan.runs}) == 3


def test_a_foreign_key_between_cuts_the_range():
    existing = [key(n) for n in range(5)] + [key(99)] + [key(n) for n in range(5, 10)]
    plan = plan_runs(told(*(announced(n) for n in range(10))), View(partitions=existing), Cursor())
    assert all(not run.is_range for run in plan.runs)
    assert key(99) not in {name for run in plan.runs for name in run.members}
    longer = [key(n) for n in range(9)] + [key(99), key(9)]
    plan = plan_runs(told(*(announced(n) for n in range(10))), View(partitions=longer), Cursor())
    assert sorted(len(run.members) for run in plan.runs) == [1, 9]


def test_another_tenant_between_cuts_the_range_too_and_new_keys_stand_by_tenant():
    mixed = [announced(n, tenant) for n in range(8) for tenant in ("alpha", "beta")]
    plan = plan_runs(told(*mixed), View(), Cursor())
    assert [name.partition("/")[0] for name in plan.partition_keys] == ["alpha"] * 8 + ["beta"] * 8
    assert [run.partition_keys for run in plan.runs] == [
        (key(0, "alpha"), key(7, "alpha")),
        (key(0, "beta"), key(7, "beta")),
    ]


def test_an_erased_end_is_not_part_of_the_range():
    """The last of the burst was forgotten and its partition deleted: a range that named it would fail for
    all.
    """
    burst = [announced(n) for n in range(9)]
    view = View({burst[8].id: Progress("forgotten", 1)}, [key(n) for n in range(8)])
    plan = plan_runs(told(*burst), view, Cursor())
    (run,) = plan.runs
    assert run.partition_keys == (key(0), key(7))
    assert key(8) not in plan.partition_keys


def test_an_end_whose_partition_was_erased_but_which_came_again_is_added_and_then_counted():
    plan = plan_runs(told(*(announced(n) for n in range(9))), View(partitions=[key(n) for n in range(8)]), Cursor())
    assert plan.partition_keys == (key(8),)
    assert [run.partition_keys for run in plan.runs] == [(key(0), key(8))]


def test_after_a_failed_range_its_members_are_run_singly():
    """One poison member fails all of a range; asked again one by one, it alone fails."""
    burst = [announced(n) for n in range(10)]
    view = View({one.id: Progress("range_failed") for one in burst}, [key(n) for n in range(10)])
    plan = plan_runs(told(*burst), view, Cursor())
    assert [run.partition_keys for run in plan.runs] == [(key(n),) for n in range(10)]


def test_the_limits_are_the_callers():
    plan = plan_runs(told(*(announced(n) for n in range(4))), View(), Cursor(), Limits(burst=2, max_range=2))
    assert [run.members for run in plan.runs] == [(key(0), key(1)), (key(2), key(3))]


def test_a_regressed_topic_moves_the_cursor_back_and_a_recreated_one_replaces_it():
    before = Cursor().after([at(9)])
    assert before.start("embedded", "vcf-callsets", "life-1", {0: 4}) == ({0: 0}, "regressed")
    again = plan_runs([Heard(at(0), announced(1))], View(), before).cursor
    assert again.start("embedded", "vcf-callsets", "life-1", {0: 4}) == ({0: 1}, None)
    assert before.start("embedded", "vcf-callsets", "life-2", {0: 40}) == ({0: 0}, "recreated")
    anew = plan_runs([Heard(at(3, "life-2"), announced(1))], View(), before).cursor
    assert anew.start("embedded", "vcf-callsets", "life-2", {0: 40}) == ({0: 4}, None)


STANDING = Standing(
    PartitionKey.parse(key(1)), "announced", 3, "d1:aa", "stream", "correlation", attempts=0, since=1000.0
)


def test_reconcile_waits_for_the_backoff_then_asks_with_the_attempts_number():
    assert plan_reconcile([STANDING], 1029.0).runs == ()
    (run,) = plan_reconcile([STANDING], 1030.0).runs
    assert run.key == f"variants/{key(1)}/3/d1:aa/attempt-1"
    second = replace(STANDING, attempts=1)
    assert plan_reconcile([second], 1059.0).runs == ()
    assert plan_reconcile([second], 1060.0).runs[0].key.endswith("/attempt-2")


def test_reconcile_asks_at_once_for_what_lost_its_run_and_waits_the_next_time():
    lost = replace(STANDING, is_lost=True)
    assert plan_reconcile([lost], STANDING.since).runs[0].key.endswith("/attempt-1")
    assert plan_reconcile([replace(lost, has_run=True)], STANDING.since).runs == ()
    assert plan_reconcile([replace(lost, attempts=1)], 1059.0).runs == ()


def test_reconcile_asks_at_once_for_what_waits_in_a_spool_when_its_partition_is_there():
    spooled = replace(STANDING, state="registered", path=SPOOL_PATH)
    assert plan_reconcile([spooled], 1000.0).runs == ()
    (run,) = plan_reconcile([spooled], 1000.0, [key(1)]).runs
    assert run.key.endswith("/attempt-1")
    for unasked in ({"has_run": True}, {"attempts": 1}, {"state": "done"}, {"path": "batch"}):
        plan = plan_reconcile([replace(spooled, **unasked)], 1059.0, [key(1)])  # type: ignore[arg-type]
        assert (plan.runs, plan.given_up) == ((), ()), unasked
    assert plan_reconcile([replace(spooled, attempts=1)], 1060.0, [key(1)]).runs[0].key.endswith("/attempt-2")
    assert plan_reconcile([replace(spooled, attempts=3)], 1e9, [key(1)]).given_up == (key(1),)


def test_reconcile_gives_up_after_three_attempts_and_at_once_on_a_permanent_failure():
    for one in (replace(STANDING, attempts=3), replace(STANDING, state="failed", is_permanent=True)):
        plan = plan_reconcile([one], 1e9)
        assert (plan.runs, plan.given_up) == ((), (key(1),))


@pytest.mark.parametrize(
    "change",
    [{"state": "done"}, {"has_run": True}, {"path": "batch"}, {"state": "refused"}, {"state": "forgotten"}],
    ids=str,
)
def test_reconcile_asks_nothing_of_what_is_done_running_batch_or_final(change: dict[str, object]):
    plan = plan_reconcile([replace(STANDING, **change)], 1e9)  # type: ignore[arg-type]
    assert (plan.runs, plan.given_up) == ((), ())


def test_reconcile_rebuilds_the_partitions_that_dagster_lost_but_not_those_of_final_callsets():
    standings = [
        replace(STANDING, key=PartitionKey.parse(key(n)), state=state)
        for n, state in enumerate(["done", "registered", "refused", "forgotten", "running"])
    ]
    plan = plan_reconcile(standings, 1010.0, [key(4)])
    assert plan.partition_keys == (key(0), key(1))


def test_reconcile_leaves_the_partition_of_what_was_just_heard_to_the_sensor_that_heard_it():
    assert plan_reconcile([STANDING], 1009.0).partition_keys == ()
    assert plan_reconcile([STANDING], 1010.0).partition_keys == (key(1),)
