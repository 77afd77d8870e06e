"""Who announces a callset that several senders publish at once: the first to claim it, else the next.

Not here: sending and announcing (publish.py), how control keeps claims (adapters/ledger/announcements.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from vcf_pipeline.domain.errors import LeaseHeld, TransientError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.announcement import Announcement

RIVAL_PATIENCE_S = 60.0
"""How long another publisher of the same is waited for that is about to announce: well above what announcing takes."""
RIVAL_POLL_S = 0.2


class Claim(Protocol):
    """won: this publication may announce. Else published_as: what stands there; has_other_settings: read
    otherwise. Or held_by: who may announce the same and has not yet.
    """

    @property
    def won(self) -> bool: ...
    @property
    def published_as(self) -> str | None: ...
    @property
    def has_other_settings(self) -> bool: ...
    @property
    def held_by(self) -> str | None: ...


class Receipts(Protocol):
    """What control can tell a sender that sees its ledger. Absent on a sender elsewhere."""

    def published(self, key: PartitionKey) -> Announcement | None:
        """The publication that counts. None where there is none, and where it was given up: another helps then."""
        ...

    def claim_publication(self, tenant: str, callset_id: str, publish_id: str, settings_fingerprint: str) -> Claim:
        """The right to announce: the first one wins, and wins again when it asks again."""
        ...

    def release_publication(self, tenant: str, callset_id: str, publish_id: str) -> None:
        """Give that right back, unused."""
        ...

    def record_announcement(self, announced: Announcement) -> str:
        """What a sensor would do when it hears it; idempotent. From here on others are told "already
        published".
        """
        ...


def claimed(
    receipts: Receipts,
    announcement: Announcement,
    *,
    on_wait: Callable[[str], None] | None,
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> Claim:
    """The right to announce, or what is announced already. Where neither is, another has the right and may yet fail or
    die without using it: then it comes here. on_wait: told once who that is. Raises LeaseHeld where it takes too long.
    """
    deadline = clock() + RIVAL_PATIENCE_S
    told = ""
    while True:
        claim = receipts.claim_publication(
            announcement.tenant, announcement.callset_id, announcement.publish_id, announcement.settings_fingerprint
        )
        if claim.held_by is None:
            return claim
        if clock() >= deadline:
            raise LeaseHeld(
                where=announcement.uri,
                expected=f"{claim.held_by}, which publishes the same, to announce it",
                got=f"no announcement in {RIVAL_PATIENCE_S:.0f} s",
                repair="Nothing is published yet: run this again, best once that process has ended.",
                code="NOT_ANNOUNCED",
                holder=claim.held_by,
            )
        if on_wait is not None and claim.held_by != told:
            told = claim.held_by
            on_wait(f"{claim.held_by}, which is about to announce the same")
        pause(RIVAL_POLL_S)


def release(receipts: Receipts, announcement: Announcement) -> None:
    """Leave it to whoever waits: this process may live on for long."""
    with suppress(TransientError):  # the ledger does not answer: the claim ends with this process
        receipts.release_publication(announcement.tenant, announcement.callset_id, announcement.publish_id)
