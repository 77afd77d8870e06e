"""`run`: files → tables and stores, in this process, or attached to the daemon's run of the same callset.

Not here: how Dagster is started (defs/launch.py); what is done with a file (stages/).
"""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.explaining import agreed, annotation_lines, annotations_record, asks_before_paying
from vcf_pipeline.cli.meter import Meter, announce_compilation
from vcf_pipeline.cli.output import TRIAGE_NOTE, Call, all_tiers, one_line, printable, single_verb, stderr_line

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.defs.launch import RunOutcome
    from vcf_pipeline.domain.identity import PartitionKey
    from vcf_pipeline.settings import Settings
    from vcf_pipeline.wiring import Control, Progress

ASSETS = ("parsed_variants", "triaged_variants")
TOP_GENES = 8


class Engine(StrEnum):
    auto = "auto"
    own = "own"
    cyvcf2 = "cyvcf2"


class Mode(StrEnum):
    quarantine = "quarantine"
    strict = "strict"


FilesArgument = Annotated[list[str], typer.Argument(metavar="FILE", help="VCF or BCF, plain or compressed.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="What people call it; default: the file's name.")]
EngineOption = Annotated[Engine | None, typer.Option("--engine", help="auto: ours for text, htslib for BCF.")]
ModeOption = Annotated[
    Mode | None,
    typer.Option(
        "--mode",
        help="quarantine sets bad records aside, strict refuses the file at the first; header oddities only warn.",
    ),
]
ShareOption = Annotated[
    float | None,
    typer.Option("--max-reject-share", min=0, max=1, help="Share of records that may be set aside, 0-1."),
]
AssemblyOption = Annotated[
    str | None, typer.Option("--assembly", help="GRCh37, GRCh38, …, where the file does not say it itself.")
]


def run(
    call: Call,
    files: FilesArgument,
    label: LabelOption = None,
    engine: EngineOption = None,
    mode: ModeOption = None,
    max_reject_share: ShareOption = None,
    assembly: AssemblyOption = None,
    force: Annotated[bool, typer.Option("--force", help="Do it again, even where the result is current.")] = False,
    annotate: Annotated[bool, typer.Option("--annotate", help="Explain the alleles of tiers 1 and 2, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask paid providers without asking first.")] = False,
) -> int:
    """Read files into tables, triage them and load both stores."""
    from vcf_pipeline.wiring import Control

    settings = with_reader(call.settings(), engine, mode, max_reject_share)
    one_label_per_file(label, files)
    announce_compilation()
    with Control(settings) as control:

        def act(path: str) -> None:
            callset, _ = registered(control, path, label, assembly)
            outcome = launched(control, callset, force=force, annotate=annotate, yes=yes)
            record = outcome_record(outcome) | heard_record(control, outcome.callset.key)
            call.emit(record, summary_lines(call, control, outcome))

        return call.each(files, act)


def with_reader(
    settings: Settings,
    engine: Engine | None = None,
    mode: Mode | None = None,
    max_reject_share: float | None = None,
) -> Settings:
    """The settings with the reader's options of this line on top."""
    given = {
        "engine": engine.value if engine else None,
        "mode": mode.value if mode else None,
        "max_reject_share": max_reject_share,
    }
    update = {name: value for name, value in given.items() if value is not None}
    return settings.model_copy(update={"reader": settings.reader.model_copy(update=update)})


def one_label_per_file(label: str | None, files: list[str]) -> None:
    if label is not None and len(files) > 1:
        raise typer.BadParameter(f"--label names one callset, and {len(files)} files are given.")


def registered(
    control: Control, path: str, label: str | None, assembly: str | None, way: str = "batch"
) -> tuple[Callset, bool]:
    """The file's callset in the ledger, and whether it is new. Raises InputRefused."""
    from vcf_pipeline.stages.register import register_callset

    settings = control.settings
    with Meter(label or Path(path).name) as meter:
        return register_callset(
            path,
            tenant=settings.tenant,
            label=label,
            settings=settings.reader.to_reader_settings(assembly),
            ledger=control.ledger,
            new_id=new_id,
            progress=lambda done, total: meter.show("checksum", done, total, "bytes"),
            way=way,
        )


def launched(
    control: Control, callset: Callset, *, force: bool, annotate: bool = False, yes: bool = False
) -> RunOutcome:
    """Run it with progress; Ctrl-C and SIGTERM say what was kept and how it goes on, then exit 130.

    annotate: explain too. Where that is paid for and a person sits there, it is made searchable first, and the person
    asked (yes: not asked); a no leaves it at that.
    """
    if annotate and asks_before_paying(control, yes=yes):
        outcome = _run(control, callset, force=force, annotate=False)
        if not agreed(control, callset.key):
            stderr_line("nothing was asked, nothing spent.")
            return outcome
        force = False
    return _run(control, callset, force=force, annotate=annotate)


def _run(control: Control, callset: Callset, *, force: bool, annotate: bool) -> RunOutcome:
    from vcf_pipeline.defs.launch import run_callset

    with Meter(callset.label) as meter:

        def show(progress: Progress) -> None:
            meter.show(progress.stage, progress.done, progress.total, progress.unit, progress.records)

        control.progress = show
        control.tell = lambda line: meter.say(one_line(line))
        control.errors.clear()
        try:
            return run_callset(
                control,
                callset.key,
                force=force,
                annotate=annotate,
                on_wait=lambda run: meter.waiting(f"run {run}"),
            )
        except KeyboardInterrupt:
            meter.say(f"stopped: {kept(control, callset.key)} Goes on with: {this_command()}")
            raise


def kept(control: Control, key: PartitionKey) -> str:
    """What an interrupted run leaves behind, in words."""
    whole = [asset for asset in ASSETS if control.tables.manifest(key.tenant, key.callset_id, asset) is not None]
    if not whole:
        return f"kept {key} as registered; no table of it is whole yet, so nothing half-done can be read."
    return f"kept {key} with {' and '.join(whole)}, which will not be computed again."


def this_command() -> str:
    """The very command of this process: repeating it takes up what was kept."""
    return shlex.join(["vcf-pipeline", *sys.argv[1:]])


def new_id() -> str:
    """A UUIDv7: ordered by time, so that the ledger's indexes stay dense."""
    from uuid_utils import uuid7

    return str(uuid7())


def outcome_record(outcome: RunOutcome) -> dict[str, Any]:
    callset = outcome.callset
    return {
        "partition": str(callset.key),
        "label": callset.label,
        "records": callset.records,
        "alleles": callset.alleles,
        "rejected": callset.rejected,
        "digest": callset.digest,
        "tiers": all_tiers(outcome.tiers),
        "stores": dict(outcome.stores),
        "seconds": round(outcome.seconds, 3),
        "reused": outcome.reused,
        "attached": outcome.attached,
        "run_id": outcome.run_id,
        **({} if outcome.annotations is None else {"annotations": annotations_record(outcome.annotations)}),
    }


def summary_lines(call: Call, control: Control, outcome: RunOutcome) -> list[str]:
    """What a person wants to know of a run: how much, how urgent, where to look next."""
    callset, tiers = outcome.callset, all_tiers(outcome.tiers)
    how = " · reused: it was done already" if outcome.reused else " · by another run" if outcome.attached else ""
    aside = f" · {callset.rejected:,} set aside" if callset.rejected else ""
    lines = [
        f"{printable(callset.label)}  ({callset.key})",
        f"  {callset.records or 0:,} records · {callset.alleles or 0:,} alleles{aside} · {outcome.seconds:.1f} s{how}",
        "  tiers   " + "   ".join(f"{tier}: {count:,}" for tier, count in tiers.items()) + f"   ({TRIAGE_NOTE})",
    ]
    if genes := top_genes(control, callset.key):
        lines.append("  genes   " + ", ".join(f"{printable(gene)} {count:,}" for gene, count in genes[:TOP_GENES]))
    lines += heard_lines(control, outcome)
    lines.append("  stores  " + ", ".join(f"{name} {rows:,}" for name, rows in outcome.stores.items()))
    if outcome.annotations is not None:
        lines += annotation_lines(control, callset.key, outcome.annotations)
    if callset.rejected:
        lines.append(f"  why set aside: {control.tables.root / str(callset.key) / 'parsed_variants'} (table rejects)")
    urgent = [tier for tier in ("1", "2", "3") if tiers[tier]][:2]
    words = ["query", "variants", "--callset", callset.callset_id]
    lines.append("  next    " + call.command(*words, *(["--tier", ",".join(urgent)] if urgent else [])))
    return lines


def heard_record(control: Control, key: PartitionKey) -> dict[str, Any]:
    """What registered sources did for the triage: alleles that each knew, why others were not heard, what moved."""
    from vcf_pipeline.stages.joined_sources import usable

    manifest = control.tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    if manifest is None:
        return {}
    _, not_used = usable(control.ledger.sources(key.tenant), manifest.assembly)
    return {
        "sources": {source["name"]: source["matched"] for source in manifest.extra.get("sources", [])},
        "sources_not_used": not_used,
        "consequences": manifest.extra.get("consequences") or None,
        "tier_moves": manifest.extra.get("moves", 0),
        "claim_changes": manifest.extra.get("claim_changes", 0),
    }


def heard_lines(control: Control, outcome: RunOutcome) -> list[str]:
    """The same for a person; nothing where nothing is registered."""
    heard = heard_record(control, outcome.callset.key)
    if not heard:
        return []
    lines = []
    if heard["sources"]:
        known = ", ".join(f"{name} knew {count:,}" for name, count in heard["sources"].items())
        lines.append(f"  sources {known} of {outcome.callset.alleles or 0:,} alleles")
    lines += [f"  sources {name} was not used: {printable(why)}" for name, why in heard["sources_not_used"].items()]
    if heard["consequences"]:
        lines.append(f"  {printable(heard['consequences'])}")
    if heard["tier_moves"] and not outcome.reused:
        lines.append(f"  moved   {heard['tier_moves']:,} alleles have another tier than in the triage before")
    if heard["claim_changes"] and not outcome.reused:
        lines.append(f"  claims  {heard['claim_changes']:,} alleles keep their tier under another claim")
    return lines


def top_genes(control: Control, key: PartitionKey) -> list[tuple[str, int]]:
    """Genes with the most alleles of tiers 1 to 3, those with tiers 1 and 2 first, as the triage counted them."""
    manifest = control.tables.manifest(key.tenant, key.callset_id, "triaged_variants")
    found = manifest.extra.get("top_genes") if manifest else None
    return [(str(gene), int(count)) for gene, count in found or []]


app = single_verb(run)
