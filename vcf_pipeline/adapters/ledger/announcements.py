"""Announcements and claims: who was first to publish a callset. The first complete one of a generation wins.

A callset that was given up, as one whose chunks are lost, takes a publication that nobody has heard of yet, and begins
a generation with it: its runs have other keys, and what the old ones still write down no longer counts. Every
publish_id that was ever recorded is remembered with its generation, so that a message from before that, or from before
a `forget`, never brings the callset back. Not here: what an announcement says (domain/stream/announcement.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.callsets import FRESH, Callset, get, update
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.announcement import Announcement

CLAIM_SECONDS = 120.0
"""How long the claim of a holder on another host stands, which may have died: well above what announcing takes."""
Verdict = Literal["accepted", "repeated", "superseded"]


@dataclass(frozen=True)
class Claim:
    """won: this publish_id may announce. Else published_as, label: what stands there; has_other_settings: that it was
    read with other settings, so that replacing it would change something. Or held_by: who may announce the same and
    has not yet, so that nothing stands there.
    """

    won: bool
    published_as: str | None = None
    label: str | None = None
    has_other_settings: bool = False
    held_by: str | None = None


class Announcements:
    """Part of `Ledger`."""

    database: Database

    def record_announcement(self, announced: Announcement, place: str | None = None) -> Verdict:
        """accepted: the callset is to be read from it. repeated: it, or an equal one before it, is recorded already.

        superseded: it was recorded in an earlier generation, or an older publication with other settings came late.
        place: where it was heard, kept for a dead letter; a sender who records what it sends does not know it.
        """
        table = schema.announcements
        key = announced.key
        with self.database.writing() as connection:
            now = self.database.now(connection)
            _end_claim(connection, key, announced.publish_id)
            callset = get(connection, key)
            generation = callset.generation if callset is not None else 0
            before = connection.execute(sa.select(table).where(table.c.id == announced.id)).one_or_none()
            if before is not None:
                if place is not None and before.place != place:
                    connection.execute(sa.update(table).where(table.c.id == announced.id).values(place=place))
                if before.generation != generation or (callset is not None and callset.state == "forgotten"):
                    return "superseded"
                rival = self._accepted(connection, key, generation)
                is_replaced = rival is not None and rival.settings_fingerprint != announced.settings_fingerprint
                return "superseded" if is_replaced else "repeated"
            rival = self._accepted(connection, key, generation)
            is_given_up = callset is not None and callset.is_given_up
            verdict: Verdict = "accepted"
            if callset is not None and callset.state == "refused":
                verdict = "repeated"
            elif rival is not None:
                if rival.settings_fingerprint == announced.settings_fingerprint:
                    verdict = "accepted" if is_given_up else "repeated"
                elif rival.publish_id > announced.publish_id:
                    verdict = "superseded"  # UUIDv7: the greater one was begun later
            if verdict == "accepted" and rival is not None:
                connection.execute(sa.update(table).where(table.c.id == rival.id).values(is_accepted=False))
            begins_generation = is_given_up and verdict == "accepted"
            connection.execute(
                sa.insert(table).values(
                    id=announced.id,
                    tenant=key.tenant,
                    callset_id=key.callset_id,
                    generation=generation + 1 if begins_generation else generation,
                    publish_id=announced.publish_id,
                    is_accepted=verdict == "accepted",
                    body=json.dumps(announced.to_dict()),
                    recorded_at=now,
                    place=place,
                )
            )
            if verdict == "accepted":
                _take_over(connection, announced, now)
        return verdict

    def announcement(self, key: PartitionKey) -> Announcement | None:
        """The accepted one of the callset's generation."""
        with self.database.reading() as connection:
            callset = get(connection, key)
            return None if callset is None else self._accepted(connection, key, callset.generation)

    def published(self, key: PartitionKey) -> Announcement | None:
        """The accepted one, where the same content published again would change nothing: not of what was given up."""
        with self.database.reading() as connection:
            callset = get(connection, key)
            return None if callset is None else self._standing(connection, callset)

    def announced_at(self, announced: Announcement) -> str | None:
        """Where it was heard last, as str(Place)."""
        table = schema.announcements
        with self.database.reading() as connection:
            query = sa.select(table.c.place).where(table.c.id == announced.id)
            return connection.execute(query).scalar_one_or_none()

    def claim_publication(self, tenant: str, callset_id: str, publish_id: str, settings_fingerprint: str) -> Claim:
        """Ask to be the one who announces. A claim whose holder died before announcing goes to the next.

        It ends when the announcement is recorded, or with `release_publication`.
        """
        table = schema.claims
        key = PartitionKey(tenant, callset_id)
        with self.database.writing() as connection:
            callset = get(connection, key)
            generation = callset.generation if callset is not None else 0
            rival = self._standing(connection, callset) if callset is not None else None
            if callset is not None and rival is not None and rival.publish_id != publish_id:
                other = rival.settings_fingerprint != settings_fingerprint
                return Claim(won=False, published_as=str(key), label=callset.label, has_other_settings=other)
            mine = (table.c.tenant == tenant) & (table.c.callset_id == callset_id) & (table.c.generation == generation)
            claim = connection.execute(sa.select(table).where(mine)).one_or_none()
            now = self.database.now(connection)
            if claim is not None and claim.publish_id != publish_id:
                is_rival = claim.settings_fingerprint == settings_fingerprint
                if is_rival and not _is_free(claim, now):
                    return Claim(won=False, held_by=str(Holder.from_text(claim.holder)))
            connection.execute(sa.delete(table).where(mine))
            connection.execute(
                sa.insert(table).values(
                    tenant=tenant,
                    callset_id=callset_id,
                    generation=generation,
                    publish_id=publish_id,
                    settings_fingerprint=settings_fingerprint,
                    holder=Holder.of_this_process().to_text(),
                    claimed_at=now,
                )
            )
        return Claim(won=True)

    def release_publication(self, tenant: str, callset_id: str, publish_id: str) -> None:
        """What was claimed is not announced after all: whoever waits for it may."""
        with self.database.writing() as connection:
            _end_claim(connection, PartitionKey(tenant, callset_id), publish_id)

    def _standing(self, connection: sa.Connection, callset: Callset) -> Announcement | None:
        return None if callset.is_given_up else self._accepted(connection, callset.key, callset.generation)

    def _accepted(self, connection: sa.Connection, key: PartitionKey, generation: int) -> Announcement | None:
        table = schema.announcements
        body = connection.execute(
            sa.select(table.c.body).where(
                table.c.tenant == key.tenant,
                table.c.callset_id == key.callset_id,
                table.c.generation == generation,
                table.c.is_accepted,
            )
        ).scalar_one_or_none()
        return None if body is None else Announcement.from_dict(json.loads(body))


def _is_free(claim: sa.Row[tuple[object, ...]], now: float) -> bool:
    holder = Holder.from_text(claim.holder)
    return holder.is_surely_gone() or (not holder.is_here and now - claim.claimed_at > CLAIM_SECONDS)


def _end_claim(connection: sa.Connection, key: PartitionKey, publish_id: str) -> None:
    table = schema.claims
    mine = (table.c.tenant == key.tenant) & (table.c.callset_id == key.callset_id)
    connection.execute(sa.delete(table).where(mine, table.c.publish_id == publish_id))


def _take_over(connection: sa.Connection, announced: Announcement, now: float) -> None:
    """The callset as the announcement has it. A done one with the same settings stays done: nothing is new in it."""
    key = announced.key
    callset = get(connection, key)
    given = {
        "sha256": announced.sha256,
        "size_bytes": announced.size_bytes,
        "assembly": announced.assembly,
        "reader_settings": json.dumps(announced.reader_settings),
        "settings_fingerprint": announced.settings_fingerprint,
        "path": "stream",
        "updated_at": now,
    }
    if callset is None:
        names = {"tenant": key.tenant, "callset_id": key.callset_id, "generation": 0, "created_at": now}
        told = {"label": announced.label, "uri": announced.uri, "correlation_id": announced.correlation_id}
        connection.execute(sa.insert(schema.callsets).values(state="announced", **names, **told, **given, **FRESH))
    elif callset.is_given_up:
        told = {"uri": announced.uri, "correlation_id": announced.correlation_id}
        generation = callset.generation + 1
        update(connection, key, state="announced", generation=generation, **told, **given, **FRESH)
    elif callset.state == "forgotten":
        told = {"label": announced.label, "uri": announced.uri, "correlation_id": announced.correlation_id}
        update(connection, key, state="announced", **told, **given, **FRESH)
    elif callset.settings_fingerprint != announced.settings_fingerprint:
        update(connection, key, state="announced", **given, **FRESH)
    elif callset.state in ("registered", "failed"):
        # what its file failed of, as one that is gone, says nothing about the stream
        update(connection, key, state="announced", **given, attempts=0, is_permanent=False)
