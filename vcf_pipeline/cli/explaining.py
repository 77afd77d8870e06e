"""Explaining alleles, for whoever pays and reads: what it would cost, asked before; what came of it.

Not here: what is explained and what that costs (stages/annotate.py); the verbs (run.py, annotate.py).
"""

from __future__ import annotations

import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

from vcf_pipeline.cli.output import one_line, printable, stderr_line

if TYPE_CHECKING:
    from vcf_pipeline.defs.launch import Annotations
    from vcf_pipeline.domain.identity import PartitionKey
    from vcf_pipeline.stages.annotate import Estimate
    from vcf_pipeline.wiring import Control

EXPLAINED_NOTE = "explanations of evidence, not a diagnosis"
_SHOWN = 3
_WIDTH = 110
_WHY_NOT = {
    "NOT_ALLOWED": "no provider may see this tenant's facts (VCF_PIPELINE_AI__TENANT_PROVIDERS)",
    "UNKNOWN_PRICE": "nobody has said what the model costs",
    "PROVIDER_UNAVAILABLE": "no provider could be reached",
    "PROVIDER_REFUSED": "the provider refused (`vcf-pipeline providers check` says why)",
    "RATE_LIMITED": "the provider allows no more calls for now",
    "BAD_ANSWER": "what was answered broke the rules, twice (`vcf-pipeline dlq list --reason BAD_ANSWER`)",
    "NO_FACTS": "nothing about them may leave the house",
    "PARTIAL_CONSENSUS": "fewer providers answered than were asked for",
}
_BUDGET = "VCF_PIPELINE_AI__BUDGET_USD_PER_DAY"


def why_not(code: str, budget_microusd: int) -> str:
    """What stands behind a reason, in words."""
    if code != "BUDGET_SPENT":
        return _WHY_NOT.get(code, "see the asset ai_annotations")
    if not budget_microusd:
        return f"the budget is 0, so that no model is asked ({_BUDGET})"
    return f"the budget of today has no room ({_BUDGET}); a run of tomorrow (UTC) asks for them"


def estimated(control: Control, key: PartitionKey) -> Estimate:
    """What explaining the callset would cost; nothing is asked. Raises UnknownPartition where nothing is triaged."""
    from vcf_pipeline.domain.annotation.prompts import PROMPT_VERSION
    from vcf_pipeline.stages.annotate import Asked, estimate_callset
    from vcf_pipeline.wiring import provider_members

    wanted = control.wanted(key.tenant)
    members = [one for one in provider_members(control.settings) if one.name in dict(wanted.annotators)]
    models = [one.model for one in members if one.price is not None]
    return estimate_callset(
        key=key,
        tables=control.tables,
        wanted=wanted,
        asked=[Asked(one.name, one.price, one.provider.extra_bytes) for one in members],
        bought_before=lambda subjects: control.ledger.find_answers(key.tenant, subjects, models, PROMPT_VERSION),
        budget_left_microusd=max(wanted.budget_microusd - control.ledger.gone_today(key.tenant), 0),
        at=time.time(),
    )


def asks_before_paying(control: Control, *, yes: bool) -> bool:
    """Whether somebody sits there who can say no, and whose money it is about."""
    from vcf_pipeline.wiring import provider_members

    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    names = dict(control.wanted(control.settings.tenant).annotators)
    return any(
        one.price is not None and one.price.worst(1_000_000, 1_000_000) > 0
        for one in provider_members(control.settings)
        if one.name in names
    )


def agreed(control: Control, key: PartitionKey) -> bool:
    """Show the estimate and wait for a yes; where nothing would be paid, nobody is asked."""
    estimate = estimated(control, key)
    if not estimate.calls:
        return True
    for line in estimate_lines(estimate):
        stderr_line(line)
    stderr_line("Ask them? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def estimate_record(estimate: Estimate) -> dict[str, Any]:
    return {
        "alleles": estimate.alleles,
        "cache_hits": estimate.cache_hits,
        "calls": estimate.calls,
        "calls_at_most": estimate.most_calls,
        "cost_usd_at_once": estimate.at_once_microusd / 1e6,
        "cost_usd_at_most": estimate.cost_microusd / 1e6,
        "budget_usd_per_day": estimate.budget_microusd / 1e6,
        "budget_left_usd": estimate.budget_left_microusd / 1e6,
        "without_price": list(estimate.without_price),
        "reason": estimate.reason or None,
        "is_current": estimate.is_current,
    }


def estimate_lines(estimate: Estimate) -> list[str]:
    if estimate.is_current:
        return [f"  {estimate.alleles:,} alleles are explained as they are: no call, no cost."]
    lines = [f"  {estimate.alleles:,} alleles to explain · {estimate.cache_hits:,} answers bought before"]
    for name in estimate.without_price:
        prefix = f"VCF_PIPELINE_{name.upper()}__USD_PER_MTOK"
        lines.append(f"  {name} is not asked: UNKNOWN_PRICE, {prefix}_IN and {prefix}_OUT say it")
    if estimate.reason:
        return [*lines, f"  0 calls: {why_not(estimate.reason, estimate.budget_microusd)}"]
    if not estimate.calls:
        return [*lines, "  0 calls, no cost"]
    return [
        *lines,
        f"  expected {estimate.calls:,} calls, at most {estimate.most_calls:,}; expected cost up to "
        f"{dollars(estimate.at_once_microusd)}, at most {dollars(estimate.cost_microusd)}",
        f"  never above the budget of {estimate.budget_microusd / 1e6:g} USD a day; "
        f"left today: {dollars(estimate.budget_left_microusd)}",
    ]


def dollars(microusd: int) -> str:
    return f"{microusd / 1e6:,.4f} USD"


def annotations_record(annotations: Annotations) -> dict[str, Any]:
    """Always the six of them."""
    return {
        **{status: annotations.rows.get(status, 0) for status in ("annotated", "skipped", "failed")},
        "cache_hits": annotations.cache_hits,
        "calls": annotations.calls,
        "cost_usd": annotations.cost_microusd / 1e6,
    }


def annotation_lines(control: Control, key: PartitionKey, annotations: Annotations) -> list[str]:
    """How many, at what cost, why not all; and the first of them in words."""
    from vcf_pipeline.stages.triage import hears_claims

    rows = annotations.rows
    counted = [f"{rows.get(status, 0):,} {status}" for status in ("annotated", "skipped", "failed")]
    paid = f"{annotations.calls:,} calls · {dollars(annotations.cost_microusd)}" if annotations.calls else "no call"
    bought = f" · {annotations.cache_hits:,} bought before" if annotations.cache_hits else ""
    lines = [f"  explained  {', '.join(counted)} · {paid}{bought}   ({EXPLAINED_NOTE})"]
    for code, count in annotations.reasons.items():
        lines.append(f"    {count:,} × {code}: {why_not(code, control.settings.ai.budget_microusd)}")
    if not hears_claims(key, control.tables):
        lines.append("    nobody was heard who claims anything, such as ClinVar: that there is no claim says nothing")
    if rows.get("annotated"):
        for variant, gene, summary, doubts in first_explained(control, key):
            named = one_line(f"{variant or 'unnamed'} {gene or ''}".strip())
            lines.append(f"    {named}")
            for sentence in (summary, doubts):
                lines += textwrap.wrap(one_line(sentence), _WIDTH, initial_indent="      ", subsequent_indent="      ")
    return lines


def first_explained(control: Control, key: PartitionKey, limit: int = _SHOWN) -> list[tuple[str, str, str, str]]:
    """(variant_key, gene, summary, what holds it back or "") of the first alleles of the best tier that have one."""
    import polars as pl

    from vcf_pipeline.domain.triage.tiers import held_back

    where = (key.tenant, key.callset_id)
    best = (
        control.tables.scan(*where, "ai_annotations", "annotations")
        .filter(pl.col("status") == "annotated")
        .sort("tier", "record_no", "alt_index")
        .head(limit)
        .select("record_no", "alt_index", "tier", "variant_key", "summary")
    )
    triaged = control.tables.scan(*where, "triaged_variants", "triaged").select(
        "record_no", "alt_index", "gene", "reasons"
    )
    found = best.join(triaged, on=["record_no", "alt_index"], how="left", maintain_order="left").collect()
    return [
        (printable(variant or ""), printable(gene or ""), printable(summary), held_back(tier, reasons) or "")
        for variant, gene, summary, tier, reasons in found.select(
            "variant_key", "gene", "summary", "tier", "reasons"
        ).iter_rows()
    ]
