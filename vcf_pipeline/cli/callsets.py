"""`callsets list|show|forget`: what there is, one of them in full, and its removal everywhere.

Not here: what forgetting removes (stages/forget.py).
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.output import Call, printable, stderr_line, table_lines, verb, verb_group

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset

app = verb_group("What there is, one of them in full, and forgetting one everywhere.")
CallsetArgument = Annotated[
    str, typer.Argument(metavar="CALLSET", help="A partition key, a callset_id, a unique prefix or a label.")
]
LISTED = (
    "label",
    "state",
    "digest",
    "records",
    "alleles",
    "rejected",
    "generation",
    "path",
    "code",
    "reason",
)


@app.command("list")
@verb
def list_callsets(
    call: Call,
    state: Annotated[str | None, typer.Option("--state", help="Only these states, as in running,failed.")] = None,
    forgotten: Annotated[bool, typer.Option("--forgotten", help="Those that were forgotten, too.")] = False,
) -> None:
    """List a tenant's callsets."""
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    wanted = [word.strip() for word in state.split(",")] if state else None
    with Control(settings) as control:
        found = [
            callset
            for callset in control.ledger.callsets(settings.tenant, wanted)
            if forgotten or wanted or callset.state != "forgotten"
        ]
    if call.json:
        for callset in found:
            call.emit(listed_record(callset))
        return
    if not found:
        stderr_line(f"no callsets of tenant {settings.tenant} yet; start with: {call.command('run', 'FILE')}")
        return
    heads = ["callset", "label", "state", "records", "alleles", "aside", "digest"]
    rows = [
        [
            c.callset_id,
            c.label,
            c.state,
            _count(c.records),
            _count(c.alleles),
            _count(c.rejected),
            (c.digest or "")[:11],
        ]
        for c in found
    ]
    call.emit({}, table_lines(heads, rows, right=("records", "alleles", "aside")))


@app.command("show")
@verb
def show(call: Call, callset: CallsetArgument) -> None:
    """Show one callset in full: ledger, tables, loads, and whether its tiers are those of now."""
    from vcf_pipeline.stages.stale_triage import stale_callsets
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    with Control(settings) as control:
        found = control.ledger.resolve(settings.tenant, callset)
        record = {"partition": str(found.key), **asdict(found)}
        for asset in ("parsed_variants", "triaged_variants", "ai_annotations"):
            manifest = control.tables.manifest(found.tenant, found.callset_id, asset)
            record[asset] = manifest and {
                "manifest": str(control.tables.root / found.tenant / found.callset_id / asset / "manifest.json"),
                "digest": manifest.digest,
                "created_at": manifest.created_at,
                "parts": len(manifest.parts),
                "size_bytes": sum(part.size_bytes for part in manifest.parts),
            }
        stale = stale_callsets(
            found.tenant,
            [found.callset_id],
            ledger=control.ledger,
            tables=control.tables,
            thresholds=settings.triage.to_thresholds(),
        ).get(found.callset_id)
        record["stale"] = stale.as_record() if stale is not None else None
        loads = {store: control.ledger.current_load(store, found.key) for store in ("lancedb", "kuzu")}
        record["stores"] = {store: load.rows if load else 0 for store, load in loads.items()}
        for store in ("lancedb_annotations", "kuzu_annotations"):
            loads[store] = control.ledger.current_load(store, found.key)
        record["loads"] = {
            store: load and {"load_id": load.load_id, "digest": load.digest, "rows": load.rows}
            for store, load in loads.items()
        }
    width = max(len(name) for name in record)
    said = record | {"stale": stale}
    call.emit(record, (f"{name:{width}}  {printable(_value(value))}" for name, value in said.items()))


@app.command("forget")
@verb
def forget(
    call: Call,
    callset: CallsetArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Remove a callset everywhere: tables, stores, Dagster's partition. It can come again."""
    from vcf_pipeline.defs.launch import forget_partition
    from vcf_pipeline.stages.forget import forget_callset
    from vcf_pipeline.stages.notify import STORES, cache_invalidated
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    with Control(settings) as control:
        found = control.ledger.resolve(settings.tenant, callset)
        if not yes and not _confirmed(found):
            stderr_line("nothing was done.")
            return 1
        forget_callset(
            found.key,
            ledger=control.ledger,
            tables=control.tables,
            lancedb=control.lancedb,
            kuzu=control.kuzu,
        )
        forget_partition(control, found.key)
        if (gone := control.ledger.callset(found.key)) is not None:
            for store in STORES:
                control.notices.tell(cache_invalidated(gone, store, "", control.ledger))
    record = {"partition": str(found.key), "label": found.label, "forgotten": True}
    call.emit(record, [f"forgotten: {printable(found.label)}  ({found.key})"])
    return 0


def _confirmed(callset: Callset) -> bool:
    if not sys.stdin.isatty():
        raise typer.BadParameter("forget asks before it removes, and there is nobody to ask here: give --yes.")
    alleles = f"{callset.alleles:,} alleles" if callset.alleles is not None else "no tables yet"
    return typer.confirm(f"Forget {printable(callset.label)} ({callset.key}, {alleles})?", err=True)


def listed_record(callset: Callset) -> dict[str, Any]:
    fields = asdict(callset)
    return {"partition": str(callset.key), **{name: fields[name] for name in LISTED}}


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_value(inner)}" for name, inner in value.items())
    return "-" if value is None else str(value)
