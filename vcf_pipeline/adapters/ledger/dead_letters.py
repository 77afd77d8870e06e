"""The index of dead letters: what was heard, and what a person did about it. The letters lie in their topic.

Not here: what a letter says (domain/stream/dead_letters.py); hearing and replaying them (stages/dead_letters.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.dead_letters import Letter, LetterRecord, State

_LISTENER = "dead-letters"


class DeadLetters:
    """Part of `Ledger`."""

    database: Database

    def dead_letter_cursor(self) -> Cursor:
        """How far the topic is in the index."""
        with self.database.reading() as connection:
            return _cursor(connection)

    def move_dead_letter_cursor(self, heard_from: Cursor, to: Cursor) -> None:
        """Of a topic that has to be read again from its start. Where the cursor is no longer `heard_from`, somebody
        else reads: the next one looks again.
        """
        with self.database.writing() as connection:
            if _cursor(connection) == heard_from:
                _keep_cursor(connection, to)

    def record_letters(self, letters: Sequence[Letter], heard_from: Cursor) -> int:
        """Note what was heard after the cursor `heard_from`, and how far; how many of them were noted.

        Where the cursor has moved since, one that is behind it was noted by somebody else. A message that failed
        again is one more attempt of its letter, which opens it again, unless it was discarded.
        """
        noted = 0
        with self.database.writing() as connection:
            cursor = _cursor(connection)
            is_alone = cursor == heard_from
            now = self.database.now(connection)
            for letter in letters:
                if not is_alone and cursor.has_passed(letter.place):
                    continue
                _note(connection, letter, now)
                cursor = cursor.after([letter.place])
                noted += 1
            if noted:
                _keep_cursor(connection, cursor)
        return noted

    def dead_letters(self) -> list[LetterRecord]:
        """All of them, the newest first."""
        table = schema.dead_letters
        with self.database.reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.last_at.desc(), table.c.id))
            return [_from_row(row) for row in rows]

    def mark_letter(self, letter_id: str, state: State) -> None:
        """What a person decided. replayed counts one more replay."""
        assert state in get_args(State)  # noqa: S101 - a typed literal, asked once more before it is stored
        table = schema.dead_letters
        with self.database.writing() as connection:
            replays = table.c.replays + int(state == "replayed")
            connection.execute(sa.update(table).where(table.c.id == letter_id).values(state=state, replays=replays))


def _cursor(connection: sa.Connection) -> Cursor:
    table = schema.cursors
    text = connection.execute(sa.select(table.c.cursor).where(table.c.name == _LISTENER)).scalar_one_or_none()
    return Cursor.from_json(text)


def _keep_cursor(connection: sa.Connection, cursor: Cursor) -> None:
    connection.execute(sa.delete(schema.cursors).where(schema.cursors.c.name == _LISTENER))
    connection.execute(sa.insert(schema.cursors).values(name=_LISTENER, cursor=cursor.to_json()))


def _note(connection: sa.Connection, letter: Letter, now: float) -> None:
    table = schema.dead_letters
    at = letter.at or now
    told: dict[str, Any] = {
        "tenant": letter.tenant,
        "callset_id": letter.callset_id,
        "origin": letter.origin,
        "origin_topic": letter.origin_topic,
        "code": letter.code,
        "reason": letter.reason,
        "size_bytes": letter.size_bytes,
        "is_cut": letter.is_cut,
        "place": str(letter.place),
        "last_at": at,
    }
    before = connection.execute(sa.select(table).where(table.c.id == letter.id)).one_or_none()
    if before is None:
        fresh = {"id": letter.id, "attempts": letter.attempts, "state": "open", "replays": 0, "first_at": at}
        connection.execute(sa.insert(table).values(**fresh, **told))
        return
    told["state"] = "discarded" if before.state == "discarded" else "open"
    told["last_at"] = max(at, before.last_at)
    if letter.origin == before.origin:
        # the same message was read again, as after a lost cursor: no other attempt, and nothing that was replayed
        # has failed again
        told |= {"state": before.state, "attempts": max(before.attempts, letter.attempts)}
    else:
        told["attempts"] = before.attempts + letter.attempts
    connection.execute(sa.update(table).where(table.c.id == letter.id).values(**told))


def _from_row(row: sa.Row[Any]) -> LetterRecord:
    values = dict(row._mapping)
    place = Place.parse(values["place"])
    assert place is not None  # noqa: S101 - written by `_note`
    return LetterRecord(**{**values, "place": place})
