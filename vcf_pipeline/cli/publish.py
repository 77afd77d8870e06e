"""`publish`: files → a stream, the announcement last; a daemon's sensor takes it from there.

Not here: chunks, windows and receipts (stages/publish.py, adapters/broker/publisher.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.meter import Meter, announce_compilation
from vcf_pipeline.cli.output import Call, one_line, printable, single_verb, stderr_line
from vcf_pipeline.cli.run import (
    AssemblyOption,
    EngineOption,
    FilesArgument,
    LabelOption,
    ModeOption,
    ShareOption,
    new_id,
    one_label_per_file,
    registered,
    this_command,
    with_reader,
)

if TYPE_CHECKING:
    from vcf_pipeline.stages.publish import PublishReport
    from vcf_pipeline.wiring import Control


class BrokerName(StrEnum):
    iggy = "iggy"
    kafka = "kafka"
    embedded = "embedded"


def publish(
    call: Call,
    files: FilesArgument,
    broker: Annotated[
        BrokerName | None,
        typer.Option("--broker", help="Send there and nowhere else. Default: the best one that works."),
    ] = None,
    label: LabelOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Publish again what was published with other settings.")
    ] = False,
    engine: EngineOption = None,
    mode: ModeOption = None,
    max_reject_share: ShareOption = None,
    assembly: AssemblyOption = None,
) -> int:
    """Send files through the stream. The daemon's sensor starts the run; `make dev` opens both."""
    from vcf_pipeline.wiring import Control

    settings = with_reader(call.settings(), engine, mode, max_reject_share)
    one_label_per_file(label, files)
    announce_compilation()
    with Control(settings, pin=broker.value if broker is not None else None) as control:
        forward_waiting(control)

        def act(path: str) -> None:
            report = published(control, path, label, assembly, replace=replace)
            in_batch = report.is_spooled and falls_back_to_batch(control, path, label, assembly)
            call.emit(
                {**report_record(report), "registered_for_batch": in_batch},
                _lines(call, report, path if in_batch else ""),
            )

        return call.each(files, act)


def published(control: Control, path: str, label: str | None, assembly: str | None, *, replace: bool) -> PublishReport:
    """Publish with progress. Where this home is control's, the ledger in it gives the receipts."""
    from vcf_pipeline.stages.publish import publish_callset

    settings, coordinator = control.settings, control.coordinator
    name = label or path.rsplit("/", 1)[-1]
    via = [coordinator.in_use]
    with Meter(name) as meter:

        def show(done: int, total: int, records: int) -> None:
            if coordinator.in_use != via[0]:
                meter.say(f"{printable(name)}: goes on via {coordinator.in_use} instead of {via[0]}")
                via[0] = coordinator.in_use
            meter.show("publish", done, total, "bytes", records, via[0])

        try:
            return publish_callset(
                path,
                tenant=settings.tenant,
                label=label,
                settings=settings.reader.to_reader_settings(assembly),
                coordinator=coordinator,
                state_dir=control.home / "publish",
                receipts=control.ledger if control.has_ledger else None,
                replace=replace,
                progress=show,
                now=utc_now,
                new_id=new_id,
            )
        except KeyboardInterrupt:
            meter.say(
                "stopped: kept the chunks that were sent; unannounced, so that nobody reads half a file. "
                f"Goes on with: {this_command()}"
            )
            raise


def forward_waiting(control: Control) -> None:
    """What earlier publications left in the spool goes first, where a broker takes it now."""
    from vcf_pipeline.stages.forward import forward_spooled

    waiting = control.coordinator.spool_status()
    if waiting is None or not waiting["announced"]:
        return
    drained = forward_spooled(control.coordinator, control.ledger if control.has_ledger else None)
    if drained.forwarded or drained.done:
        stderr_line(f"spool: {len(drained.forwarded)} sent on, {len(drained.done)} done by batch meanwhile")
    if drained.left:
        stderr_line(f"spool: {drained.left} still waiting: {one_line(drained.reason)}")


def falls_back_to_batch(control: Control, path: str, label: str | None, assembly: str | None) -> bool:
    """Register what had to be spooled, so that nobody waits for a broker; False where this home is no control's."""
    if not (control.settings.stream.fallback_to_batch and control.has_ledger):
        return False
    from vcf_pipeline.defs.launch import add_partition

    callset, _ = registered(control, path, label, assembly)
    add_partition(control, callset.key)
    return True


def utc_now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="milliseconds")


def report_record(report: PublishReport) -> dict[str, Any]:
    return {
        "partition": report.partition,
        "label": report.label,
        "records": report.records,
        "alleles": report.alleles,
        "rejected": report.rejected,
        "chunks": report.chunks,
        "segments": report.segments,
        "digest": report.digest,
        "seconds": round(report.seconds, 3),
        "variants_per_s": round(report.variants_per_s),
        "already_published": report.already_published,
        "published_as": report.published_as or None,
        "correlation_id": report.correlation_id,
        "broker": report.broker,
        "spooled": report.is_spooled,
    }


def _lines(call: Call, report: PublishReport, batch_path: str) -> list[str]:
    """batch_path: the file that is registered for batch, "" where none is."""
    head = f"{printable(report.label)}  ({report.partition})"
    if report.is_spooled:
        return [
            f"{head}  waits in the spool: no broker took it",
            f"  next    {call.command('spool', 'drain', '--follow')}"
            + (f"; or by batch now: {call.command('run', batch_path)}" if batch_path else ""),
        ]
    if report.already_published:
        return [f"{head}  already published as {printable(report.published_as or report.partition)}"]
    aside = f" · {report.rejected:,} set aside" if report.rejected else ""
    return [
        head,
        f"  {report.records:,} records · {report.alleles:,} alleles{aside} · {report.chunks:,} chunks · "
        f"{report.seconds:.1f} s · {report.variants_per_s:,.0f} variants/s · via {printable(report.broker)}",
        f"  next    the daemon's sensor takes it up (make dev); then: {call.command('callsets', 'list')}",
    ]


app = single_verb(publish)
