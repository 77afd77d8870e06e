"""What stages tell each other and whoever listens: one dataclass per kind, each about one callset.

An event says that there is something to do or to know, and names what it is about by its digest: all work is in the
assets. Not here: announcements of publications (announcement.py); topics of the kinds, and hearing (events.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import msgpack

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.identity import CALLSET_ID_PATTERN, TENANT_PATTERN, PartitionKey, event_id
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.envelope import Envelope

MAX_GENERATION = 1 << 31
MAX_COUNT = 1 << 62
MAX_WORDS = 2000


@dataclass(frozen=True, kw_only=True)
class StageEvent:
    """generation: of the callset, as control counts it. digest: of the manifest or load that the event is about."""

    KIND: ClassVar[str] = ""
    IS_FOR_THE_NEXT_STAGE: ClassVar[bool] = False
    """Whether it asks for a run, which is for runs that came by the stream alone (DESIGN section 6)."""

    tenant: str
    callset_id: str
    generation: int
    correlation_id: str
    digest: str

    @property
    def key(self) -> PartitionKey:
        return PartitionKey(self.tenant, self.callset_id)

    @property
    def subject(self) -> str:
        """What else makes two events of one kind and digest different ones."""
        return ""

    @property
    def id(self) -> str:
        """Equal for a resend; a new result is a new event."""
        kind = f"{self.KIND}/{self.subject}" if self.subject else self.KIND
        return event_id(self.tenant, self.callset_id, self.generation, kind, self.digest)

    def to_envelope(self, *, ts: int, producer: str) -> Envelope:
        """ts: milliseconds since 1970."""
        said = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _IN_THE_FRAME}
        return Envelope(
            id=self.id,
            kind=self.KIND,
            tenant=self.tenant,
            correlation_id=self.correlation_id,
            ts=ts,
            producer=producer,
            callset_id=self.callset_id,
            generation=self.generation,
            body=msgpack.packb(said, use_bin_type=True),
        )

    @classmethod
    def from_envelope(cls, envelope: Envelope) -> Self:
        """Fields that a newer program added are passed over. Raises UnreadableMessage."""
        if envelope.kind != cls.KIND:
            raise UnreadableMessage(where="event", expected=cls.KIND, got=repr(envelope.kind[:80]))
        said = frame.unpack_map(envelope.body, frame.MAX_MESSAGE_BYTES)
        values = {name: getattr(envelope, name) for name in _IN_THE_FRAME}
        for item in fields(cls):
            if item.name not in _IN_THE_FRAME:
                values[item.name] = _checked(cls.KIND, item.name, str(item.type), said.get(item.name))
        event = cls(**values)
        if not TENANT_PATTERN.fullmatch(event.tenant) or not CALLSET_ID_PATTERN.fullmatch(event.callset_id):
            raise UnreadableMessage(where=cls.KIND, expected="a tenant and a callset_id", got=repr(str(event.key)[:80]))
        if event.generation >= MAX_GENERATION:
            raise UnreadableMessage(where=cls.KIND, expected="a generation", got=str(event.generation))
        if event.id != envelope.id:
            raise UnreadableMessage(where=cls.KIND, expected=f"id {event.id}", got=repr(envelope.id[:80]))
        return event


_IN_THE_FRAME = ("tenant", "callset_id", "generation", "correlation_id")


def _checked(kind: str, name: str, wanted: str, value: Any) -> Any:
    """A field of the body, of the type that it is declared with, within bounds."""
    fits = {
        "str": _is_text(value),
        "int": _is_count(value),
        "bool": isinstance(value, bool),
        "Mapping[str, int]": isinstance(value, dict)
        and all(map(_is_text, value))
        and all(map(_is_count, value.values())),
    }[wanted]
    if not fits:
        raise UnreadableMessage(where=f"{kind}.{name}", expected=wanted, got=repr(value)[:80])
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_WORDS and "\0" not in value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


@dataclass(frozen=True, kw_only=True)
class AnalysisRequested(StageEvent):
    """A callset has triaged variants to explain. digest: of its triage. tiers: alleles in each."""

    KIND: ClassVar[str] = "analysis/requested"
    IS_FOR_THE_NEXT_STAGE: ClassVar[bool] = True

    tiers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AnalysisDone(StageEvent):
    """A callset was explained, for whoever listens. digest: of its annotations. rows: by status."""

    KIND: ClassVar[str] = "analysis/done"

    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WriteRequested(StageEvent):
    """A callset has a table that the stores have not. digest: of its manifest. asset: which."""

    KIND: ClassVar[str] = "write/requested"
    IS_FOR_THE_NEXT_STAGE: ClassVar[bool] = True

    asset: str

    @property
    def subject(self) -> str:
        return self.asset


@dataclass(frozen=True, kw_only=True)
class CacheInvalidated(StageEvent):
    """What was answered from this store for this tenant before `version` is no longer true. digest: of the load."""

    KIND: ClassVar[str] = "cache/invalidated"

    store: str
    version: int

    @property
    def subject(self) -> str:
        return f"{self.store}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class Notification(StageEvent):
    """How far control is with a callset, for people and for the sender who waits for a receipt.

    state: running, done, failed or refused. asset: which one is at it, of running. digest: of the parsed tables,
    once done. stores: rows of this callset in each, once done. code, reason: of failed and refused.
    is_permanent: of failed: no rerun cures it.
    """

    KIND: ClassVar[str] = "notification"

    state: str
    run_id: str = ""
    asset: str = ""
    records: int = 0
    alleles: int = 0
    rejected: int = 0
    stores: Mapping[str, int] = field(default_factory=dict)
    code: str = ""
    reason: str = ""
    is_permanent: bool = False

    @property
    def subject(self) -> str:
        """Done is done, whichever run says so; running and failed are of one run."""
        return self.state if self.state in ("done", "refused") else f"{self.state}/{self.run_id}/{self.asset}"
