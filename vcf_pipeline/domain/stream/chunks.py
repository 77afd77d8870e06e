"""ParsedBatch ↔ bodies of data messages, cut to size.

One seq runs over all of a publish_id. The header comes first (seq 0, further parts after it); then batch by
batch its `variants/arrow`, `genotypes/arrow`, `consequences/arrow` and `rejects/arrow`. Each message names
first_record_no and n_records (what it covers), part and parts (of a body too long for one message), rows,
inflated (bytes under the zstd frame) and batch [first_record_no, n_records]; the last of a batch also carries
`end`: rows by table, defects by code. A publication of single variants (`variants/records`) has no header and no
attributes: each of its messages is a batch of its own (variant_messages.py). Not here: how a frame becomes bytes
(columns.py); which seq is missing or doubled (announcement.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.errors import PipelineError, UnreadableMessage
from vcf_pipeline.domain.stream.columns import (
    MAX_CELLS,
    MAX_INFLATED,
    ZSTD_LEVEL,
    decode_frame,
    encode_frame,
    inflate,
)
from vcf_pipeline.domain.stream.envelope import Envelope, unpack_map
from vcf_pipeline.domain.stream.variant_messages import RECORDS, RecordParser, read_lines
from vcf_pipeline.domain.tables.schemas import CONSEQUENCES, REJECTS
from vcf_pipeline.domain.vcf.assembly import Assembly, recognise_assembly
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.domain.vcf.header import Header, parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

HEADER = "header"
TABLES = ("variants", "genotypes", "consequences", "rejects")
KINDS = {f"{table}/arrow": table for table in TABLES}
MESSAGE_BYTES = 1 << 20
_FRAME_BYTES = 8 << 10
"""Kept free for the envelope round a body."""
_MAX_PARTS = 4096
_MAX_BATCH_BYTES = 512 << 20
_FILL = 0.8
_SCHEMA_BYTES = 4 << 10
"""About what a body takes before its first row: a few rejects must not pass for wide ones."""
_MAX_RAW = MAX_INFLATED // 2


@dataclass(frozen=True)
class Sent:
    """What the header chunk says of the reader at the other end. engine: which one read the file."""

    header: Header
    settings: ReaderSettings
    engine: str
    assembly: Assembly


def records_header(parser: RecordParser) -> Sent:
    """What stands for the header of single variants."""
    settings = parser.settings
    return Sent(parser.header, settings, "records", recognise_assembly(parser.header, settings.assembly))


class ChunkEncoder:
    """Envelopes of one publication, in seq order. Equal input gives equal bodies and cuts, so a resume can
    compare.

    message_bytes: what a whole message may take.
    """

    def __init__(
        self,
        tenant: str,
        publish_id: str,
        correlation_id: str,
        producer: str = "",
        message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self.tenant, self.publish_id, self.correlation_id = tenant, publish_id, correlation_id
        self.producer = producer
        self.seq = 0
        self._limit = message_bytes - min(_FRAME_BYTES, message_bytes // 2)
        self._bytes_per_row: dict[str, float] = {}

    def header(self, sent: Sent, ts: int) -> Iterator[Envelope]:
        """ts: milliseconds since 1970."""
        raw = msgpack.packb(
            {
                "header": sent.header.text,
                "settings": sent.settings.as_record(),
                "engine": sent.engine,
                "assembly": asdict(sent.assembly),
            },
            use_bin_type=True,
        )
        body = pa.Codec("zstd", compression_level=ZSTD_LEVEL).compress(raw, asbytes=True)
        yield from self._parts(HEADER, body, {"inflated": len(raw)}, ts)

    def batch(self, batch: ParsedBatch, ts: int) -> Iterator[Envelope]:
        """At least one message, even for a batch that holds nothing but defects."""
        tables = {name: frame for name, frame in _frames(batch).items() if frame.height or name == "variants"}
        whole = (batch.first_record_no, batch.first_record_no + batch.n_records)
        end = {
            "rows": {name: frame.height for name, frame in tables.items()},
            "defects": dict(sorted(batch.defect_counts.items())),
            "has_genotypes": batch.genotypes is not None,
        }
        last: Envelope | None = None
        for name, frame in _schemas_too(batch, tables).items():
            for envelope in self._table(name, frame, whole, ts, [batch.first_record_no, batch.n_records]):
                if last is not None:
                    yield last
                last = envelope
        if last is not None:
            yield _with(last, end=end)

    def _table(
        self, table: str, frame: pl.DataFrame, span: tuple[int, int], ts: int, batch: list[int]
    ) -> Iterator[Envelope]:
        per_row = self._bytes_per_row.get(table, 0.0)
        rows = max(1, min(frame.height, MAX_CELLS // 2 // _cells_per_row(frame)))
        if per_row:
            rows = max(1, min(rows, int(self._limit * _FILL / per_row)))
        for piece, covered in _cut(frame, span, rows):
            body, raw = encode_frame(piece)
            if piece.height:
                counted = max(len(body), raw * self._limit / _MAX_RAW) - _SCHEMA_BYTES
                self._bytes_per_row[table] = max(0.0, counted) / piece.height
            is_too_long = len(body) > self._limit or raw > _MAX_RAW
            if is_too_long and _n_records(piece) > 1:
                self._bytes_per_row[table] = max(self._bytes_per_row[table], self._limit / piece.height)
                yield from self._table(table, piece, covered, ts, batch)
                continue
            about = {
                "first_record_no": covered[0],
                "n_records": covered[1] - covered[0],
                "rows": piece.height,
                "inflated": raw,
                "batch": batch,
            }
            yield from self._parts(f"{table}/arrow", body, about, ts)

    def _parts(self, kind: str, body: bytes, about: Mapping[str, Any], ts: int) -> Iterator[Envelope]:
        parts = max(1, -(-len(body) // self._limit))
        for part in range(parts):
            yield Envelope(
                id=f"{self.publish_id}/{self.seq}",
                kind=kind,
                tenant=self.tenant,
                publish_id=self.publish_id,
                seq=self.seq,
                correlation_id=self.correlation_id,
                ts=ts,
                producer=self.producer,
                codec="zstd",
                attributes={**about, "part": part, "parts": parts},
                body=body[part * self._limit : (part + 1) * self._limit],
            )
            self.seq += 1


def _frames(batch: ParsedBatch) -> dict[str, pl.DataFrame]:
    frames = {"variants": batch.variants, "consequences": batch.consequences, "rejects": batch.rejects}
    if batch.genotypes is not None:
        frames["genotypes"] = batch.genotypes
    return {name: frames[name] for name in TABLES if name in frames}


def _schemas_too(batch: ParsedBatch, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables to send: also an empty one of genotypes, whose columns no schema of ours could restore."""
    sent = dict(tables)
    if batch.genotypes is not None and "genotypes" not in sent:
        sent["genotypes"] = batch.genotypes
    return sent


def _with(envelope: Envelope, **attributes: Any) -> Envelope:
    record = dict(vars(envelope))
    record["attributes"] = {**envelope.attributes, **attributes}
    return Envelope(**record)


def _cells_per_row(frame: pl.DataFrame) -> int:
    return sum(max(1, dtype.shape[0]) if isinstance(dtype, pl.Array) else 1 for dtype in frame.dtypes)


def _n_records(frame: pl.DataFrame) -> int:
    return 0 if frame.is_empty() else 1 + int(frame["record_no"].item(-1) != frame["record_no"].item(0))


def _cut(frame: pl.DataFrame, span: tuple[int, int], rows: int) -> Iterator[tuple[pl.DataFrame, tuple[int, int]]]:
    """Even pieces of about that many rows, never through a record, each with the records [first, end) it
    covers.
    """
    n_pieces = -(-frame.height // rows) if frame.height else 1
    if n_pieces == 1:
        yield frame, span
        return
    numbers = frame["record_no"]
    edges = [0]
    for piece in range(1, n_pieces):
        wanted = frame.height * piece // n_pieces
        edge = int(numbers.search_sorted(numbers.item(wanted), "left"))
        if edge <= edges[-1]:
            edge = int(numbers.search_sorted(numbers.item(wanted), "right"))
        if edges[-1] < edge < frame.height:
            edges.append(edge)
    edges.append(frame.height)
    first = span[0]
    for start, stop in itertools.pairwise(edges):
        end = span[1] if stop == frame.height else int(numbers.item(stop))
        yield frame.slice(start, stop - start), (first, end)
        first = end


@dataclass
class _Open:
    """A batch on its way."""

    first_record_no: int
    n_records: int
    frames: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    inflated: int = 0


class BatchAssembler:
    """Messages of one publication in seq order, without repeats → the header, then whole ParsedBatches.

    settings: how single variants are read; a header chunk brings its own.
    """

    def __init__(self, settings: ReaderSettings | None = None) -> None:
        self._settings = settings or ReaderSettings()
        self._records: RecordParser | None = None
        self.sent: Sent | None = None
        self.next_record_no = 0
        self._parts: list[bytes] = []
        self._parts_of: tuple[Any, ...] = ()
        self._open: _Open | None = None
        self._empty: dict[str, pl.DataFrame] = {}

    @property
    def is_between_batches(self) -> bool:
        return self._open is None and not self._parts

    def add(self, envelope: Envelope) -> ParsedBatch | None:
        """The batch that this message completes, if it does. Raises UnreadableMessage."""
        if envelope.kind == RECORDS and (self.sent is None or self._records is not None):
            return self._add_records(envelope)
        if self._records is not None or (envelope.kind != HEADER and envelope.kind not in KINDS):
            known = RECORDS if self._records is not None else f"one of {HEADER}, {', '.join(KINDS)}"
            raise _unreadable(envelope, known, repr(envelope.kind[:80]))
        if envelope.codec != "zstd":
            raise _unreadable(envelope, "codec zstd", repr(envelope.codec[:20]))
        about = _about(envelope)
        body = self._whole(envelope, about)
        if envelope.kind == HEADER:
            if body is not None:
                self.sent = _read_header(envelope, body, about["inflated"])
            return None
        if self.sent is None:
            raise _unreadable(envelope, "the header before anything else", envelope.kind)
        return self._add_table(envelope, about, body)

    def _add_records(self, envelope: Envelope) -> ParsedBatch:
        """One message of single variants, which is a batch; the first of them stands for the header too."""
        lines = read_lines(envelope)
        if self._records is None:
            if self._parts:
                raise _unreadable(envelope, "the missing parts of the header", envelope.kind)
            self._records = RecordParser(self._settings)
            self.sent = records_header(self._records)
        batch = self._records.parse(lines)
        self.next_record_no = self._records.records
        return batch

    @property
    def records(self) -> RecordParser | None:
        """Of a publication of single variants: what has been read of it."""
        return self._records

    def _whole(self, envelope: Envelope, about: dict[str, Any]) -> bytes | None:
        """The body once its last part is here."""
        part, parts = about["part"], about["parts"]
        same = (envelope.kind, parts, about["first_record_no"], about["inflated"])
        if part != len(self._parts) or (part and same != self._parts_of):
            raise _unreadable(envelope, f"part {len(self._parts)} of {self._parts_of or same}", f"part {part}")
        self._parts_of = same
        self._parts.append(envelope.body)
        if part + 1 < parts:
            if sum(map(len, self._parts)) > MAX_INFLATED:
                raise _unreadable(envelope, f"at most {MAX_INFLATED} bytes in parts", "more")
            return None
        body = self._parts[0] if parts == 1 else b"".join(self._parts)
        self._parts = []
        return body

    def _add_table(self, envelope: Envelope, about: dict[str, Any], body: bytes | None) -> ParsedBatch | None:
        first, n_records = about["batch"]
        if self._open is None:
            if first != self.next_record_no:
                raise _unreadable(envelope, f"a batch from record {self.next_record_no}", f"one from {first}")
            self._open = _Open(first, n_records)
        one = self._open
        if (first, n_records) != (one.first_record_no, one.n_records):
            raise _unreadable(envelope, f"batch {one.first_record_no}+{one.n_records}", f"{first}+{n_records}")
        if body is not None:
            one.inflated += about["inflated"]
            if one.inflated > _MAX_BATCH_BYTES:
                raise _unreadable(envelope, f"at most {_MAX_BATCH_BYTES} bytes in a batch", "more")
            frame = decode_frame(body, about["inflated"], MAX_INFLATED * 4)
            _check_frame(envelope, frame, about)
            one.frames.setdefault(KINDS[envelope.kind], []).append(frame)
        end = envelope.attributes.get("end")
        if end is None:
            return None
        if self._parts:
            raise _unreadable(envelope, "the missing parts before the end of the batch", "the end")
        return self._closed(envelope, one, end)

    def _closed(self, envelope: Envelope, one: _Open, end: Any) -> ParsedBatch:
        if not isinstance(end, dict) or not isinstance(end.get("rows"), dict):
            raise _unreadable(envelope, "rows by table at the end of a batch", repr(end)[:80])
        frames: dict[str, pl.DataFrame] = {}
        for table, empty in (("consequences", CONSEQUENCES), ("rejects", REJECTS)):
            frames[table] = pl.DataFrame(schema=empty)
        for table, pieces in one.frames.items():
            frames[table] = _joined(pieces)
        for table, rows in end["rows"].items():
            got = frames[table].height if table in frames else 0
            if rows != got:
                raise _unreadable(envelope, f"{rows!r} rows of {str(table)[:20]}", str(got))
        if "variants" not in frames:
            raise _unreadable(envelope, "a table of variants", "none")
        defects = end.get("defects", {})
        if not isinstance(defects, dict) or not all(
            isinstance(code, str) and isinstance(n, int) for code, n in defects.items()
        ):
            raise _unreadable(envelope, "defects counted by code", repr(defects)[:80])
        self._open = None
        self.next_record_no = one.first_record_no + one.n_records
        return ParsedBatch(
            first_record_no=one.first_record_no,
            n_records=one.n_records,
            variants=frames["variants"],
            genotypes=frames.get("genotypes"),
            consequences=frames["consequences"],
            rejects=frames["rejects"],
            defect_counts=dict(defects),
        )


def _joined(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    return pieces[0] if len(pieces) == 1 else pl.concat(pieces)


def _about(envelope: Envelope) -> dict[str, Any]:
    """The attributes of a data message, checked and complete."""
    attributes = envelope.attributes
    about: dict[str, Any] = {}
    for name in ("part", "parts", "inflated", "first_record_no", "n_records", "rows"):
        value = attributes.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _unreadable(envelope, f"{name} as a whole number from 0", repr(value)[:40])
        about[name] = value
    if not about["part"] < about["parts"] <= _MAX_PARTS:
        raise _unreadable(envelope, f"part < parts <= {_MAX_PARTS}", f"{about['part']} of {about['parts']}")
    batch = attributes.get("batch", [0, 0])
    if not (isinstance(batch, list) and len(batch) == 2 and all(isinstance(n, int) and n >= 0 for n in batch)):
        raise _unreadable(envelope, "batch as two whole numbers", repr(batch)[:40])
    about["batch"] = (batch[0], batch[1])
    return about


def _check_frame(envelope: Envelope, frame: pl.DataFrame, about: dict[str, Any]) -> None:
    """Rows as counted, of the records that the message covers, inside its batch."""
    first, end = about["first_record_no"], about["first_record_no"] + about["n_records"]
    batch_first, batch_n = about["batch"]
    if frame.height != about["rows"]:
        raise _unreadable(envelope, f"{about['rows']} rows", str(frame.height))
    if not batch_first <= first <= end <= batch_first + batch_n:
        raise _unreadable(envelope, f"records of batch {batch_first}+{batch_n}", f"{first} to {end}")
    if frame.schema.get("record_no") != pl.Int64 or frame["record_no"].null_count():
        raise _unreadable(envelope, "a record_no in every row", "none")
    if frame.height:
        low, high = frame.select(low=pl.col("record_no").min(), high=pl.col("record_no").max()).row(0)
        if not first <= low <= high < end:
            raise _unreadable(envelope, f"records {first} to {end - 1}", f"{low} to {high}")


def _read_header(envelope: Envelope, body: bytes, inflated: int) -> Sent:
    raw = inflate(body, inflated, MAX_INFLATED)
    record = unpack_map(memoryview(raw).tobytes(), MAX_INFLATED, max_text=MAX_INFLATED)
    try:
        assembly = record["assembly"]
        return Sent(
            parse_header(record["header"]),
            ReaderSettings.from_record(record["settings"]),
            str(record["engine"]),
            Assembly(assembly["name"], str(assembly["reason"])),
        )
    except (KeyError, TypeError, AttributeError, ValueError, PipelineError) as problem:
        raise _unreadable(envelope, "a header chunk", f"{type(problem).__name__}: {str(problem)[:120]}") from None


def _unreadable(envelope: Envelope, expected: str, got: str) -> UnreadableMessage:
    return UnreadableMessage(where=f"chunk {envelope.seq} of {envelope.publish_id}", expected=expected, got=got)
