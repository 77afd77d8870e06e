"""`query text|similar`: words, or a text to be like → explanations as a table, JSON lines or CSV.

Not here: how words are read (domain/text_query.py), what answers them (stages/search_text.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.output import TRIAGE_NOTE, Call, printable, stderr_line, table_lines, write_out

if TYPE_CHECKING:
    import polars as pl

    from vcf_pipeline.stages.search_text import Searched, TextResult
    from vcf_pipeline.wiring import Control

DEFAULT_LIMIT = 50
MOST_RANKED = 10_000  # of one table, as its adapter bounds them
_SHOWN = ("tier", "gene", "variant_key", "significance_label", "summary", "provider", "callset")
_UNEXPLAINED = ("tier", "gene", "variant_key", "id", "consequence", "reasons", "callset", "named")
_LONGEST_KEY = 40
WordsArgument = Annotated[
    list[str], typer.Argument(metavar="WORDS", help="Words; a phrase goes in double quotes of its own.")
]
CallsetOption = Annotated[str | None, typer.Option("--callset", help="A key, id, unique prefix or label.")]
TierOption = Annotated[str | None, typer.Option("--tier", help="1, 1,2 or 1-3.")]
LimitOption = Annotated[int, typer.Option("--limit", help="Rows at most.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="CSV with a head line on stdout.")]


def text(
    call: Call,
    words: WordsArgument,
    callset: CallsetOption = None,
    tier: TierOption = None,
    limit: LimitOption = DEFAULT_LIMIT,
    csv: CsvOption = False,
) -> int:
    """Find explanations by their words, genes, conditions and ids; the best first. Every word must be in a row."""
    from vcf_pipeline.stages.search_text import query_text
    from vcf_pipeline.wiring import Control

    _check_form(call, csv)
    with Control(call.settings()) as control:
        result = query_text(_joined(words), _where(control, callset, tier, limit))
        _print(call, control, result, csv=csv)
        stale = _stale(control, result)
    _notes(result, call)
    for line in stale:
        stderr_line(line)
    return 0


def similar(
    call: Call,
    words: Annotated[list[str], typer.Argument(metavar="TEXT|VARIANT", help="A text, or a variant that is explained.")],
    callset: CallsetOption = None,
    tier: TierOption = None,
    limit: LimitOption = 10,
    csv: CsvOption = False,
) -> int:
    """Find the explanations nearest to a text, or to that of a variant. By words alone unless a model is configured."""
    from vcf_pipeline.stages.search_text import query_similar
    from vcf_pipeline.wiring import Control

    _check_form(call, csv)
    with Control(call.settings()) as control:
        embedder = control.embedder(control.settings.tenant)
        result = query_similar(" ".join(words), _where(control, callset, tier, limit), embedder)
        _print(call, control, result, csv=csv)
        stale = _stale(control, result)
    shown = result.frame.height
    kind = "words and spelling alone, not meaning" if embedder.is_lexical else "an embedding model"
    stderr_line(f"{shown:,} nearest. Likeness by {printable(embedder.name)}: {kind}. A tier is {TRIAGE_NOTE}.")
    _late_notes(result)
    for line in stale:
        stderr_line(line)
    return 0


def _check_form(call: Call, csv: bool) -> None:
    if csv and call.json:
        raise typer.BadParameter("--csv and --json exclude each other.")


def _joined(words: Sequence[str]) -> str:
    """What a shell has taken apart: an argument with blanks in it was a phrase."""
    return " ".join(f'"{word}"' if " " in word and '"' not in word and len(words) > 1 else word for word in words)


def _where(control: Control, callset: str | None, tier: str | None, limit: int) -> Searched:
    from vcf_pipeline.stages.search_text import Searched

    return Searched.of(
        ledger=control.ledger,
        annotations=control.lancedb_annotations,
        variants=control.lancedb,
        tenant=control.settings.tenant,
        callset=callset,
        tier=tier,
        limit=limit,
    )


def _print(call: Call, control: Control, result: TextResult, *, csv: bool) -> None:
    from vcf_pipeline.cli.query import flat, readable

    found, named = readable(result.frame), result.unexplained
    if call.json:
        write_out([found.write_ndjson()])
        if named is not None and named.height:
            write_out([readable(named).write_ndjson()])
    elif csv:
        write_out([flat(found).write_csv()])
    else:
        labels = {one.callset_id: one.label for one in control.ledger.callsets(control.settings.tenant)}
        call.emit({}, _lines(found, labels, _SHOWN))
        if named is not None and named.height:
            call.emit({}, ["", "without an explanation:", *_lines(named, labels, _UNEXPLAINED)])


def _stale(control: Control, result: TextResult) -> list[str]:
    from vcf_pipeline.cli.query import stale_lines

    frames = [frame for frame in (result.frame, result.unexplained) if frame is not None and frame.height]
    return stale_lines(control, [callset_id for frame in frames for callset_id in frame["callset_id"]])


def _lines(frame: pl.DataFrame, labels: dict[str, str], shown: Sequence[str]) -> Iterable[str]:
    if frame.is_empty():
        return []
    rows = frame.to_dicts()
    likeness = ["likeness"] if "likeness" in frame.columns else []
    for row in rows:
        row["callset"] = labels.get(row["callset_id"], row["callset_id"])
        row["tier"] = row["tier"] or "?"
        row["reasons"] = ", ".join(row.get("reasons") or [])
        row["variant_key"] = _short(row["variant_key"])
        if row.get("disagrees"):
            row["significance_label"] = f"{row['significance_label']} (the model reads {row['reading']})"
        if likeness:
            row["likeness"] = f"{row['likeness']:.2f}"
    heads = [*likeness, *shown]
    named = [{"variant_key": "variant", "significance_label": "claims", "named": "found by"}.get(h, h) for h in heads]
    return table_lines(named, [[row[name] for name in heads] for row in rows])


def _short(key: Any) -> str:
    text = str(key or "")
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def _notes(result: TextResult, call: Call) -> None:
    shown, named = result.frame.height, result.unexplained
    if shown:
        total = f"{result.total:,}" + (" or more" if result.total >= MOST_RANKED else "")
        some = "" if result.all_of else " No row has all of the words; these have some."
        stderr_line(f"{shown:,} of {total} explanations.{some} A tier is {TRIAGE_NOTE}.")
    if named is not None and named.height:
        more = f" of {result.unexplained_total:,}" if result.unexplained_total > named.height else ""
        stderr_line(
            f"{named.height:,}{more} alleles are named so and not explained; a tier is {TRIAGE_NOTE}; ? is unknown."
        )
    elif not shown:
        stderr_line(
            "no explanation has the words. Explained are alleles of tiers 1 and 2, by: "
            f"{call.command('annotate', '--callset', 'CALLSET')}"
        )
    if result.unknown:
        near = f" Near: {', '.join(printable(word) for word in result.near)}" if result.near else ""
        stderr_line(f"in no explanation: {', '.join(printable(word) for word in result.unknown)}.{near}")
    _late_notes(result)


def _late_notes(result: TextResult) -> None:
    if result.outdated:
        labels = ", ".join(printable(label) for label in result.outdated)
        stderr_line(f"explained before their last triage, so that tiers may be others by now: {labels}")
    if result.elsewhere:
        labels = ", ".join(printable(label) for label in result.elsewhere)
        stderr_line(f"not compared, since another embedder made their vectors: {labels}")
