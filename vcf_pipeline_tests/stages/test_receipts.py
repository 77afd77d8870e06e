"""Receipts: the answer that is about what was sent, whichever way it comes, and no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.stage_events import Notification
from vcf_pipeline.domain.stream.topics import CONTROL, USER_NOTIFICATIONS
from vcf_pipeline.stages.notify import Notices
from vcf_pipeline.stages.receipts import Receipt, Sent, from_now, receipts
from vcf_pipeline.testing.scripted_broker import ScriptedBroker

KEY = PartitionKey("lab", "ab" * 8)
SENT = Sent(KEY, "d1:1", 6)


@pytest.fixture
def broker() -> ScriptedBroker:
    broker = ScriptedBroker()
    broker.ensure_topics(CONTROL)
    return broker


@pytest.fixture
def coordinator(broker: ScriptedBroker) -> Coordinator:
    return Coordinator([broker], patience_s=0.0)


def note(state: str, **changed: Any) -> Notification:
    values: dict[str, Any] = {
        "tenant": KEY.tenant,
        "callset_id": KEY.callset_id,
        "generation": 0,
        "correlation_id": "c",
        "digest": "d1:1",
        "state": state,
        "alleles": 6,
        "stores": {"lancedb": 6, "kuzu": 2},
    }
    return Notification(**{**values, **changed})


def told(coordinator: Coordinator, *notifications: Notification) -> None:
    for one in notifications:
        assert Notices(lambda: coordinator).tell(one)


def heard(coordinator: Coordinator, cursor: Cursor, timeout_s: float = 5.0, **others: Any) -> list[Receipt]:
    return list(receipts(coordinator, cursor, [SENT], timeout_s=timeout_s, **others))


def test_rows_sent_are_stored_and_searchable_with_equal_digests(coordinator: Coordinator) -> None:
    cursor = from_now(coordinator)
    told(coordinator, note("running", run_id="r"), note("done"))
    (receipt,) = heard(coordinator, cursor)
    assert receipt.is_whole
    assert (receipt.stored, receipt.searchable, receipt.digest) == (6, 6, "d1:1")


def test_a_frozen_broker_is_not_waited_for_before_anything_is_sent() -> None:
    """Its own time-out would be a minute; bounded generously, since a busy machine is no stop-watch."""
    frozen = ScriptedBroker(name="iggy", call_timeout_s=60.0)
    frozen.ensure_topics(CONTROL)
    well = ScriptedBroker(name="kafka")
    well.ensure_topics(CONTROL)
    frozen.freeze()
    with Coordinator([frozen, well], frozen_after_s=0.2) as coordinator:
        started = time.monotonic()
        cursor = from_now(coordinator)
        assert time.monotonic() - started < 30.0
        assert [broker for broker, _ in cursor.topics] == ["kafka"]
        frozen.restart()


@pytest.mark.parametrize("lost", [{"alleles": 5}, {"stores": {"lancedb": 5}}, {"stores": {}}], ids=str)
def test_a_row_that_is_missing_somewhere_makes_it_not_whole(coordinator: Coordinator, lost: dict[str, Any]) -> None:
    cursor = from_now(coordinator)
    told(coordinator, note("done", **lost))
    (receipt,) = heard(coordinator, cursor)
    assert (receipt.state, receipt.is_whole) == ("done", False)


@pytest.mark.parametrize("state", ["refused", "failed"])
def test_an_end_that_no_rerun_cures_is_the_answer(coordinator: Coordinator, state: str) -> None:
    cursor = from_now(coordinator)
    told(coordinator, note(state, code="X", reason="why", is_permanent=True))
    (receipt,) = heard(coordinator, cursor)
    assert (receipt.state, receipt.code, receipt.reason) == (state, "X", "why")


def test_what_is_no_end_of_this_one_is_waited_past(coordinator: Coordinator, broker: ScriptedBroker) -> None:
    told(coordinator, note("refused", reason="long ago", is_permanent=True))
    cursor = from_now(coordinator)
    broker.append(USER_NOTIFICATIONS, 0, [b"\xffgarbage"])
    told(
        coordinator,
        note("failed", run_id="r1", is_permanent=False),
        note("done", digest="d1:of other settings"),
        note("done", callset_id="cd" * 8),
    )
    assert [one.state for one in heard(coordinator, cursor, 0.1)] == ["waiting"]
    told(coordinator, note("done"))
    assert [one.is_whole for one in heard(coordinator, cursor)] == [True]


def test_the_ledger_answers_where_no_notification_does(coordinator: Coordinator) -> None:
    look: Callable[[PartitionKey], Notification | None] = {KEY: note("done")}.get
    assert [one.is_whole for one in heard(coordinator, Cursor(), look=look)] == [True]


def test_what_waits_in_the_spool_is_sent_on_meanwhile_until_its_receipt_is_there(
    broker: ScriptedBroker, coordinator: Coordinator
) -> None:
    tries = []

    def send_on() -> None:
        tries.append("a broker takes it the third time")
        if len(tries) == 3:
            broker.restart()
            told(coordinator, note("done"))

    broker.die()
    found = heard(coordinator, Cursor(), 30.0, send_on=send_on, pause=lambda _: None)
    assert [one.is_whole for one in found] == [True]
    assert len(tries) == 3


def test_a_broker_that_is_away_is_waited_for_until_the_time_is_over(
    coordinator: Coordinator, broker: ScriptedBroker
) -> None:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    broker.close()
    found = heard(coordinator, Cursor(), 9.0, clock=lambda: now[0], pause=pause)
    assert [one.state for one in found] == ["waiting"]
    assert now[0] >= 9.0
