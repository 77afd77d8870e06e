"""`report CALLSET`: one page to read, print and keep.

Not here: what it says (stages/report.py), how it looks (stages/report_page.py).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vcf_pipeline.cli.output import TRIAGE_NOTE, Call, printable, single_verb, stderr_line, write_out

DEFAULT_LIMIT = 200


def report(
    call: Call,
    callset: Annotated[
        str, typer.Argument(metavar="CALLSET", help="A partition key, a callset_id, a unique prefix or a label.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is stdout. [report-ID.html]")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=5_000, help="Alleles of each tier at most.")] = (
        DEFAULT_LIMIT
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is no report.")] = False,
) -> int:
    """Write a callset's tiers, evidence and explanations as one HTML page that needs nothing else."""
    from vcf_pipeline.adapters.objects import put_atomically
    from vcf_pipeline.stages.report import report_of
    from vcf_pipeline.stages.report_page import page
    from vcf_pipeline.wiring import Control

    if output == "-" and call.json:
        raise typer.BadParameter("-o - and --json exclude each other: both are stdout.")
    settings = call.settings()
    with Control(settings) as control:
        found = control.ledger.resolve(settings.tenant, callset)
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        told = report_of(
            found.key,
            ledger=control.ledger,
            tables=control.tables,
            registered=control.registered,
            thresholds=settings.triage.to_thresholds(),
            generated_at=now,
            limit=limit,
        )
    text = page(told)
    if told.stale is not None:
        moved = f"{told.n_pending:,} {'allele' if told.n_pending == 1 else 'alleles'} will change tier"
        stderr_line(f"out of date: {printable(told.stale)}; {moved} when it is run again")
    if output == "-":
        write_out([text])
        return 0
    path = Path(output or f"report-{found.callset_id}.html")
    _check(path, force=force)
    put_atomically(path.absolute(), text.encode())
    tiers = ", ".join(f"{name}: {count:,}" for name, count in told.tiers.items())
    record = {
        "partition": str(found.key),
        "label": found.label,
        "path": str(path.absolute()),
        "size_bytes": len(text.encode()),
        "tiers": dict(told.tiers),
        "shown": told.n_shown,
        "explained": int(told.annotated.extra["rows"]["annotated"]) if told.annotated is not None else 0,
        "moves": told.n_moves,
        "claim_changes": told.n_claims,
        "stale": told.stale.as_record() if told.stale is not None else None,
        "moves_pending": told.n_pending,
    }
    call.emit(record, [f"{path}  {printable(found.label)}", f"  tiers  {tiers}   ({TRIAGE_NOTE})"])
    stderr_line("It names the samples and what they carry: it is yours to guard.")
    if told.annotated is None:
        stderr_line(f"nothing is explained in it yet; {call.command('annotate', '--callset', found.callset_id)} does.")
    return 0


def _check(path: Path, *, force: bool) -> None:
    """An earlier report is replaced, another file is not."""
    if path.is_dir():
        raise typer.BadParameter(f"{printable(path)} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {printable(path.parent)}.")
    if path.exists() and not force and b"variant report</title>" not in _beginning(path):
        raise typer.BadParameter(f"{printable(path)} is there and is no report; --force replaces it.")


def _beginning(path: Path) -> bytes:
    if not os.access(path, os.R_OK):
        return b""
    with path.open("rb") as file:
        return file.read(4096)


app = single_verb(report)
