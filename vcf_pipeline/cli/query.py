"""`query variants|text|similar|graph`: options → a question → a table, JSON lines or CSV.

Not here: how options are read (domain/query.py), what answers them (stages/query.py), text and similar (query_text.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli import query_text
from vcf_pipeline.cli.output import (
    TRIAGE_NOTE,
    Call,
    printable,
    stderr_line,
    table_lines,
    verb,
    verb_group,
    write_out,
)

if TYPE_CHECKING:
    import polars as pl

    from vcf_pipeline.stages.query import QueryResult
    from vcf_pipeline.wiring import Control

app = verb_group("Search the loaded variants, their explanations, or the graph of samples, variants and genes.")
SHOWN = (
    "tier",
    "contig",
    "pos",
    "ref",
    "alt",
    "gene",
    "consequence",
    "hgvs_p",
    "population_af",
    "reasons",
    "callset",
)
LONGEST_ALLELE = 24
MOST_STALE_SHOWN = 5
MOST_LOOKED_AT = 100  # callsets, two small files each, where no row says which ones matter
DEFAULT_LIMIT = 50


@app.command("variants")
@verb
def variants(
    call: Call,
    gene: Annotated[str | None, typer.Option("--gene", help="A gene's symbol, in any case.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="chr17:43,000,000-43,100,000, 17:43093464, 17.")
    ] = None,
    tier: Annotated[str | None, typer.Option("--tier", help="1, 1,2, 1-3 or unknown.")] = None,
    max_af: Annotated[
        float | None, typer.Option("--max-af", help="Population frequency at most, 0-1; unknown ones pass.")
    ] = None,
    significance: Annotated[
        str | None, typer.Option("--significance", help="pathogenic, likely_pathogenic, uncertain, benign, …")
    ] = None,
    sample: Annotated[str | None, typer.Option("--sample", help="Only what this sample carries.")] = None,
    callset: Annotated[str | None, typer.Option("--callset", help="A key, id, unique prefix or label.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Rows at most.")] = DEFAULT_LIMIT,
    csv: Annotated[bool, typer.Option("--csv", help="CSV with a head line on stdout.")] = False,
) -> int:
    """Find variants by gene, region, tier, frequency, significance, sample and callset; all must hold."""
    from vcf_pipeline.wiring import Control

    if csv and call.json:
        raise typer.BadParameter("--csv and --json exclude each other.")
    options = {
        "gene": gene,
        "region": region,
        "tier": tier,
        "max_af": max_af,
        "significance": significance,
        "sample": sample,
        "callset": callset,
        "limit": limit,
    }
    with Control(call.settings()) as control:
        result = asked(control, **options)
        labels = _labels(control, result.frame)
        stale = stale_lines(control, _looked_at(control, result.frame, callset))
    frame = readable(result.frame)
    if call.json:
        write_out([frame.write_ndjson()])
    elif csv:
        write_out([flat(frame).write_csv()])
    else:
        call.emit({}, _variant_lines(frame, labels))
    _notes(result)
    for line in stale:
        stderr_line(line)
    return 0


def asked(control: Control, **options: Any) -> QueryResult:
    """The answer to options as they were typed. Raises UsageError, StoreUnavailable."""
    from vcf_pipeline.domain.query import VariantQuery
    from vcf_pipeline.stages.query import query_variants

    return query_variants(
        VariantQuery.parse(**options),
        tenant=control.settings.tenant,
        tables=control.tables,
        ledger=control.ledger,
        store=control.lancedb,
    )


def found_rows(control: Control, **options: Any) -> list[dict[str, Any]]:
    """Rows of a question as dicts."""
    rows: list[dict[str, Any]] = asked(control, **options).frame.to_dicts()
    return rows


def readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Bytes as hex, so that every column can be printed."""
    import polars as pl

    binary = [name for name, dtype in frame.schema.items() if dtype == pl.Binary]
    return frame.with_columns(pl.col(name).bin.encode("hex") for name in binary)


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists joined by `;`, for CSV."""
    import polars as pl

    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(";") for name in lists)


def _labels(control: Control, frame: pl.DataFrame) -> dict[str, str]:
    if "callset_id" not in frame.columns:
        return {}
    return {c.callset_id: c.label for c in control.ledger.callsets(control.settings.tenant)}


def stale_lines(control: Control, callset_ids: Iterable[str]) -> list[str]:
    """For stderr: a line for each of the callsets whose tiers are not those of now, the first of them."""
    from vcf_pipeline.stages.stale_triage import stale_callsets

    tenant = control.settings.tenant
    found = stale_callsets(
        tenant,
        dict.fromkeys(callset_ids),
        ledger=control.ledger,
        tables=control.tables,
        thresholds=control.settings.triage.to_thresholds(),
    )
    labels = {one.callset_id: one.label for one in control.ledger.callsets(tenant)} if found else {}
    lines = [
        f"out of date: {printable(labels.get(callset_id, callset_id))} ({tenant}/{callset_id}), {printable(stale)}; "
        "run it again"
        for callset_id, stale in found.items()
    ]
    rest = len(lines) - MOST_STALE_SHOWN
    return lines if rest <= 0 else [*lines[:MOST_STALE_SHOWN], f"and {rest:,} more callsets are out of date"]


def _looked_at(control: Control, frame: pl.DataFrame, named: str | None) -> list[str]:
    """The callsets that an answer rests on: the one that was named, those of the rows; without rows the first ones."""
    tenant = control.settings.tenant
    if named is not None:
        return [control.ledger.resolve(tenant, named).callset_id]
    if frame.height:
        return frame["callset_id"].unique(maintain_order=True).to_list()
    present = [one.callset_id for one in control.ledger.callsets(tenant) if one.state != "forgotten"]
    return present[:MOST_LOOKED_AT]


def _variant_lines(frame: pl.DataFrame, labels: dict[str, str]) -> Iterable[str]:
    if frame.is_empty():
        return []
    rows = frame.to_dicts()
    for row in rows:
        row["callset"] = labels.get(row.get("callset_id", ""), row.get("callset_id", ""))
        row["tier"] = row["tier"] or "?"
        row["reasons"] = ", ".join(row["reasons"] or [])
        for allele in ("ref", "alt"):
            text = row[allele] or "."
            row[allele] = text if len(text) <= LONGEST_ALLELE else f"{text[:12]}…({len(text)})"
        if row["population_af"] is not None:
            row["population_af"] = f"{row['population_af']:.2g}"
    heads = [name for name in SHOWN if name in rows[0]]
    shown = [{"population_af": "af", "hgvs_p": "protein"}.get(name, name) for name in heads]
    return table_lines(shown, [[row[name] for name in heads] for row in rows], right=("pos", "af"))


def _notes(result: QueryResult) -> None:
    """On stderr: what a tier is, what was cut off, what was not understood, what is still on its way."""
    shown = result.frame.height
    if shown:
        stderr_line(f"{shown:,} of {result.total:,} variants. A tier is {TRIAGE_NOTE}; ? is unknown.")
    elif result.unknown:
        near = f" Near: {', '.join(printable(name) for name in result.near)}" if result.near else ""
        stderr_line(f"no callset has {printable(result.unknown)}.{near}")
    else:
        stderr_line("no variant meets all of it.")
    if result.still_loading:
        labels = ", ".join(f"{printable(label)} ({key})" for key, label in result.still_loading.items())
        stderr_line(f"still loading: {labels}")


app.command("text")(verb(query_text.text))
app.command("similar")(verb(query_text.similar))


@app.command("graph")
@verb
def graph(
    call: Call,
    question: Annotated[str | None, typer.Argument(help="One of them; without it they are listed.")] = None,
    values: Annotated[list[str] | None, typer.Argument(help="What it asks about, in its order.")] = None,
    cypher: Annotated[str | None, typer.Option("--cypher", help="A query of your own, read-only.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Rows at most.")] = DEFAULT_LIMIT,
) -> int:
    """Ask the graph of samples, variants and genes: a prepared question, or Cypher."""
    from vcf_pipeline.stages.query import ask_graph
    from vcf_pipeline.wiring import Control

    if question is None and cypher is None:
        _list_questions(call)
        return 0
    if cypher is not None and question is not None:
        raise typer.BadParameter("Give a question or --cypher, not both.")
    parameters = {} if question is None else _parameters(question, values or [])
    with Control(call.settings()) as control:
        result = ask_graph(
            question or cypher or "",
            parameters,
            tenant=control.settings.tenant,
            ledger=control.ledger,
            store=control.kuzu,
            max_rows=limit,
        )
        columns, rows = result.answer.columns, result.answer.rows
        at = columns.index("callset_id") if "callset_id" in columns else None
        stale = [] if at is None else stale_lines(control, [str(row[at]) for row in rows])
    if call.json:
        for row in rows:
            call.emit(dict(zip(columns, row, strict=True)))
    elif rows:
        call.emit({}, table_lines(columns, rows))
    more = f"the first {len(rows):,} rows; there are more" if result.answer.is_cut else f"{len(rows):,} rows"
    stderr_line(f"{more}. A tier is {TRIAGE_NOTE}.")
    if result.linked:
        labels = ", ".join(printable(label) for label in result.linked)
        stderr_line(f"of these callsets the graph holds the linked alleles only: {labels}")
    for line in stale:
        stderr_line(line)
    return 0


def _list_questions(call: Call) -> None:
    from vcf_pipeline.adapters.stores.kuzu_reader import QUESTIONS

    if call.json:
        for name, question in QUESTIONS.items():
            call.emit({"question": name, "parameters": question.parameters, "help": question.help})
        return
    rows = [
        [" ".join([name, *(parameter.upper() for parameter in question.parameters)]), question.help]
        for name, question in QUESTIONS.items()
    ]
    call.emit({}, table_lines(["question", "answer"], rows))
    stderr_line(f"Ask with: {call.command('query', 'graph')} QUESTION …, or --cypher 'MATCH … RETURN …'")


def _parameters(question: str, values: list[str]) -> dict[str, str]:
    """A prepared question's parameters by name. Raises BadParameter for another question or too many values."""
    from vcf_pipeline.adapters.stores.kuzu_reader import QUESTIONS
    from vcf_pipeline.domain.query import near_misses

    if question not in QUESTIONS:
        near = near_misses(question, QUESTIONS)
        raise typer.BadParameter(
            f"{question!r} is no question. "
            + (f"Did you mean {near[0]}?" if near else f"There are {', '.join(QUESTIONS)}.")
        )
    names = QUESTIONS[question].parameters
    if len(values) > len(names):
        raise typer.BadParameter(f"{question} takes {len(names)} values, {len(values)} are given.")
    return dict(zip(names, values, strict=False))
