"""`spool status|drain`: what this home keeps while no broker is left, and sending it on.

Not here: when the spool is used (adapters/broker/routing.py); what is sent first (adapters/broker/forwarder.py).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.meter import STOP_ASKED
from vcf_pipeline.cli.output import Call, one_line, printable, stderr_line, table_lines, verb, verb_group

if TYPE_CHECKING:
    from vcf_pipeline.adapters.broker.forwarder import Drained
    from vcf_pipeline.wiring import Control

app = verb_group("What waits in this home for a broker: show it, send it on.")
FOLLOW_EVERY_S = 2.0
LEFT = 4


@app.command("status")
@verb
def status(call: Call) -> int:
    """Show what waits, and how full the spool is."""
    from vcf_pipeline.adapters.broker.forwarder import announcement_of
    from vcf_pipeline.wiring import Control

    rows = []
    with Control(call.settings()) as control:
        spool = control.spool
        for one in spool.publications():
            announced = announcement_of(one) if one.announcement is not None else None
            rows.append(
                {
                    "partition": str(announced.key) if announced is not None else None,
                    "label": announced.label if announced is not None else None,
                    "publish_id": one.publish_id,
                    "since": datetime.fromtimestamp(one.at, UTC).isoformat(timespec="seconds"),
                    "chunks": one.n_left,
                    "chunk_bytes": one.bytes_left,
                    "announced": announced is not None,
                }
            )
        summary = {"publications": rows, "used_bytes": spool.used_bytes, "max_bytes": spool.max_bytes}
    lines = [f"{len(rows)} waiting, {summary['used_bytes']:,} of {summary['max_bytes']:,} bytes used"]
    if rows:
        shown = [
            (
                row["partition"] or "not whole",
                printable(row["label"] or ""),
                row["since"],
                f"{row['chunks']:,}",
                f"{row['chunk_bytes']:,}",
            )
            for row in rows
        ]
        lines += table_lines(("partition", "label", "since", "chunks", "bytes"), shown, right=("chunks", "bytes"))
    call.emit(summary, lines)
    return 0


@app.command("drain")
@verb
def drain(
    call: Call,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until it is stopped, and send what comes.")] = False,
) -> int:
    """Send what waits, in order; announced once its last chunk is acknowledged. Exit code 4 when some is left."""
    from vcf_pipeline.stages.forward import forward_spooled
    from vcf_pipeline.wiring import Control

    with Control(call.settings()) as control:
        said = ""
        while True:
            drained = forward_spooled(control.coordinator, control.ledger if control.has_ledger else None)
            _tell(call, control, drained)
            if drained.left and drained.reason != said:
                stderr_line(f"{drained.left} still waiting: {one_line(drained.reason)}")
                said = drained.reason
            if not follow:
                break
            if STOP_ASKED.is_set():
                raise KeyboardInterrupt
            time.sleep(FOLLOW_EVERY_S)
    if not (drained.forwarded or drained.done or drained.left):
        stderr_line("nothing waits in the spool.")
    return LEFT if drained.left else 0


def _tell(call: Call, control: Control, drained: Drained) -> None:
    for announced, how in (*((one, "sent") for one in drained.forwarded), *((one, "done") for one in drained.done)):
        record: dict[str, Any] = {
            "partition": str(announced.key),
            "label": announced.label,
            "how": how,
            "chunks": announced.n_chunks,
            "broker": control.coordinator.in_use if how == "sent" else None,
        }
        text = f"sent on via {record['broker']}" if how == "sent" else "done by batch meanwhile, its copy dropped"
        call.emit(record, [f"{printable(announced.label)}  ({announced.key})  {text}"])
