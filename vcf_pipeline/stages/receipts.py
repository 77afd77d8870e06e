"""What a sender waits for: control's word that what was sent is stored and searchable.

Listens on `user-notifications`, and asks the ledger too where this machine has it: a notification that could not be
told must not keep anybody waiting. Not here: who tells (notify.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.sending import UNFIT
from vcf_pipeline.domain.errors import PipelineError, TransientError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.events import heard_events, place_of
from vcf_pipeline.domain.stream.stage_events import Notification
from vcf_pipeline.domain.stream.topics import USER_NOTIFICATIONS

HOLD_S = 2.0


@dataclass(frozen=True)
class Sent:
    """What was published: alleles are the rows of `variants`."""

    key: PartitionKey
    digest: str
    alleles: int


@dataclass(frozen=True)
class Receipt:
    """state: done, failed, refused, or waiting when the time was over. stored: rows in the tables, searchable: rows in
    the search store, None before it is done. digest: of the stored tables.
    """

    sent: Sent
    state: str
    stored: int | None = None
    searchable: int | None = None
    digest: str = ""
    code: str = ""
    reason: str = ""

    @property
    def is_whole(self) -> bool:
        """Rows sent = stored = searchable, and the digests are equal."""
        return (
            self.state == "done"
            and self.sent.alleles == self.stored == self.searchable
            and self.sent.digest == self.digest
        )


def from_now(coordinator: Coordinator) -> Cursor:
    """A cursor behind everything that was notified so far. Taken before publishing, so that no answer is missed."""
    places = []
    for broker in coordinator.brokers:
        try:
            incarnation, ends = coordinator.extent(broker.name, USER_NOTIFICATIONS)
        except PipelineError:
            continue  # no topic yet, or no answer: then what lies there is heard from its start, and passed over
        name = USER_NOTIFICATIONS.full_name
        places += [Place(broker.name, name, incarnation, number, end - 1) for number, end in ends.items()]
    return Cursor().after(places)


def receipts(
    coordinator: Coordinator,
    cursor: Cursor,
    sent: Sequence[Sent],
    *,
    timeout_s: float,
    look: Callable[[PartitionKey], Notification | None] | None = None,
    send_on: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Receipt]:
    """One for each that was sent, as they come; those that did not are `waiting` after timeout_s.

    send_on: called every few seconds, for what waits in the spool and has no receipt before it is out.
    """
    pending = {one.key: one for one in sent}
    deadline = clock() + timeout_s
    while pending:
        told = [found for key in pending if look is not None and (found := look(key)) is not None]
        for notification in told:
            receipt = _receipt(pending, notification)
            if receipt is not None:
                yield receipt
        left = deadline - clock()
        if not pending or left <= 0:
            break
        send_on()
        try:
            messages, cursor = coordinator.hear([USER_NOTIFICATIONS], cursor, min(HOLD_S, left))
        except (TransientError, *UNFIT):
            pause(min(HOLD_S, left))  # the sender's brokers are away: they may come back before the time is over
            continue
        cursor = cursor.after(place_of(message) for message in messages)
        for one in heard_events(Notification, messages):
            receipt = _receipt(pending, one.event) if one.event is not None else None
            if receipt is not None:
                yield receipt
    for one_left in pending.values():
        yield Receipt(one_left, "waiting")


def _receipt(pending: dict[PartitionKey, Sent], told: Notification) -> Receipt | None:
    """What this notification means for one that is waited for; takes it off `pending`. A failure that a rerun may
    cure, and an end with another digest (of what was published before), are no end.
    """
    sent = pending.get(told.key)
    if sent is None:
        return None
    if told.state == "done" and told.digest == sent.digest:
        del pending[told.key]
        return Receipt(sent, "done", told.alleles, told.stores.get("lancedb"), told.digest)
    if told.state == "refused" or (told.state == "failed" and told.is_permanent):
        del pending[told.key]
        return Receipt(sent, told.state, code=told.code, reason=told.reason)
    return None
