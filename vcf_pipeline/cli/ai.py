"""`ai usage` and `ai cache`: what explanations have cost, and answers that are kept so that nobody pays twice.

Not here: how they are counted (adapters/ledger/calls.py, answers.py).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.output import Call, printable, stderr_line, table_lines, verb, verb_group

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.answers import CacheShare
    from vcf_pipeline.adapters.ledger.calls import Usage

app = verb_group("Explanations by models: what they have cost, and the answers that are kept.")
cache = verb_group("Answers that were bought and are kept: show them, clear them.")
app.add_typer(cache, name="cache")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_USAGE_HEADS = (
    *("day", "tenant", "provider", "model", "calls", "answered", "unknown", "free", "open", "tokens in", "out"),
    *("usd", "usd unknown", "ms"),
)
_CACHE_HEADS = ("tenant", "provider", "model", "prompt", "answers", "used again", "hit rate", "bytes", "had cost usd")


@app.command("usage")
@verb
def usage(
    call: Call,
    day: Annotated[str | None, typer.Option("--day", help="One day, as 2026-11-27 (UTC).")] = None,
    since: Annotated[str | None, typer.Option("--since", help="From this day on. Default: all.")] = None,
) -> int:
    """Show calls, tokens and money by tenant, day and model; of --tenant alone where it is given.

    Unknown is what was reserved for calls of which nobody knows whether they were billed: the day's budget counts it.
    """
    from vcf_pipeline.wiring import Control

    first, last = _day("--day", day) or _day("--since", since), _day("--day", day)
    with Control(call.settings()) as control:
        rows = control.ledger.usage(call.tenant, since=first, until=last)
    for row in rows:
        if call.json:
            call.emit(_usage_record(row))
    if not call.json:
        _print_usage(call, rows)
    return 0


@cache.command("show")
@verb
def show(call: Call) -> int:
    """Show how many answers are kept, how often they were used again, and what they had cost."""
    from vcf_pipeline.wiring import Control

    with Control(call.settings()) as control:
        shares = control.ledger.cache_shares(call.tenant)
    for share in shares:
        if call.json:
            call.emit(_cache_record(share))
    if not call.json and shares:
        call.emit({}, table_lines(_CACHE_HEADS, map(_cache_row, shares), right=_CACHE_HEADS[4:]))
    if not shares:
        stderr_line("no answer is kept yet.")
    return 0


@cache.command("clear")
@verb
def clear(
    call: Call,
    model: Annotated[str | None, typer.Option("--model", help="Answers of this model alone.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Those that nobody has used for so long, as 30d, 12h or 8w.")
    ] = None,
) -> int:
    """Forget answers, of --tenant alone where it is given. The next run buys them again."""
    from vcf_pipeline.wiring import Control

    seconds = _seconds(older_than)
    with Control(call.settings()) as control:
        cleared = control.ledger.clear_answers(call.tenant, model=model, older_than_s=seconds)
    call.emit({"cleared": cleared}, [f"{cleared:,} answers cleared"])
    return 0


def _day(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError:
        raise typer.BadParameter(f"{option} takes a day as 2026-11-27, not {printable(text)!r}.") from None


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if not found:
        raise typer.BadParameter(f"--older-than takes a time as 30d, 12h or 8w, not {printable(text)!r}.")
    return int(found[1]) * _UNITS[found[2]]


def _usage_record(row: Usage) -> dict[str, Any]:
    return {
        "tenant": row.tenant,
        "day": row.day,
        "provider": row.provider,
        "model": row.model,
        "calls": row.calls,
        "settled": row.settled,
        "unknown": row.unknown,
        "free": row.free,
        "open": row.open,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": row.cost_microusd / 1_000_000,
        "unknown_usd": row.unknown_microusd / 1_000_000,
        "latency_ms": row.latency_ms,
    }


def _print_usage(call: Call, rows: list[Usage]) -> None:
    if not rows:
        stderr_line("no call has been made.")
        return
    shown = [
        (
            *(row.day, row.tenant, row.provider, row.model),
            *(f"{number:,}" for number in (row.calls, row.settled, row.unknown, row.free, row.open)),
            *(f"{number:,}" for number in (row.input_tokens, row.output_tokens)),
            *(f"{money / 1e6:.4f}" for money in (row.cost_microusd, row.unknown_microusd)),
            f"{row.latency_ms:,}",
        )
        for row in rows
    ]
    call.emit({}, table_lines(_USAGE_HEADS, shown, right=_USAGE_HEADS[4:]))
    spent, unknown = sum(row.cost_microusd for row in rows), sum(row.unknown_microusd for row in rows)
    stderr_line(f"{spent / 1e6:.4f} US dollars, and at most {unknown / 1e6:.4f} of calls whose end nobody knows.")


def _cache_record(share: CacheShare) -> dict[str, Any]:
    return {
        "tenant": share.tenant,
        "provider": share.provider,
        "model": share.model,
        "prompt_version": share.prompt_version,
        "answers": share.answers,
        "hits": share.hits,
        "hit_rate": round(_hit_rate(share), 4),
        "size_bytes": share.size_bytes,
        "cost_usd": share.cost_microusd / 1_000_000,
        "last_used_at": datetime.fromtimestamp(share.last_used_at, UTC).isoformat(timespec="seconds"),
    }


def _cache_row(share: CacheShare) -> tuple[object, ...]:
    return (
        *(share.tenant, share.provider, share.model, share.prompt_version),
        *(f"{share.answers:,}", f"{share.hits:,}", f"{_hit_rate(share):.0%}", f"{share.size_bytes:,}"),
        f"{share.cost_microusd / 1e6:.4f}",
    )


def _hit_rate(share: CacheShare) -> float:
    """Of all times that such an answer was needed, how often it was there: each was bought once."""
    return share.hits / (share.hits + share.answers)
