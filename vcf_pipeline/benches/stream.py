"""`bench stream`: one publication end to end, what an acknowledgement costs, and what each codec makes of the chunks.

Not here: how results are shown (cli/bench.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.benches.figures import TENANT, Watch, new_ids, percentiles, publish
from vcf_pipeline.domain.stream.announcement import Announcement, Segment
from vcf_pipeline.domain.stream.chunks import ChunkEncoder
from vcf_pipeline.domain.stream.columns import MAX_INFLATED, inflate
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.publish import PublishReport
from vcf_pipeline.stages.receive import open_received

CODECS: tuple[tuple[str, int | None], ...] = (
    ("none", None),
    ("lz4", None),
    ("zstd", 1),
    ("zstd", 3),
    ("zstd", 9),
)
_CODEC_BYTES = 48 << 20
_MESSAGES = {1 << 10: 200, 256 << 10: 60, 1 << 20: 20}
"""How many are sent one by one, by size in bytes."""


def bench_stream(path: Path, coordinator: Coordinator, scratch: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Rates in variants (alleles) per second, latencies in milliseconds. scratch: a folder to work in.

    Raises what publishing and receiving raise.
    """
    new_id = new_ids()
    _warm_up(path)
    say("reading alone")
    read_rate = _read_rate(path)
    say("publishing")
    watch = Watch()
    report = publish(path, coordinator, scratch / "publish", new_id)
    seconds, cpu_seconds = watch.seconds, watch.cpu_seconds
    say("reading back")
    back = _read_back(report, coordinator)
    say("acknowledgements")
    latencies = {size: _latencies(coordinator, new_id(), size, count) for size, count in _MESSAGES.items()}
    say("codecs")
    codecs = _codecs(path)
    file_bytes = path.stat().st_size
    return {
        "records": report.records,
        "variants": report.alleles,
        "read_variants_per_s": round(read_rate),
        "publish_variants_per_s": round(report.alleles / seconds),
        "publish_variants_per_cpu_s": round(report.alleles / cpu_seconds) if cpu_seconds else 0,
        "publish_of_read": round(report.alleles / seconds / read_rate, 3),
        "read_back_variants_per_s": round(back),
        "wire_bytes": report.bytes_sent,
        "wire_bytes_per_variant": round(report.bytes_sent / max(report.alleles, 1), 2),
        "wire_of_file": round(report.bytes_sent / file_bytes, 3),
        "chunks": report.chunks,
        "latency_ms": {
            str(size): {name: round(value, 3) for name, value in percentiles(values).items()}
            for size, values in latencies.items()
        },
        "codecs": codecs,
    }


def _warm_up(path: Path) -> None:
    """One batch read, encoded and summed, so that what is compiled and loaded once counts for nobody."""
    with open_reader(str(path), ReaderSettings()) as reader:
        for batch in reader.batches():
            list(ChunkEncoder(TENANT, "warm-up", "warm-up").batch(batch, 0))
            TableDigest().add("variants", batch.variants)
            return


def _read_rate(path: Path) -> float:
    watch, alleles = Watch(), 0
    with open_reader(str(path), ReaderSettings()) as reader:
        for batch in reader.batches():
            alleles += batch.variants.height
    return alleles / watch.seconds


def _read_back(report: PublishReport, coordinator: Coordinator) -> float:
    """Fetched, decoded and joined to batches, as a run does it."""
    announced = _announced(report)
    watch, alleles = Watch(), 0
    with open_received(announced, coordinator) as source:
        for batch in source.batches():
            alleles += batch.variants.height
    return alleles / watch.seconds


def _announced(report: PublishReport) -> Announcement:
    """As much of it as reading back asks for."""
    settings = ReaderSettings()
    return Announcement(
        id="",
        tenant=TENANT,
        callset_id=report.partition.partition("/")[2],
        publish_id=report.publish_id,
        correlation_id=report.correlation_id,
        label=report.label,
        uri="",
        sha256="",
        size_bytes=0,
        assembly=None,
        reader_settings=settings.as_record(),
        settings_fingerprint=settings.fingerprint(),
        segments=tuple(Segment.from_dict(segment) for segment in report.segments),
        n_chunks=report.chunks,
        records=report.records,
        alleles=report.alleles,
        rejected=report.rejected,
        digest=report.digest,
        vcf_version="",
        created_at="",
    )


def _latencies(coordinator: Coordinator, publish_id: str, size: int, count: int) -> list[float]:
    """Milliseconds until each of so many messages, sent one by one, is durable; the first, which connects, left out."""
    body, found = bytes(size), []
    with coordinator.publisher(TENANT, publish_id) as publisher:
        for seq in range(count + 1):
            watch = Watch()
            publisher.send(seq, body)
            publisher.flush()
            found.append(watch.seconds * 1e3)
    return found[1:]


def _codecs(path: Path) -> list[dict[str, Any]]:
    """Each codec over the Arrow streams of the first 48 MiB of chunks. ratio: bytes before by bytes after."""
    raws, size, variants = [], 0, 0
    with open_reader(str(path), ReaderSettings()) as reader:
        encoder = ChunkEncoder(TENANT, "codecs", "codecs")
        for batch in reader.batches():
            for envelope in encoder.batch(batch, 0):
                if envelope.attributes["parts"] == 1:
                    raws.append(inflate(envelope.body, envelope.attributes["inflated"], MAX_INFLATED))
                    size += raws[-1].size
            variants += batch.variants.height
            if size >= _CODEC_BYTES:
                break
    return [_codec(name, level, raws, size, variants) for name, level in CODECS]


def _codec(name: str, level: int | None, raws: list[Any], size: int, variants: int) -> dict[str, Any]:
    label = name if level is None else f"{name} {level}"
    if name == "none":
        per_variant = round(size / max(variants, 1), 2)
        return {"codec": label, "ratio": 1.0, "bytes_per_variant": per_variant, "pack_mb_s": None, "unpack_mb_s": None}
    codec = pa.Codec(name, compression_level=level) if level is not None else pa.Codec(name)
    watch = Watch()
    packed = [codec.compress(raw, asbytes=True) for raw in raws]
    pack_s = watch.seconds
    watch = Watch()
    for raw, one in zip(raws, packed, strict=True):
        codec.decompress(one, decompressed_size=raw.size)
    unpack_s = watch.seconds
    after = sum(map(len, packed))
    return {
        "codec": label,
        "ratio": round(size / max(after, 1), 2),
        "bytes_per_variant": round(after / max(variants, 1), 2),
        "pack_mb_s": round(size / 1e6 / pack_s),
        "unpack_mb_s": round(size / 1e6 / unpack_s),
    }
