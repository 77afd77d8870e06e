"""The msgpack frame round every body: encode, bounded decode.

A JSON object is an envelope too, so that a sender needs no msgpack: its first byte is `{`, which no msgpack map has.
Not here: what a body means (chunks.py, events.py). Decoding never trusts a length: whatever is no envelope of
ours ends as UnreadableMessage, which becomes a dead letter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from vcf_pipeline.domain.errors import UnreadableMessage

VERSION = 1
MAX_MESSAGE_BYTES = 4 << 20
"""What decode accepts; our own messages stay at or below 1 MiB (chunks.py)."""
MAX_NESTING = 8
MAX_TEXT = 1 << 20
MAX_ITEMS = 100_000
MAX_ID = 200
"""Characters of every text of an envelope, and of the ids that the ledger keeps: who is heard is stored."""

_TEXTS = ("id", "kind", "tenant", "publish_id", "correlation_id", "producer", "codec", "callset_id")


@dataclass(frozen=True)
class Envelope:
    """A message. ts: milliseconds since 1970, UTC. seq: of the publication, 0 for events.

    attributes: small facts about the body that a reader needs before it opens it.
    callset_id, generation: of events; "" and 0 elsewhere. codec: "none" or "zstd" (one frame over the body).
    """

    id: str
    kind: str
    tenant: str
    body: bytes
    publish_id: str = ""
    seq: int = 0
    correlation_id: str = ""
    ts: int = 0
    producer: str = ""
    codec: str = "none"
    callset_id: str = ""
    generation: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    v: int = VERSION

    @property
    def body_hash(self) -> bytes:
        """16 bytes over kind, attributes and body: equal for a resend, whenever it was sent."""
        digest = hashlib.blake2b(self.kind.encode() + b"\0", digest_size=16)
        digest.update(msgpack.packb(sorted(self.attributes.items()), use_bin_type=True))
        digest.update(self.body)
        return digest.digest()


def encode(envelope: Envelope) -> bytes:
    """The bytes of a message."""
    record = {
        "v": envelope.v,
        "id": envelope.id,
        "kind": envelope.kind,
        "tenant": envelope.tenant,
        "publish_id": envelope.publish_id,
        "seq": envelope.seq,
        "correlation_id": envelope.correlation_id,
        "ts": envelope.ts,
        "producer": envelope.producer,
        "codec": envelope.codec,
        "attributes": dict(envelope.attributes),
        "body": envelope.body,
    }
    if envelope.callset_id:
        record |= {"callset_id": envelope.callset_id, "generation": envelope.generation}
    packed: bytes = msgpack.packb(record, use_bin_type=True)
    return packed


def decode(message: bytes) -> Envelope:
    """Raises UnreadableMessage for anything but an envelope of this version."""
    record = _from_json(message) if message[:1] == b"{" else unpack_map(message, MAX_MESSAGE_BYTES)
    if record.get("v") != VERSION:
        raise _unreadable(f"version {VERSION}", f"version {record.get('v')!r}")
    body = record.get("body")
    if not isinstance(body, bytes):
        raise _unreadable("a body of bytes", type(body).__name__)
    attributes = record.get("attributes", {})
    if not isinstance(attributes, dict):
        raise _unreadable("a map of attributes", type(attributes).__name__)
    values: dict[str, Any] = {}
    for name in _TEXTS:
        value = record.get(name, "")
        if not isinstance(value, str) or len(value) > MAX_ID:
            raise _unreadable(f"{name} as a text of up to {MAX_ID} characters", repr(value)[:80])
        values[name] = value
    for name in ("seq", "ts", "generation"):
        value = record.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _unreadable(f"{name} as a whole number from 0", repr(value)[:80])
        values[name] = value
    if not values["id"] or not values["kind"] or not values["tenant"]:
        raise _unreadable("id, kind and tenant", "an envelope without one of them")
    return Envelope(body=body, attributes=attributes, **values)


def unpack_map(packed: bytes, max_bytes: int, max_text: int = MAX_TEXT) -> dict[str, Any]:
    """A msgpack map with text keys, bounded in size, lengths and nesting. Raises UnreadableMessage."""
    record = unpack_bounded(packed, max_bytes, max_text)
    if not isinstance(record, dict) or not all(isinstance(key, str) for key in record):
        raise _unreadable("a msgpack map with text keys", type(record).__name__)
    return record


def unpack_bounded(packed: bytes, max_bytes: int, max_text: int = MAX_TEXT) -> Any:
    """Any msgpack value, bounded in size, lengths and nesting. Raises UnreadableMessage."""
    if len(packed) > max_bytes:
        raise _unreadable(f"at most {max_bytes} bytes", f"{len(packed)}")
    try:
        value = msgpack.unpackb(
            packed,
            raw=False,
            strict_map_key=True,
            max_str_len=max_text,
            max_bin_len=max_bytes,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as problem:
        raise _unreadable("msgpack", f"{type(problem).__name__}: {str(problem)[:120]}") from None
    _check_nesting(value)
    return value


def _from_json(message: bytes) -> dict[str, Any]:
    """A JSON envelope as its msgpack twin would have come, its body packed; so one set of limits holds for both."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise _unreadable(f"at most {MAX_MESSAGE_BYTES} bytes", f"{len(message)}")
    try:
        record = json.loads(message, parse_constant=_no_number)
        _check_nesting(record)
        record["body"] = msgpack.packb(record.get("body"), use_bin_type=True)
        packed = msgpack.packb(record, use_bin_type=True)
    except (ValueError, TypeError, RecursionError, OverflowError) as problem:
        raise _unreadable("a JSON object", f"{type(problem).__name__}: {str(problem)[:120]}") from None
    return unpack_map(packed, 2 * MAX_MESSAGE_BYTES)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _check_nesting(record: Any) -> None:
    level: list[Any] = [record] if isinstance(record, (dict, list, tuple)) else []
    for _ in range(MAX_NESTING + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list, tuple))
        ]
        if not level:
            return
    raise _unreadable(f"at most {MAX_NESTING} levels", "deeper nesting")


def _unreadable(expected: str, got: str) -> UnreadableMessage:
    return UnreadableMessage(where="message", expected=expected, got=got)
