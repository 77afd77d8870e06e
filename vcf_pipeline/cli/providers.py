"""`providers check`: does each provider answer, how quickly, with which model, at what cost.

Not here: what is asked (adapters/providers/check.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.output import Call, exit_code_of, one_line, printable, stderr_line, table_lines, verb, verb_group

if TYPE_CHECKING:
    from vcf_pipeline.adapters.providers.check import Checked
    from vcf_pipeline.settings import Settings
    from vcf_pipeline.wiring import Control

app = verb_group("Providers of explanations: try them.")


@app.command("check")
@verb
def check(
    call: Call,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[openai|claude|ollama]…", help="Default: all that are configured.")
    ] = None,
) -> int:
    """Ask each provider one small question, and print latency, model and cost. It is paid for, and counted.

    Exits 0 where all answer as they should, else 1, or 4 where one cannot be reached.
    """
    from vcf_pipeline.annotation_settings import PAID_OR_LOCAL
    from vcf_pipeline.wiring import Control

    wrong = [name for name in names or [] if name not in PAID_OR_LOCAL]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is none of {', '.join(PAID_OR_LOCAL)}.")
    settings = call.settings()
    asked = list(dict.fromkeys(names or [name for name in settings.ai.provider_names if name in PAID_OR_LOCAL]))
    if not asked:
        stderr_line(
            "only `rules` is configured, which needs nobody; name a provider, or set VCF_PIPELINE_AI__PROVIDERS."
        )
        return 0
    with Control(settings) as control:
        found = asyncio.run(_checked(control, settings, asked))
    for one in found:
        if call.json:
            call.emit(_record(one))
    if not call.json:
        call.emit({}, table_lines(("provider", "model", "answer", "ms", "tokens", "usd"), map(_row, found)))
    worst = 0
    for one in found:
        if one.problem is not None:
            stderr_line(f"error: {one.name}: {one_line(str(one.problem))}")
            worst = max(worst, exit_code_of(one.problem))
    return worst


async def _checked(control: Control, settings: Settings, names: Sequence[str]) -> list[Checked]:
    from vcf_pipeline.adapters.providers.check import check as ask
    from vcf_pipeline.domain.annotation.answer import read_answer
    from vcf_pipeline.wiring import provider_members

    books, members = control.ledger.books(), provider_members(settings, names)
    ai = settings.ai
    try:
        return [
            await ask(member, books, read_answer, settings.tenant, ai.budget_microusd, ai.attempt_timeout_s)
            for member in members
        ]
    finally:
        for member in members:
            await member.provider.close()
        await books.close()


def _record(one: Checked) -> dict[str, Any]:
    return {
        "provider": one.name,
        "model": one.model,
        "ok": one.problem is None,
        "latency_ms": one.latency_ms,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "cost_usd": one.cost_microusd / 1_000_000,
        "problem": None if one.problem is None else one_line(str(one.problem)),
        "code": None if one.problem is None else one.problem.code,
    }


def _row(one: Checked) -> tuple[object, ...]:
    if not one.input_tokens:
        return (one.name, printable(one.model), "none", "", "", "")
    answer = "good" if one.problem is None else "no use"
    tokens = f"{one.input_tokens:,} + {one.output_tokens:,}"
    return (one.name, printable(one.model), answer, f"{one.latency_ms:,}", tokens, f"{one.cost_microusd / 1e6:.6f}")
