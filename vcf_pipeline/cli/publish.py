"""`publish`: files → a stream, the announcement last; a daemon's sensor takes it from there.

Not here: chunks, windows and receipts (stages/publish.py, adapters/broker/coordinator.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.meter import Meter, announce_compilation
from vcf_pipeline.cli.output import Call, printable, single_verb
from vcf_pipeline.cli.run import (
    AssemblyOption,
    EngineOption,
    FilesArgument,
    LabelOption,
    ModeOption,
    ShareOption,
    new_id,
    one_label_per_file,
    this_command,
    with_reader,
)

if TYPE_CHECKING:
    from vcf_pipeline.stages.publish import PublishReport
    from vcf_pipeline.wiring import Control


class BrokerName(StrEnum):
    embedded = "embedded"


def publish(
    call: Call,
    files: FilesArgument,
    broker: Annotated[BrokerName, typer.Option("--broker", help="Where to.")] = BrokerName.embedded,
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

    del broker
    settings = with_reader(call.settings(), engine, mode, max_reject_share)
    one_label_per_file(label, files)
    announce_compilation()
    with Control(settings) as control:

        def act(path: str) -> None:
            report = published(control, path, label, assembly, replace=replace)
            call.emit(report_record(report), _lines(call, report))

        return call.each(files, act)


def published(control: Control, path: str, label: str | None, assembly: str | None, *, replace: bool) -> PublishReport:
    """Publish with progress. The embedded log lies in this home: the ledger beside it gives the receipts."""
    from vcf_pipeline.stages.publish import publish_callset

    settings = control.settings
    with Meter(label or path.rsplit("/", 1)[-1]) as meter:
        try:
            return publish_callset(
                path,
                tenant=settings.tenant,
                label=label,
                settings=settings.reader.to_reader_settings(assembly),
                coordinator=control.coordinator,
                state_dir=control.home / "publish",
                receipts=control.ledger,
                replace=replace,
                progress=lambda done, total, records: meter.show("publish", done, total, "bytes", records),
                now=utc_now,
                new_id=new_id,
            )
        except KeyboardInterrupt:
            meter.say(
                "stopped: kept the chunks that were sent; unannounced, so that nobody reads half a file. "
                f"Goes on with: {this_command()}"
            )
            raise


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
    }


def _lines(call: Call, report: PublishReport) -> list[str]:
    head = f"{printable(report.label)}  ({report.partition})"
    if report.already_published:
        return [f"{head}  already published as {printable(report.published_as or report.partition)}"]
    aside = f" · {report.rejected:,} set aside" if report.rejected else ""
    return [
        head,
        f"  {report.records:,} records · {report.alleles:,} alleles{aside} · {report.chunks:,} chunks · "
        f"{report.seconds:.1f} s · {report.variants_per_s:,.0f} variants/s",
        f"  next    the daemon's sensor takes it up (make dev); then: {call.command('callsets', 'list')}",
    ]


app = single_verb(publish)
