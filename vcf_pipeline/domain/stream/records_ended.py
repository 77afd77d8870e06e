"""What another program says once all its single variants are sent, so that it needs no digest and no ids of ours.

Not here: the messages that it ends (variant_messages.py); the announcement that control makes of it
(stages/announce_records.py). The format is told in docs/messages.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from vcf_pipeline.domain.errors import PipelineError, UnreadableMessage
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.topics import variants_topic

RECORDS_ENDED = "variants/end"
MAX_RECORD_CHUNKS = 10_000
"""Messages of one publication of single variants."""


@dataclass(frozen=True)
class RecordsEnded:
    """A foreign producer has sent its last `variants/records` message: control makes the announcement of it.

    n_chunks: how many messages, seq 0 … n_chunks - 1. partition: of the tenant's data topic, where all of them are.
    first_offset: none of them lies before it. label: shown to people. assembly: of the positions, where known.
    """

    tenant: str
    publish_id: str
    correlation_id: str
    n_chunks: int
    partition: int
    first_offset: int = 0
    label: str = ""
    assembly: str | None = None

    @classmethod
    def from_envelope(cls, envelope: Envelope) -> RecordsEnded:
        """Raises UnreadableMessage."""
        record = frame.unpack_map(envelope.body, frame.MAX_MESSAGE_BYTES)
        numbers = {name: record.get(name, 0) for name in ("n_chunks", "partition", "first_offset")}
        for name, value in numbers.items():
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
                raise UnreadableMessage(where=name, expected="a whole number from 0", got=repr(value)[:80])
        texts = {name: record.get(name) for name in ("label", "assembly")}
        ids = {"publish_id": envelope.publish_id, "correlation_id": envelope.correlation_id}
        for name, text in {**ids, **texts}.items():
            if text is not None and (not isinstance(text, str) or len(text) > frame.MAX_ID or "\0" in text):
                raise UnreadableMessage(
                    where=name, expected=f"a text of up to {frame.MAX_ID} characters, no NUL", got=repr(text)[:80]
                )
        if not 0 < numbers["n_chunks"] <= MAX_RECORD_CHUNKS or not envelope.publish_id:
            raise UnreadableMessage(
                where=RECORDS_ENDED,
                expected=f"a publish_id and 1 to {MAX_RECORD_CHUNKS:,} chunks",
                got=f"{envelope.publish_id[:80]!r} and {numbers['n_chunks']}",
            )
        try:
            variants_topic(envelope.tenant)
        except PipelineError as problem:
            raise UnreadableMessage(where="tenant", got=problem.message) from None
        return cls(
            envelope.tenant,
            envelope.publish_id,
            envelope.correlation_id or envelope.publish_id,
            **numbers,
            label=texts["label"] or "",
            assembly=texts["assembly"] or None,
        )
