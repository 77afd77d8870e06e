"""Dead letters: how one is written and read, which of them a person means, and whether one can go back.

A letter's id follows from the topic and the bytes of its message, so that a message that fails again is the same
letter with one more attempt. Not here: where letters are listed (adapters/ledger/dead_letters.py), sending them
again (stages/dead_letters.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.identity import CALLSET_ID_PATTERN, TENANT_PATTERN
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.cursor import Place
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import Placed, place_of
from vcf_pipeline.domain.stream.topics import DEAD_LETTERS

KIND = "dead-letter"
MAX_BODY_BYTES = 256 << 10
"""A larger message is not copied: the letter names its place, where it lies as long as the topic keeps it."""
MAX_REASON = 2000
_MOST = (1 << 62) - 1

State = Literal["open", "replayed", "discarded"]
STATES: tuple[State, ...] = ("open", "replayed", "discarded")


@dataclass(frozen=True)
class Letter:
    """A dead letter as it lies in its topic. place: its own. origin: where its message lay, str(Place) or a text.

    attempts: how often the message was tried before this letter. at: seconds since 1970, 0 where nobody said.
    is_cut: the body is not in the letter. body: the original message, byte for byte.
    """

    id: str
    place: Place
    origin: str
    origin_topic: str
    tenant: str
    callset_id: str
    code: str
    reason: str
    attempts: int
    size_bytes: int
    is_cut: bool
    at: float
    body: bytes = b""


@dataclass(frozen=True)
class LetterRecord:
    """A letter as the ledger lists it, without its body. place: of its newest copy. replays: how often it went back.

    attempts: over all copies. first_at, last_at: seconds since 1970.
    """

    id: str
    place: Place
    origin: str
    origin_topic: str
    tenant: str
    callset_id: str
    code: str
    reason: str
    attempts: int
    size_bytes: int
    is_cut: bool
    state: State
    replays: int
    first_at: float
    last_at: float


def letter_id(origin_topic: str, body: bytes) -> str:
    """16 hex digits: equal for equal bytes in one topic."""
    return hashlib.blake2b(origin_topic.encode() + b"\0" + body, digest_size=8).hexdigest()


def write_letter(
    body: bytes,
    *,
    origin: str,
    reason: str,
    ts: int,
    attempts: int = 1,
    code: str = "",
    tenant: str = "",
    callset_id: str = "",
) -> Envelope:
    """The letter of a message. tenant, callset_id: where not given, what the message itself says, if it can be read."""
    place = Place.parse(origin)
    topic = place.topic if place is not None else ""
    if not (tenant and callset_id):
        said_tenant, said_callset = _named_in(body)
        tenant, callset_id = tenant or said_tenant, callset_id or said_callset
    is_cut = len(body) > MAX_BODY_BYTES
    return Envelope(
        id=letter_id(topic, body),
        kind=KIND,
        tenant=tenant or "default",
        ts=ts,
        attributes={
            "origin": origin[: frame.MAX_ID * 2],
            "origin_topic": topic,
            "tenant": tenant,
            "callset_id": callset_id,
            "code": code[:40],
            "reason": _plain(reason)[:MAX_REASON],
            "attempts": attempts,
            "size_bytes": len(body),
            "is_cut": is_cut,
        },
        body=b"" if is_cut else body,
    )


def _named_in(body: bytes) -> tuple[str, str]:
    try:
        envelope = frame.decode(body)
    except UnreadableMessage:
        return "", ""
    return (
        envelope.tenant if TENANT_PATTERN.fullmatch(envelope.tenant) else "",
        envelope.callset_id if CALLSET_ID_PATTERN.fullmatch(envelope.callset_id) else "",
    )


def read_letter(message: Placed) -> Letter:
    """The letter of a message of `dead-letters`. One that is none becomes a letter about itself: nothing is lost."""
    place = place_of(message)
    try:
        envelope = frame.decode(message.body)
        if envelope.kind != KIND:
            raise UnreadableMessage(where="dead letter", expected=KIND, got=repr(envelope.kind[:80]))
    except UnreadableMessage as problem:
        topic = DEAD_LETTERS.full_name
        return Letter(
            id=letter_id(topic, message.body),
            place=place,
            origin=str(place),
            origin_topic=topic,
            tenant="",
            callset_id="",
            code=problem.code,
            reason=_plain(problem.message)[:MAX_REASON],
            attempts=1,
            size_bytes=len(message.body),
            is_cut=False,
            at=0.0,
            body=message.body,
        )
    said = envelope.attributes
    return Letter(
        id=_text(envelope.id, 64) or letter_id("", message.body),
        place=place,
        origin=_text(said.get("origin"), frame.MAX_ID * 2),
        origin_topic=_text(said.get("origin_topic"), 100),
        tenant=_text(said.get("tenant"), 39),
        callset_id=_text(said.get("callset_id"), 16),
        code=_text(said.get("code"), 40),
        reason=_text(said.get("reason"), MAX_REASON),
        attempts=max(1, _number(said.get("attempts"))),
        size_bytes=_number(said.get("size_bytes")),
        is_cut=said.get("is_cut") is True,
        at=min(envelope.ts, _MOST) / 1000,
        body=envelope.body,
    )


def _text(value: Any, limit: int) -> str:
    return _plain(value)[:limit] if isinstance(value, str) else ""


def _plain(text: str) -> str:
    # a database of texts takes every character but this one
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _number(value: Any) -> int:
    return min(max(value, 0), _MOST) if isinstance(value, int) and not isinstance(value, bool) else 0


@dataclass(frozen=True)
class Wanted:
    """Which letters a person means: every condition that is given holds. ids: ids or their beginnings.

    topic: of the origin, as `vcf-callsets` or with its tenant. reason: a code, or a part of the reason's text, in
    any case. since, until: seconds since 1970, of the newest copy; both inclusive. callset: an id, its beginning or
    tenant/id.
    """

    ids: Sequence[str] = ()
    topic: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    callset: str | None = None
    tenant: str | None = None
    states: Sequence[str] = ("open",)

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the state narrows it: changing so many needs a word more."""
        return not (self.ids or self.topic or self.reason or self.callset or self.tenant) and (
            self.since is None and self.until is None
        )

    def takes(self, record: LetterRecord) -> bool:
        if self.ids:
            # named ones are meant whatever became of them
            return any(record.id.startswith(one) for one in self.ids)
        if record.state not in self.states:
            return False
        if self.topic is not None and self.topic not in (record.origin_topic, record.origin_topic.rpartition(".")[2]):
            return False
        if self.tenant is not None and record.tenant != self.tenant:
            return False
        if self.callset is not None:
            tenant, slash, start = self.callset.rpartition("/")
            if not record.callset_id or not record.callset_id.startswith(start) or (slash and record.tenant != tenant):
                return False
        if self.reason is not None and self.reason.lower() not in (f"{record.code} {record.reason}").lower():
            return False
        return (self.since is None or record.last_at >= self.since) and (
            self.until is None or record.last_at <= self.until
        )


def chosen(records: Iterable[LetterRecord], wanted: Wanted) -> list[LetterRecord]:
    return [record for record in records if wanted.takes(record)]


def why_not_replayed(record: LetterRecord) -> str:
    """Why this letter cannot go back, "" where it can."""
    place = Place.parse(record.origin)
    if place is None:
        return f"its origin is no place in a topic: {record.origin or 'unknown'}"
    if place.topic == DEAD_LETTERS.full_name:
        return "it is no letter: its bytes stood in dead-letters itself, and would come back there"
    return ""
