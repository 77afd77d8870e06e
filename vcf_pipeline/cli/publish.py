"""`publish`: files → a stream, the announcement last; a daemon's sensor takes it from there.

Not here: chunks, windows and receipts (stages/publish.py, adapters/broker/publisher.py).
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.meter import STOP_ASKED, Meter, announce_compilation
from vcf_pipeline.cli.output import Call, one_line, printable, single_verb, stderr_line
from vcf_pipeline.cli.run import (
    AssemblyOption,
    EngineOption,
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
    from vcf_pipeline.domain.stream.cursor import Cursor
    from vcf_pipeline.stages.publish import PublishReport
    from vcf_pipeline.stages.receipts import Sent
    from vcf_pipeline.wiring import Control

STDIN = "-"
FOLLOW_POLL_S = 1.0
FOLLOW_RETRY_S, FOLLOW_RETRY_MOST_S = 10.0, 300.0
"""Between two tries of a file. A fault that waiting alone does not cure doubles it: a try may read the whole file."""
FOLLOW_SETTLED_S = 3.0
"""A file is taken when it has not changed for so long: whoever copies it in may still be writing."""
DONE, REFUSED, TRANSIENT = 0, 3, 4


class BrokerName(StrEnum):
    iggy = "iggy"
    kafka = "kafka"
    embedded = "embedded"


def publish(
    call: Call,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="VCF or BCF, plain or compressed; - is standard input, read to its end before it is sent.",
        ),
    ] = None,
    broker: Annotated[
        BrokerName | None,
        typer.Option("--broker", help="Send there and nowhere else. Default: the best one that works."),
    ] = None,
    label: LabelOption = None,
    follow: Annotated[
        Path | None, typer.Option("--follow", metavar="DIR", help="Publish what comes into this folder, until Ctrl-C.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the receipt: sent = stored = searchable.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="How long to wait for receipts, seconds.")] = 600.0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Publish again what was published with other settings.")
    ] = False,
    engine: EngineOption = None,
    mode: ModeOption = None,
    max_reject_share: ShareOption = None,
    assembly: AssemblyOption = None,
) -> int:
    """Send files through the stream. The daemon's sensor starts the run; `make dev` opens both."""
    from vcf_pipeline.domain.identity import PartitionKey
    from vcf_pipeline.stages import standard_input
    from vcf_pipeline.stages.receipts import Sent, from_now
    from vcf_pipeline.wiring import Control

    settings = with_reader(call.settings(), engine, mode, max_reject_share)
    paths = _checked_sources(files or [], follow, label, wait=wait)
    announce_compilation()
    with Control(settings, pin=broker.value if broker is not None else None) as control:
        incoming = control.home / "incoming"
        standard_input.sweep(incoming)
        forward_waiting(control)
        cursor = from_now(control.coordinator) if wait else None
        sent: list[Sent] = []

        def act(path: str) -> None:
            is_piped = path == STDIN
            stdin = getattr(sys.stdin, "buffer", None)  # none at all where it was closed
            with standard_input.taken_in(stdin, incoming) if is_piped else nullcontext(path) as file:
                name = label or (standard_input.NAME if is_piped else None)
                report = published(control, file, name, assembly, replace=replace, uri="" if is_piped else None)
                may_batch = report.is_spooled and not is_piped
                in_batch = may_batch and falls_back_to_batch(control, file, label, assembly)
            call.emit(
                {**report_record(report), "registered_for_batch": in_batch},
                _lines(call, report, path if in_batch else ""),
            )
            if wait:
                sent.append(Sent(PartitionKey.parse(report.partition), report.digest, report.alleles))

        worst = call.each(paths, act)
        if cursor is not None and sent:
            worst = max(worst, _await_receipts(call, control, cursor, sent, timeout))
        if follow is not None:
            worst = max(worst, _follow(call, control, follow, act))
        return worst


def _checked_sources(files: list[str], follow: Path | None, label: str | None, *, wait: bool) -> list[str]:
    if not files and follow is None:
        raise typer.BadParameter("say what to publish: files, - for standard input, or --follow DIR.")
    if follow is not None and not follow.is_dir():
        raise typer.BadParameter(f"--follow takes a folder, and {follow} is none.")
    if files.count(STDIN) > 1 or (follow is not None and label is not None):
        raise typer.BadParameter("- can be read once, and --label names one callset.")
    if follow is not None and wait:
        raise typer.BadParameter("--follow has no end to wait for; `callsets list` shows how far each is.")
    one_label_per_file(label, files)
    return files


def _follow(call: Call, control: Control, folder: Path, act: Callable[[str], None]) -> int:
    """Publish each new file of the folder once it has stopped changing. Ends with Ctrl-C or SIGTERM, as exit 130.

    One that is refused is refused once. Whatever else keeps one from being published is no fault of the file's: it is
    tried again, and holds up no other.
    """
    from vcf_pipeline.stages.inbox import Inbox, InboxFile

    memory = control.home / f"follow-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    inbox = Inbox(folder.resolve(), memory, settled_s=FOLLOW_SETTLED_S)
    stderr_line(f"following {printable(folder)}: new VCF and BCF files are published; Ctrl-C ends it")
    failed: dict[InboxFile, tuple[float, float]] = {}  # when it is tried again, and the pause before
    try:
        while True:
            for file in inbox.waiting(time.time()):
                again_at, pause = failed.get(file, (0.0, FOLLOW_RETRY_S / 2))
                if time.monotonic() < again_at:
                    continue
                code = call.each([str(file.path)], act)
                if code in (DONE, REFUSED):
                    inbox.remember(file)
                    failed.pop(file, None)
                else:
                    pause = FOLLOW_RETRY_S if code == TRANSIENT else min(2 * pause, FOLLOW_RETRY_MOST_S)
                    failed[file] = time.monotonic() + pause, pause
            if STOP_ASKED.wait(FOLLOW_POLL_S):
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        stderr_line(f"stopped: what was published stays, and is not published again. Goes on with: {this_command()}")
        raise


def _await_receipts(call: Call, control: Control, cursor: Cursor, sent: list[Sent], timeout: float) -> int:
    """One record a callset as its receipt comes; the worst exit code. What waits in the spool is sent on meanwhile."""
    from vcf_pipeline.stages.forward import forward_spooled
    from vcf_pipeline.stages.notify import standing
    from vcf_pipeline.stages.receipts import receipts

    look = (lambda key: standing(key, control.ledger)) if control.has_ledger else None
    drain = call.command("spool", "drain", "--follow")
    started = time.monotonic()
    worst, why_spooled = 0, ""

    def send_on() -> None:
        nonlocal why_spooled
        if control.spool.has_announced():
            ledger, left = control.ledger if control.has_ledger else None, started + timeout - time.monotonic()
            drained = forward_spooled(control.coordinator, ledger, left)
            why_spooled = one_line(drained.reason)

    for receipt in receipts(control.coordinator, cursor, sent, timeout_s=timeout, look=look, send_on=send_on):
        is_spooled = receipt.state == "waiting" and control.coordinator.waiting(receipt.sent.key) is not None
        state = "spooled" if is_spooled else receipt.state
        record = {
            "partition": str(receipt.sent.key),
            "receipt": state,
            "sent": receipt.sent.alleles,
            "stored": receipt.stored,
            "searchable": receipt.searchable,
            "digest_sent": receipt.sent.digest,
            "digest_stored": receipt.digest or None,
            "whole": receipt.is_whole,
            "code": receipt.code or None,
            "reason": (why_spooled if is_spooled else receipt.reason) or None,
            "next": drain if is_spooled else None,
            "seconds": round(time.monotonic() - started, 3),
        }
        line = (
            f"  receipt {receipt.sent.key}  sent {receipt.sent.alleles:,} = stored {receipt.stored:,} = searchable "
            f"{receipt.searchable:,}"
            if receipt.is_whole
            else f"  receipt {receipt.sent.key}  {state}"
        )
        call.emit(record, [line])
        if is_spooled:
            stderr_line(
                f"error: {receipt.sent.key}: still in the spool, no broker took it: "
                f"{why_spooled or 'none was there'}. It is kept; the daemon of this home sends it on, or: {drain}"
            )
            worst = max(worst, TRANSIENT)
        elif not receipt.is_whole:
            why = one_line(receipt.reason) or "not searchable yet; is the daemon running? `callsets show` follows it"
            stderr_line(f"error: {receipt.sent.key}: {receipt.state}: {why}")
            worst = max(worst, 3 if receipt.state == "refused" else 1)
    return worst


def published(
    control: Control, path: str, label: str | None, assembly: str | None, *, replace: bool, uri: str | None = None
) -> PublishReport:
    """Publish with progress. Where this home is control's, the ledger in it gives the receipts. uri: where control
    could read it later; the path where None.
    """
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
                uri=uri,
                progress=show,
                on_wait=meter.waiting,
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
    """Register what had to be spooled, so that nobody waits for a broker: reconciling asks for its run.

    False where this home is no control's.
    """
    if not (control.settings.stream.fallback_to_batch and control.has_ledger):
        return False
    from vcf_pipeline.defs.launch import add_partition
    from vcf_pipeline.domain.stream.run_plan import SPOOL_PATH

    callset, _ = registered(control, path, label, assembly, SPOOL_PATH)
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
        by_daemon = "the daemon of this home sends it on"
        return [
            f"{head}  waits in the spool: no broker took it",
            f"  next    {by_daemon + ', and runs it from its file meanwhile' if batch_path else by_daemon} (make dev); "
            f"without one: {call.command('spool', 'drain', '--follow')}"
            + (f", or by batch {call.command('run', batch_path)}" if batch_path else ""),
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
