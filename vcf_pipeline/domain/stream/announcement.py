"""The event that says a callset is complete and where it lies; which seq is missing or doubled.

Not here: how the chunks are read (stages/receive.py); whether a run follows (run_plan.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vcf_pipeline.domain.errors import PipelineError, StreamBroken, UnreadableMessage
from vcf_pipeline.domain.identity import PartitionKey, announcement_id, check_tenant
from vcf_pipeline.domain.stream.envelope import MAX_ID
from vcf_pipeline.domain.stream.topics import Topic

MAX_SEGMENTS = 10_000
MAX_COUNT = 1 << 62
MAX_SETTINGS = 20_000
SEGMENT_GAP = 16
"""Foreign messages that one segment may span: the reader filters by publish_id, and a segment per message is
worse.
"""


@dataclass(frozen=True)
class Segment:
    """A stretch of one partition. topic: its full name. first_offset, last_offset: both inclusive."""

    broker: str
    topic: str
    incarnation: str
    partition: int
    publish_id: str
    first_offset: int
    last_offset: int

    def joined(self, later: Segment) -> Segment | None:
        """One segment over both, None where another place or too much foreign cargo lies between."""
        mine = (self.broker, self.topic, self.incarnation, self.partition, self.publish_id)
        if mine != (later.broker, later.topic, later.incarnation, later.partition, later.publish_id):
            return None
        if not self.last_offset < later.first_offset <= self.last_offset + 1 + SEGMENT_GAP:
            return None
        return Segment(*mine, first_offset=self.first_offset, last_offset=later.last_offset)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Segment:
        """Raises UnreadableMessage."""
        values = _typed(cls, record)
        segment = cls(**values)
        if segment.partition < 0 or not 0 <= segment.first_offset <= segment.last_offset <= MAX_COUNT:
            raise UnreadableMessage(
                where="segment", expected="0 <= first_offset <= last_offset", got=repr(dict(record))[:200]
            )
        try:
            Topic.parse(segment.topic)
        except PipelineError as problem:
            raise UnreadableMessage(where="segment", got=problem.message) from None
        return segment


def add_segment(segments: list[Segment], segment: Segment) -> None:
    """Append in place, or lengthen the last one."""
    whole = segments[-1].joined(segment) if segments else None
    if whole is None:
        segments.append(segment)
    else:
        segments[-1] = whole


@dataclass(frozen=True)
class Announcement:
    """A whole publication. sha256, size_bytes: of the file as read. records counts rejected ones too;

    alleles: rows of `variants`. digest: TableDigest over the parsed frames. created_at: ISO 8601, UTC.
    n_chunks: messages of this publish_id, seq 0 … n_chunks - 1.
    """

    id: str
    tenant: str
    callset_id: str
    publish_id: str
    correlation_id: str
    label: str
    uri: str
    sha256: str
    size_bytes: int
    assembly: str | None
    reader_settings: dict[str, Any]
    settings_fingerprint: str
    segments: tuple[Segment, ...]
    n_chunks: int
    records: int
    alleles: int
    rejected: int
    digest: str
    vcf_version: str
    created_at: str

    @property
    def key(self) -> PartitionKey:
        return PartitionKey(self.tenant, self.callset_id)

    def to_dict(self) -> dict[str, Any]:
        """JSON- and msgpack-ready."""
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        record["segments"] = [segment.to_dict() for segment in self.segments]
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Announcement:
        """Unknown fields are passed over, so that a newer sender is understood. Raises UnreadableMessage."""
        raw = record.get("segments")
        if not isinstance(raw, (list, tuple)) or not 0 < len(raw) <= MAX_SEGMENTS:
            raise UnreadableMessage(
                where="announcement", expected=f"1 to {MAX_SEGMENTS} segments", got=type(raw).__name__
            )
        values = _typed(cls, record)
        values["segments"] = tuple(Segment.from_dict(_mapping(segment)) for segment in raw)
        announcement = cls(**values)
        _check(announcement)
        return announcement


def _check(announcement: Announcement) -> None:
    """Ids that hang together, counts that can be, segments of this publication in this tenant's topic."""
    try:
        check_tenant(announcement.tenant)
        PartitionKey.parse(str(announcement.key))
    except PipelineError as problem:
        raise UnreadableMessage(where="announcement", got=problem.message) from None
    expected = announcement_id(announcement.tenant, announcement.callset_id, announcement.publish_id)
    faults = []
    if announcement.id != expected:
        faults.append(f"id {announcement.id!r} where {expected!r} follows from the publication")
    if not announcement.n_chunks > 0 or min(announcement.records, announcement.alleles, announcement.rejected) < 0:
        faults.append("counts below zero")
    counts = ("size_bytes", "n_chunks", "records", "alleles", "rejected")
    faults += [f"{name} above {MAX_COUNT}" for name in counts if getattr(announcement, name) > MAX_COUNT]
    faults += _unfit_texts(announcement)
    if announcement.rejected > announcement.records:
        faults.append("more rejected records than records")
    for segment in announcement.segments:
        if segment.publish_id != announcement.publish_id:
            faults.append(f"a segment of publication {segment.publish_id!r}")
        if Topic.parse(segment.topic).tenant != announcement.tenant:
            faults.append(f"a segment in {segment.topic!r}, which is not the tenant's")
    if faults:
        raise UnreadableMessage(where="announcement", got="; ".join(faults[:3]))


def _unfit_texts(announcement: Announcement) -> list[str]:
    """Texts that the ledger could not keep: one message of these would otherwise stop a sensor at it for ever."""
    faults = [
        f"a {name} of {len(value)} characters, or with a NUL among them"
        for name, most in _LONGEST.items()
        if (value := getattr(announcement, name) or "") and (len(value) > most or "\0" in value)
    ]
    try:
        settings = json.dumps(announcement.reader_settings)
    except (TypeError, ValueError):
        return [*faults, "reader_settings that are no JSON"]
    if len(settings) > MAX_SETTINGS or "\\u0000" in settings:
        faults.append(f"reader_settings of {len(settings)} characters")
    return faults


_LONGEST = {
    "publish_id": MAX_ID,
    "correlation_id": MAX_ID,
    "settings_fingerprint": 16,
    "sha256": 64,
    "digest": 35,
    "label": 1000,
    "uri": 10_000,
    "assembly": MAX_ID,
    "vcf_version": 40,
    "created_at": 40,
}

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "str | None": (str, type(None)),
    "dict[str, Any]": (dict,),
}


def _typed(cls: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass out of a decoded map, each of the type it is declared with."""
    values = {}
    for item in fields(cls):
        if str(item.type).startswith("tuple"):
            continue
        kinds = _KINDS[str(item.type)]
        value = record.get(item.name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise UnreadableMessage(
                where=f"{cls.__name__.lower()}.{item.name}", expected=str(item.type), got=repr(value)[:80]
            )
        values[item.name] = value
    return values


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UnreadableMessage(where="segment", expected="a map", got=type(value).__name__)
    return value


def missing_seqs(seen: Iterable[int], n_chunks: int) -> list[int]:
    """The numbers of 0 … n_chunks - 1 that never came, ascending."""
    return sorted(set(range(n_chunks)) - set(seen))


def is_repeat(seen: Mapping[int, bytes], seq: int, body_hash: bytes) -> bool:
    """Whether this seq came before with the same body. With another body: StreamBroken, two senders share an
    id.
    """
    known = seen.get(seq)
    if known is None:
        return False
    if known != body_hash:
        raise StreamBroken(
            where=f"chunk {seq}",
            expected="the body that came under this number before",
            got="another one",
            repair="Publish the file again: it gets a new publication.",
            code="CHUNK_CHANGED",
            seq=seq,
        )
    return True
