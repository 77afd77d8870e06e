"""One small question to a provider, to see that it answers: what an allele would be asked, its cost booked.

Not here: what is printed of it (cli/providers.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from vcf_pipeline.adapters.providers.attempts import Member
from vcf_pipeline.adapters.providers.port import Books
from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.brief import Brief, Fact
from vcf_pipeline.domain.annotation.prices import most_input_tokens
from vcf_pipeline.domain.annotation.prompts import MAX_OUTPUT_TOKENS, question
from vcf_pipeline.domain.annotation.spending import Bounds, Ending, Grant, Reserve, Settle
from vcf_pipeline.domain.errors import (
    BadAnswer,
    BudgetSpent,
    PipelineError,
    ProviderRefused,
    ProviderUnavailable,
    UnknownPrice,
)

EXAMPLE = Brief(
    "GRCh38",
    "17-43093464-C-T",
    "uncertain",
    ("clinvar_vus",),
    (Fact("clinvar:CLNSIG", "Uncertain_significance"), Fact("gene", "BRCA1")),
)
"""A public variant with public facts: nothing of anybody's file."""
_SUBJECT = "check"


@dataclass(frozen=True)
class Checked:
    """latency_ms, tokens and cost of the call; 0 where none was made. problem: why it is no use; None where it is."""

    name: str
    model: str
    latency_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_microusd: int = 0
    problem: PipelineError | None = None


async def check(
    member: Member,
    books: Books,
    read: Callable[[str, Brief], Answer],
    tenant: str,
    budget_microusd: int,
    timeout_s: float,
) -> Checked:
    """Ask once, within the tenant's budget of today. Raises StoreUnavailable."""
    name, model = member.name, member.provider.model
    if member.price is None:
        return Checked(name, model, problem=UnknownPrice(member.problem, provider=name))
    messages = question(EXAMPLE)
    most = most_input_tokens(messages, member.provider.extra_bytes)
    call_id = str(uuid.uuid4())
    reserve = Reserve(
        call_id=call_id,
        tenant=tenant,
        callset_id="",
        subject=_SUBJECT,
        provider=name,
        model=model,
        worst_microusd=member.price.worst(most, MAX_OUTPUT_TOKENS),
        bounds=Bounds(budget_microusd, max(member.concurrency, 1_000), 0),
        seconds=timeout_s + 60,
    )
    (told,) = await books.write(reserve)
    if told is None or told.grant is not Grant.GRANTED:
        return Checked(name, model, problem=_no_room(name, budget_microusd))
    try:
        reply = await member.provider.ask(messages, max_output_tokens=MAX_OUTPUT_TOKENS, timeout_s=timeout_s)
    except (ProviderUnavailable, ProviderRefused) as error:
        ending: Ending = "unknown" if getattr(error, "may_be_billed", False) else "free"
        await books.write(Settle(call_id, ending, "check failed"))
        return Checked(name, model, problem=error)
    cost = member.price.cost(reply.input_tokens, reply.output_tokens, reply.kept_tokens)
    await books.write(
        Settle(call_id, "settled", "check", cost, reply.input_tokens, reply.output_tokens, reply.latency_ms)
    )
    problem: PipelineError | None = None
    try:
        read(reply.text, EXAMPLE)
    except BadAnswer as error:
        problem = error
    return Checked(name, model, reply.latency_ms, reply.input_tokens, reply.output_tokens, cost, problem)


def _no_room(name: str, budget_microusd: int) -> BudgetSpent:
    return BudgetSpent(
        where=name,
        expected="room in today's budget",
        got=f"none left of {budget_microusd / 1_000_000:g} US dollars",
        repair=f"Raise VCF_PIPELINE_AI__BUDGET_USD_PER_DAY{', or ask tomorrow (UTC)' if budget_microusd else ''}.",
        provider=name,
    )
