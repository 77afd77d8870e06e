"""`annotate VARIANT`: what is known of one variant; `annotate --callset`: a callset's alleles explained, or the price.

Not here: what is looked up (stages/explain_variant.py), what a callset's run does (defs/launch.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.explaining import dollars
from vcf_pipeline.cli.output import TRIAGE_NOTE, Call, one_line, printable, single_verb, stderr_line, table_lines

if TYPE_CHECKING:
    from vcf_pipeline.domain.annotation.explained import Explained
    from vcf_pipeline.stages.explain_variant import VariantAnswer, View
    from vcf_pipeline.wiring import Control

NOTICE = "A triage of evidence by rules, not a diagnosis and not an ACMG classification."
_WIDTH = 100
_LONGEST_VALUE = 160


def annotate(
    call: Call,
    variant: Annotated[
        list[str] | None,
        typer.Argument(metavar="VARIANT", help="17-43093464-C-T, 'chr17:43093464 C>T', NC_000017.11:g.… or an rsID."),
    ] = None,
    assembly: Annotated[str | None, typer.Option("--assembly", help="Look in this one alone: GRCh37, hg38, …")] = None,
    callset: Annotated[
        str | None, typer.Option("--callset", help="Explain this callset's alleles: a key, id, prefix or label.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Of a callset: how many calls and how much money, before any.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before paying.")] = False,
) -> int:
    """Say what is known of one variant, or explain a callset's alleles of the tiers that matter."""
    from vcf_pipeline.wiring import Control

    if (callset is None) == (not variant):
        raise typer.BadParameter("Give a VARIANT, or --callset CALLSET.")
    if callset is None and (estimate or yes):
        raise typer.BadParameter("--estimate and --yes go with --callset.")
    if callset is not None and assembly is not None:
        raise typer.BadParameter("--assembly goes with a VARIANT.")
    with Control(call.settings()) as control:
        if callset is not None:
            return _callset(call, control, callset, estimate=estimate, yes=yes)
        answers = annotate_variant(control, " ".join(variant or ()), assembly=assembly)
        for number, answer in enumerate(answers):
            call.emit(record(answer), [*([""] if number else []), *_lines(answer)])
    stderr_line(NOTICE)
    return 0


def annotate_variant(control: Control, text: str, *, assembly: str | None = None) -> list[VariantAnswer]:
    """What sources and callsets of the control's tenant know of the variant, its tier, and its explanation.

    Raises UsageError (BAD_VARIANT, UNKNOWN_VARIANT), StoreUnavailable.
    """
    from vcf_pipeline.stages.explain_variant import explain_variant

    return explain_variant(text, known=control.known, assembly=assembly)


def _callset(call: Call, control: Control, text: str, *, estimate: bool, yes: bool) -> int:
    from vcf_pipeline.cli import explaining
    from vcf_pipeline.defs.launch import run_callset

    key = control.ledger.resolve(control.settings.tenant, text).key
    if estimate:
        found = explaining.estimated(control, key)
        call.emit({"partition": str(key), **explaining.estimate_record(found)}, explaining.estimate_lines(found))
        return 0
    if explaining.asks_before_paying(control, yes=yes) and not explaining.agreed(control, key):
        stderr_line("nothing was asked.")
        return 1
    outcome = run_callset(control, key, annotate=True)
    if outcome.annotations is not None:
        told = {"partition": str(key), "label": outcome.callset.label}
        lines = [f"{printable(outcome.callset.label)}  ({key})"]
        lines += explaining.annotation_lines(control, key, outcome.annotations)
        call.emit(told | {"annotations": explaining.annotations_record(outcome.annotations)}, lines)
    stderr_line(NOTICE)
    return 0


def record(answer: VariantAnswer) -> dict[str, Any]:
    """For a script. tier: of the view that is explained; null is unknown."""
    given = answer.explained.given[0] if answer.explained is not None and answer.explained.given else None
    return {
        "asked": answer.asked,
        "variant_key": answer.variant_key,
        "assembly": answer.assembly,
        "tier": answer.chosen.tier if answer.chosen is not None else None,
        "reasons": list(answer.chosen.judged["reasons"] or []) if answer.chosen is not None else [],
        "significance": answer.chosen.judged["significance"] if answer.chosen is not None else None,
        "held_back": answer.chosen.held_back if answer.chosen is not None else None,
        "views": [
            {
                "origin": view.origin,
                "callset_id": view.callset_id,
                **view.judged,
                "ids": list(view.ids),
                "n_het": view.n_het,
                "n_hom": view.n_hom,
                "stale": _stale_record(view),
            }
            for view in answer.views
        ],
        "explanation": None
        if answer.explained is None
        else {
            "status": answer.explained.status,
            "reason": answer.explained.reason or None,
            "summary": given.answer.summary if given else None,
            "cited": list(given.answer.cited) if given else [],
            "reading": given.answer.reading if given and given.provider != "rules" else None,
            "provider": given.provider if given else None,
            "model": given.model if given else None,
            "prompt_version": given.prompt_version if given else None,
            "calls": answer.explained.calls,
            "cost_usd": answer.explained.cost_microusd / 1e6,
        },
        "hears_claims": answer.hears_claims,
        "not_used": dict(answer.not_used),
        "near": list(answer.near),
        "notice": NOTICE,
    }


def _stale_record(view: View) -> dict[str, Any] | None:
    """What the callset's tables still say, and why no longer; null where they are current."""
    if view.stale is None or view.stored is None:
        return None
    stored = {name: view.stored[name] for name in ("tier", "reasons", "significance", "stars")}
    return {**view.stale.as_record(), "stored": stored}


def _lines(answer: VariantAnswer) -> Iterator[str]:
    chosen = answer.chosen
    where = answer.assembly or "assembly unknown"
    if chosen is None:
        yield f"{printable(answer.variant_key)}  ({printable(where)})  unknown"
        of = f" of {printable(answer.assembly)}" if answer.assembly else ""
        yield f"  no registered source and no loaded callset{of} knows it. Unknown is not benign."
        for view in answer.views:
            yield from (f"  callset {printable(view.origin)}: {line}" for line in _stale_lines(view))
        yield from _unheard(answer)
        if answer.near:
            yield f"  at this position there are: {', '.join(map(printable, answer.near))}"
        for name, why in answer.not_used.items():
            yield f"  {printable(name)} was not asked: {printable(why)}"
        return
    judged = chosen.judged
    gene = " ".join(str(judged[name]) for name in ("gene", "consequence") if judged[name])
    tier = f"tier {chosen.tier}" if chosen.tier else "tier unknown"
    yield f"{printable(answer.variant_key)}  ({printable(where)})  {printable(gene)}"
    yield f"  {tier}, {TRIAGE_NOTE} · {', '.join(judged['reasons'] or ['no reason'])}"
    if judged["significance"]:
        stars = f", {judged['stars']} of 4 stars" if judged["stars"] is not None else ", review status unknown"
        yield f"  claims: {judged['significance'].replace('_', ' ')}{stars}"
    for condition in (judged["conditions"] or [])[:5]:
        yield f"    {one_line(condition)[:_LONGEST_VALUE]}"
    yield from _told(answer)
    if chosen.held_back is not None:
        yield f"  {chosen.held_back}"
    yield from _unheard(answer)
    for view in answer.views:
        yield ""
        yield f"  {_origin(view)}"
        yield from (f"    {line}" for line in _stale_lines(view))
        yield from (f"    {line}" for line in _evidence_lines(view.judged["evidence"] or []))
    for name, why in answer.not_used.items():
        yield f"  {printable(name)} was not asked: {printable(why)}"


def _unheard(answer: VariantAnswer) -> Iterator[str]:
    if not answer.hears_claims:
        yield "  nobody was heard who claims anything, such as ClinVar: that there is no claim says nothing"


def _told(answer: VariantAnswer) -> Iterator[str]:
    explained = answer.explained
    if explained is None:
        return
    if not explained.given:
        yield f"  not explained: {printable(explained.reason or explained.status)}"
        yield from _paid(explained)
        return
    given = explained.given[0]
    yield ""
    yield from textwrap.wrap(one_line(given.answer.summary), _WIDTH, initial_indent="  ", subsequent_indent="  ")
    by = "by rules" if given.provider == "rules" else f"by {given.provider} {given.model}"
    yield f"  {printable(by)}, from: {', '.join(map(printable, given.answer.cited))}"
    label = answer.brief.label if answer.brief is not None else ""
    if given.provider != "rules" and given.answer.reading != label:
        yield f"  The model reads the claims as {printable(given.answer.reading)}; the rules say {printable(label)}."
    yield from _paid(explained)


def _paid(explained: Explained) -> Iterator[str]:
    """What was asked for it now; nothing where no call was made."""
    if explained.calls:
        calls = f"{explained.calls} {'call' if explained.calls == 1 else 'calls'}"
        yield f"  {calls} · {dollars(explained.cost_microusd)}"


def _origin(view: View) -> str:
    tier = f"tier {view.tier}" if view.tier else "tier unknown"
    if view.callset_id is None:
        return f"registered sources: {tier}" if view.is_known else "registered sources: nothing"
    carriers = "" if view.n_het is None else f" · carried by {(view.n_het or 0) + (view.n_hom or 0)} samples"
    by = " by the sources of now" if view.stale is not None else ""
    return f"callset {printable(view.origin)}: {_verdict(view.judged)}{by}{carriers}"


def _stale_lines(view: View) -> Iterator[str]:
    if view.stale is not None and view.stored is not None:
        yield f"its tables still say {_verdict(view.stored)}: {printable(view.stale)}; run it again"


def _verdict(judged: Mapping[str, Any]) -> str:
    return f"tier {judged['tier'] or 'unknown'} ({', '.join(judged['reasons'] or [])})"


def _evidence_lines(evidence: Sequence[Mapping[str, str | None]]) -> list[str]:
    rows = [
        [
            one_line(fact["source"] or ""),
            (fact["version"] or "")[:8],
            one_line(fact["key"] or ""),
            one_line(fact["value"] or "")[:_LONGEST_VALUE],
        ]
        for fact in evidence
    ]
    return table_lines(["source", "version", "key", "value"], rows) if rows else []


app = single_verb(annotate)
