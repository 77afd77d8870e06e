"""`sources add|list|update|moves|remove`: reference data that a lab registers once, and what a newer version moves.

Not here: how a file becomes a source (stages/sources.py); how callsets are run again (run.py, schedules).
"""

from __future__ import annotations

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.meter import Meter, announce_compilation
from vcf_pipeline.cli.output import Call, printable, stderr_line, table_lines, verb, verb_group

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.sources import Source
    from vcf_pipeline.stages.sources import Effect, SourceReport, SourceRequest
    from vcf_pipeline.wiring import Control

app = verb_group("Reference data that triage hears: ClinVar, gnomAD, dbSNP, gene models, a lab's own cohort.")
MOVES_SHOWN = 20


class Kind(StrEnum):
    vcf = "vcf"
    gff3 = "gff3"
    gtf = "gtf"
    bed = "bed"
    tsv = "tsv"


class PresetName(StrEnum):
    clinvar = "clinvar"
    gnomad = "gnomad"
    dbsnp = "dbsnp"
    cohort = "cohort"
    genes = "genes"
    custom = "custom"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What it is called in evidence, as in clinvar.")]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="VCF, BCF, GFF3, GTF, BED or TSV, may be .gz.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Default: by the file's name.")]
PresetOption = Annotated[PresetName | None, typer.Option("--preset", help="Default: by the file's header.")]
AssemblyOption = Annotated[
    str | None, typer.Option("--assembly", help="GRCh37, GRCh38, …, where the file does not say it itself.")
]
FieldsOption = Annotated[
    str | None, typer.Option("--fields", help="Further fields that evidence shows, as in SCORE,SET.")
]
MovesOption = Annotated[
    str, typer.Option("--moves", metavar="N|all", help="Alleles that will change tier to list, for a person.")
]
FastaOption = Annotated[
    str | None,
    typer.Option("--fasta", help="The reference of a GFF3: consequences are computed where files lack them."),
]


@app.command("add")
@verb
def add(
    call: Call,
    name: NameArgument,
    file: FileArgument,
    kind: KindOption = None,
    preset: PresetOption = None,
    assembly: AssemblyOption = None,
    fields: FieldsOption = None,
    fasta: FastaOption = None,
    moves: MovesOption = str(MOVES_SHOWN),
) -> None:
    """Register a file; callsets of its assembly are joined with it from then on."""
    _registered(call, name, file, _request(kind, preset, assembly, fields, fasta), replaces=False, moves=moves)


@app.command("update")
@verb
def update(
    call: Call,
    name: NameArgument,
    file: FileArgument,
    kind: KindOption = None,
    preset: PresetOption = None,
    assembly: AssemblyOption = None,
    fields: FieldsOption = None,
    fasta: FastaOption = None,
    moves: MovesOption = str(MOVES_SHOWN),
) -> None:
    """Put a newer file in a source's place, and list every variant whose tier it will move."""
    _registered(call, name, file, _request(kind, preset, assembly, fields, fasta), replaces=True, moves=moves)


@app.command("list")
@verb
def list_sources(call: Call) -> None:
    """List a tenant's sources, and the callsets that each is not joined with."""
    from vcf_pipeline.stages.sources import effects_of
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    with Control(settings) as control:
        found = control.ledger.sources(settings.tenant)
        effects = {one.name: effects_of(one, ledger=control.ledger, tables=control.tables) for one in found}
    if call.json:
        for source in found:
            call.emit(source_record(source) | _effect_record(effects[source.name]))
        return
    if not found:
        stderr_line(
            f"no sources of tenant {settings.tenant} yet; start with: {call.command('sources', 'add', 'NAME', 'FILE')}"
        )
        return
    heads = ["source", "preset", "kind", "assembly", "rows", "version", "added", "stale callsets", "file"]
    rows = [
        [
            *(one.name, one.preset, one.kind, one.assembly, f"{one.rows:,}", one.version[:8], _day(one.updated_at)),
            sum(effect.is_stale for effect in effects[one.name]),
            one.uri,
        ]
        for one in found
    ]
    lines = table_lines(heads, rows, right=("rows", "stale callsets"))
    lines += [
        f"not joined: {one.name} with {printable(effect.label)} ({effect.key}): {effect.not_joined}"
        for one in found
        for effect in effects[one.name]
        if effect.not_joined is not None
    ]
    call.emit({}, lines)


@app.command("moves")
@verb
def moves(
    call: Call,
    callset: Annotated[str, typer.Argument(metavar="CALLSET", help="A key, id, prefix or label.")],
) -> None:
    """List every move between tiers of a callset so far, and every claim that changed under a tier that was kept."""
    from vcf_pipeline.stages.triage import CLAIMS, MOVES, tier_moves
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    with Control(settings) as control:
        found = control.ledger.resolve(settings.tenant, callset)
        told = {"partition": str(found.key), "label": found.label}
        for table, key in ((MOVES, "moves"), (CLAIMS, CLAIMS)):
            for frame in tier_moves(found.key, control.tables, table):
                for move in frame.drop("row_id").iter_rows(named=True):
                    because = f"    {move['moved_at'][:10]}, because: {printable(move['because'])}"
                    call.emit({**told, key: move}, [*_move_lines(move, found.label), because])


@app.command("remove")
@verb
def remove(call: Call, name: NameArgument) -> None:
    """Take a source away; the callsets that were joined with it are stale."""
    from vcf_pipeline.stages.sources import effects_of, remove_source
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    with Control(settings) as control:
        source = remove_source(name, tenant=settings.tenant, ledger=control.ledger, tables=control.source_tables)
        effects = effects_of(source, ledger=control.ledger, tables=control.tables, is_removed=True)
        lines = [f"removed: {source.name} ({source.rows:,} rows of {printable(source.uri)})"]
        call.emit(
            source_record(source) | {"removed": True} | _effect_record(effects),
            lines + _stale_lines(call, control, effects),
        )


def _request(
    kind: Kind | None, preset: PresetName | None, assembly: str | None, fields: str | None, fasta: str | None
) -> SourceRequest:
    from vcf_pipeline.stages.sources import SourceRequest

    return SourceRequest(
        kind=kind.value if kind else None,
        preset=preset.value if preset else None,
        assembly=assembly,
        fields=tuple(word.strip() for word in fields.split(",") if word.strip()) if fields is not None else None,
        fasta=fasta,
    )


def _registered(call: Call, name: str, file: str, request: SourceRequest, *, replaces: bool, moves: str) -> None:
    from vcf_pipeline.stages.sources import add_source, effects_of
    from vcf_pipeline.wiring import Control

    shown = _most_shown(moves)
    settings = call.settings()
    announce_compilation()
    with Control(settings) as control:
        with Meter(Path(file).name) as meter:
            report = add_source(
                file,
                tenant=settings.tenant,
                name=name,
                request=request,
                ledger=control.ledger,
                tables=control.source_tables,
                replaces=replaces,
                progress=lambda stage, done, total, rows: meter.show(stage, done, total, "bytes", rows),
            )
        effects = effects_of(report.source, ledger=control.ledger, tables=control.tables)
        record = source_record(report.source) | {
            "before": report.before.version if report.before is not None and not report.unchanged else None,
            "unchanged": report.unchanged,
            "rejected": report.rejected,
            "repeated": report.repeated,
            "told": list(report.told),
            "seconds": round(report.seconds, 3),
            **_effect_record(effects),
        }
        call.emit(record, _report_lines(report))
        if not report.unchanged:
            _tell_moves(call, control, effects, name, shown)
            for line in _stale_lines(call, control, effects):
                call.emit({}, [line]) if not call.json else stderr_line(line)


def _report_lines(report: SourceReport) -> list[str]:
    source = report.source
    if report.unchanged:
        return [
            f"{source.name}: the same file as version {source.version[:8]} of {_day(source.updated_at)}; nothing to do"
        ]
    replaced = f", in the place of {report.before.version[:8]}" if report.before is not None else ""
    return [
        f"{source.name}  {source.rows:,} rows · {source.preset} · {source.assembly} · version {source.version[:8]}"
        f"{replaced} · {report.seconds:.1f} s",
        *(f"  {printable(sentence)}" for sentence in report.told),
    ]


def _most_shown(text: str) -> float:
    if text == "all":
        return math.inf
    if not text.isdecimal():
        raise typer.BadParameter(f"--moves takes a number or all, not {printable(text[:40])}.")
    return int(text)


def _tell_moves(call: Call, control: Control, effects: list[Effect], name: str, shown: float) -> None:
    """Every allele that the next triage of a stale callset moves, or keeps under another claim: all of them as JSON,
    for a person the first ones of either.
    """
    from vcf_pipeline.stages.sources import moves_of

    stale = [effect for effect in effects if effect.is_stale]
    labels = {effect.key: effect.label for effect in stale}
    counts = {"moves": 0, "claim_changes": 0}
    found = moves_of(
        [effect.key for effect in stale],
        tables=control.tables,
        registered=control.registered,
        thresholds=control.settings.triage.to_thresholds(),
    )
    for key, frame in found:
        for move in frame.drop("row_id", "moved_at").iter_rows(named=True):
            what = "moves" if move["old_tier"] != move["new_tier"] else "claim_changes"
            counts[what] += 1
            record = {"source": name, "partition": str(key), "label": labels[key], what: move}
            if call.json or counts[what] <= shown:
                call.emit(record, _move_lines(move, labels[key]))
    if not stale or call.json:
        return
    says = {"moves": "will change tier", "claim_changes": "will keep the tier under another claim"}
    for what, count in counts.items():
        if count or what == "moves":
            rest = f", the first {shown:,} of them above; --moves all lists them" if count > shown else ""
            call.emit({}, [f"{count:,} {'allele' if count == 1 else 'alleles'} {says[what]}{rest}"])


def _move_lines(move: dict[str, Any], label: str) -> list[str]:
    gene = f" {printable(move['gene'])}" if move["gene"] else ""
    old, new = move["old_tier"] or "unknown", move["new_tier"] or "unknown"
    tiers = f"tier {old} → {new}" if old != new else f"claim changed, tier {old} kept"
    head = f"  {printable(label)}  {printable(move['variant_key'])}{gene}: {tiers} ({', '.join(move['new_reasons'])})"
    lines = [head]
    for what, texts in (("was", move["old_evidence"]), ("now", move["new_evidence"])):
        if texts:
            lines.append(f"    {what}: {printable('; '.join(texts))}")
    return lines


def _stale_lines(call: Call, control: Control, effects: list[Effect]) -> list[str]:
    stale = [effect for effect in effects if effect.is_stale]
    if not stale:
        return []
    lines = [f"stale by it: {', '.join(f'{printable(one.label)} ({one.key})' for one in stale)}"]
    first = control.ledger.callset(stale[0].key)
    lines.append("  the nightly backfill refreshes them, while the daemon runs")
    if first is not None and first.uri:
        lines.append(f"  now: {call.command('run', printable(first.uri))}")
    return lines


def _effect_record(effects: list[Effect]) -> dict[str, Any]:
    return {
        "stale": [str(effect.key) for effect in effects if effect.is_stale],
        "not_joined": {str(effect.key): effect.not_joined for effect in effects if effect.not_joined is not None},
    }


def source_record(source: Source) -> dict[str, Any]:
    names = ("tenant", "name", "kind", "preset", "assembly", "version", "rows", "uri", "settings", "updated_at")
    return {("source" if name == "name" else name): getattr(source, name) for name in names}


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
