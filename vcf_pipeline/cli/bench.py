"""`bench stream|load|memory`: how quick, how many at once, how much memory; on the broker of your choice, with plots.

Nothing reaches a running control: on Kafka and Iggy the topics have a prefix of their own, with `-bench` behind yours;
the embedded log is a scratch one. Not here: what is measured (benches/).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.meter import announce_compilation
from vcf_pipeline.cli.output import Call, printable, stderr_line, table_lines, verb, verb_group
from vcf_pipeline.cli.publish import BrokerName

if TYPE_CHECKING:
    from vcf_pipeline.benches.svg import Bars, Line
    from vcf_pipeline.settings import Settings
    from vcf_pipeline.wiring import Sender

app = verb_group("Measure publishing: rates, latencies, codecs, many streams, memory.")

BrokerOption = Annotated[
    BrokerName, typer.Option("--broker", help="Where to. iggy and kafka as your settings name them.")
]
RecordsOption = Annotated[int, typer.Option("--records", min=100, help="How many records to publish.")]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="A VCF whose records are repeated; made-up sites without one.")
]
PlotsOption = Annotated[Path | None, typer.Option("--plots", help="Folder for the plots; default: HOME/bench.")]


@app.command("stream")
@verb
def stream(
    call: Call,
    records: RecordsOption = 1_000_000,
    source: SourceOption = None,
    broker: BrokerOption = BrokerName.embedded,
    plots: PlotsOption = None,
) -> int:
    """One publication end to end: variants a second, latency percentiles, compression by codec."""
    from vcf_pipeline.benches.stream import bench_stream
    from vcf_pipeline.benches.svg import Bars

    with _prepared(call, broker) as (sender, scratch):
        (path,) = _files(scratch, records, source, 1)
        found = bench_stream(path, sender.coordinator, scratch, stderr_line)
    charts: list[Bars | Line] = [
        Bars(
            f"Variants a second ({broker.value})",
            "/s",
            [
                ("read alone", found["read_variants_per_s"]),
                ("published", found["publish_variants_per_s"]),
                ("read back", found["read_back_variants_per_s"]),
            ],
        ),
        Bars(
            "Until a message is durable",
            "ms",
            [
                (f"{int(size) // 1024} KiB {name}", value)
                for size, values in found["latency_ms"].items()
                for name, value in values.items()
                if name != "max"
            ],
        ),
        Bars(
            "Bytes a variant by codec",
            "bytes",
            [(each["codec"], each["bytes_per_variant"]) for each in found["codecs"]],
        ),
    ]
    lines = [
        f"read alone   {found['read_variants_per_s']:>12,} variants/s",
        f"published    {found['publish_variants_per_s']:>12,} variants/s   {found['publish_of_read']:.2f} of the "
        f"reader's, {found['wire_bytes_per_variant']} bytes a variant, {found['wire_of_file']:.2f} of the file",
        f"read back    {found['read_back_variants_per_s']:>12,} variants/s",
        "",
        *table_lines(
            ("message", "p50 ms", "p90 ms", "p99 ms"),
            [
                (f"{int(size) // 1024} KiB", values["p50"], values["p90"], values["p99"])
                for size, values in found["latency_ms"].items()
            ],
            right=("p50 ms", "p90 ms", "p99 ms"),
        ),
        "",
        *table_lines(
            ("codec", "ratio", "bytes a variant", "pack MB/s", "unpack MB/s"),
            [tuple(each.values()) for each in found["codecs"]],
            right=("ratio", "bytes a variant", "pack MB/s", "unpack MB/s"),
        ),
    ]
    return _told(call, "stream", broker, source, found, lines, charts, plots)


@app.command("load")
@verb
def load(
    call: Call,
    concurrent_streams: Annotated[
        int, typer.Option("--concurrent-streams", min=1, max=200, help="Publications at once.")
    ] = 10,
    records: Annotated[int, typer.Option("--records", min=100, help="Records of each stream.")] = 20_000,
    source: SourceOption = None,
    broker: BrokerOption = BrokerName.embedded,
    plots: PlotsOption = None,
) -> int:
    """Many publications at once: variants a second of all, seconds of each."""
    from vcf_pipeline.benches.load import bench_load
    from vcf_pipeline.benches.svg import Bars

    with _prepared(call, broker) as (sender, scratch):
        found = bench_load(_files(scratch, records, source, concurrent_streams), sender.coordinator, scratch)
    bars = Bars(
        f"{concurrent_streams} streams at once ({broker.value}): seconds of each",
        "s",
        [(f"stream {number}", seconds) for number, seconds in enumerate(found["streams_by_seconds"], 1)],
    )
    lines = [
        f"{found['streams']} streams, {found['failed']} failed: {found['variants_per_s']:,} variants/s, "
        f"{found['wire_mb_per_s']} MB/s",
        "seconds of a stream: " + ", ".join(f"{name} {value}" for name, value in found["stream_seconds"].items()),
        *(printable(error) for error in found["errors"]),
    ]
    return _told(call, "load", broker, source, found, lines, [bars], plots) or int(found["failed"] > 0)


@app.command("memory")
@verb
def memory(
    call: Call,
    records: RecordsOption = 1_000_000,
    source: SourceOption = None,
    stall_seconds: Annotated[
        float, typer.Option("--stall-seconds", min=0, help="Let the broker take so long over one batch.")
    ] = 0.0,
    broker: BrokerOption = BrokerName.embedded,
    plots: PlotsOption = None,
) -> int:
    """Resident memory of a publisher, also while its broker stalls."""
    from vcf_pipeline.adapters.broker.coordinator import Coordinator
    from vcf_pipeline.benches.memory import Stalling, bench_memory
    from vcf_pipeline.benches.svg import Line as LineChart

    with _prepared(call, broker) as (sender, scratch):
        (path,) = _files(scratch, records, source, 1)
        warm_up = scratch / "warm-up"
        warm_up.mkdir()
        bench_memory(_files(warm_up, 1000, source, 1)[0], sender.coordinator, scratch)
        coordinator = sender.coordinator
        if stall_seconds:
            stalling: Any = Stalling(
                next(one for one in coordinator.brokers if one.name == broker.value), stall_seconds
            )
            coordinator = Coordinator([stalling], patience_s=stall_seconds + 30)
        found = {"stall_seconds": stall_seconds, **bench_memory(path, coordinator, scratch)}
    chart = LineChart(f"Resident memory while publishing ({broker.value})", "s", "MB", found["samples"])
    lines = [
        f"{found['variants']:,} variants in {found['seconds']} s: {found['start_mb']} MB before, peak "
        f"{found['peak_mb']} MB, {found['growth_mb']} MB more than in the first tenth; {found['wire_mb']} MB sent"
    ]
    return _told(call, "memory", broker, source, found, lines, [chart], plots)


@contextmanager
def _prepared(call: Call, broker: BrokerName) -> Iterator[tuple[Sender, Path]]:
    """A sender with a home of its own, and that home; both gone afterwards."""
    from vcf_pipeline.wiring import Sender

    announce_compilation()
    settings = call.settings()
    scratch = Path(tempfile.mkdtemp(prefix="vcf-pipeline-bench-"))
    try:
        with Sender(_apart(settings, scratch), pin=broker.value) as sender:
            _ = sender.coordinator  # refused before anything is made, where that broker is not configured
            yield sender, scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _apart(settings: Settings, scratch: Path) -> Settings:
    """The same brokers, other topics and another home."""
    prefix = f"{settings.stream.prefix}-bench"
    changed: dict[str, Any] = {
        "home": scratch / "home",
        "data": scratch / "home" / "data",
        "stream": settings.stream.model_copy(update={"prefix": prefix}),
    }
    for name in ("iggy", "kafka"):
        group = getattr(settings, name)
        changed[name] = group.model_copy(update={"prefix": f"{group.prefix}-bench" if group.prefix else ""})
    return settings.model_copy(update=changed)


def _files(folder: Path, records: int, source: str | None, count: int) -> list[Path]:
    """So many files, of contents that differ: equal ones would be one callset."""
    from vcf_pipeline.benches.made_file import make_file

    paths = [folder / f"bench-{number}.vcf.gz" for number in range(count)]
    for number, path in enumerate(paths):
        make_file(path, records, source, seed=number)
        if source is not None and number:
            _distinct(path, number)
    return paths


def _distinct(path: Path, number: int) -> None:
    """Further end markers, which mean nothing, make other bytes of the same records."""
    from vcf_pipeline.adapters.vcf_files.bgzf import EOF_MARKER

    with path.open("ab") as file:
        file.write(EOF_MARKER * number)


def _told(
    call: Call,
    what: str,
    broker: BrokerName,
    source: str | None,
    found: dict[str, Any],
    lines: list[str],
    charts: list[Bars | Line],
    plots: Path | None,
) -> int:
    from vcf_pipeline.adapters.objects import make_private_dir
    from vcf_pipeline.benches.figures import machine
    from vcf_pipeline.benches.svg import drawn

    folder = plots or make_private_dir(call.settings().home) / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    plot = folder / f"{what}-{broker.value}-{at:%Y%m%dT%H%M%SZ}.svg"
    plot.write_text(drawn(charts))
    about = machine()
    record = {
        "bench": what,
        "broker": broker.value,
        "source": source or "made up",
        "at": at.isoformat(timespec="seconds"),
        "machine": about,
        **found,
        "plot": str(plot.absolute()),
    }
    call.emit(record, [*lines, "", f"{about['cpus']} processors, load {about['load']}; plot: {plot}"])
    return 0
