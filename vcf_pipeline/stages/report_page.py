"""A report → one HTML page that asks for nothing outside itself, to be read, printed and kept.

Everything in it is text from files: the template escapes all of it, and no script is on the page. Not here: what it
says (report.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from vcf_pipeline.domain.triage.tiers import TIER_NAMES, held_back
from vcf_pipeline.stages.report import LONGEST_TEXT, MOST_MOVES, Report

TEMPLATE = "report.html.jinja"
NOTICE = (
    "This is a triage of evidence by fixed rules, to decide what to look at first. It is not a diagnosis and not an "
    "ACMG classification. What is not known is unknown, never benign. A qualified person has to judge every variant."
)
_TIER_SAYS = {
    "1": "look first",
    "2": "look next",
    "3": "look if it fits",
    "4": "least likely to matter",
    "unknown": "nothing is known",
}
_SIGNIFICANCE = {"no_claim": "no claim"}
_LONGEST_ALLELE = 30
FEW_FREQUENCIES = 0.5
"""Share of the alleles with a population's frequency below which the page asks for gnomAD, where it was not heard."""


def page(report: Report) -> str:
    """The whole document."""
    total = sum(report.tiers.values())
    sources = report.triaged.extra.get("sources", [])
    return _template().render(
        report=report,
        notice=NOTICE,
        tiers=_tier_bars(report.tiers),
        total=total,
        needs_gnomad=report.n_with_frequency < total * FEW_FREQUENCIES
        and all(source["preset"] != "gnomad" for source in sources),
        most_moves=MOST_MOVES,
        sources=sources,
        not_used=report.triaged.extra.get("sources_not_used", {}),
        thresholds=report.triaged.settings.get("thresholds", {}),
        explained=report.annotated.extra if report.annotated is not None else None,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        words=_words, allele=_allele, short=_short, number=_number, percent=_percent, tier=_tier, readable=_readable
    )
    environment.globals["held_back"] = held_back
    return environment.get_template(TEMPLATE)


def _tier_bars(tiers: Mapping[str, int]) -> list[dict[str, Any]]:
    """name, count, what it means, width in percent of the largest; one that is not empty is always seen."""
    most = max(tiers.values(), default=0) or 1
    return [
        {
            "name": name,
            "count": tiers[name],
            "says": _TIER_SAYS[name],
            "width": round(max(100 * tiers[name] / most, 0.8 if tiers[name] else 0), 1),
        }
        for name in TIER_NAMES
    ]


def _words(text: object) -> str:
    """`likely_pathogenic` → likely pathogenic."""
    return _SIGNIFICANCE.get(str(text), _readable(text).replace("_", " "))


def _readable(text: object) -> str:
    """Cut to what a line takes; what could turn or hide text is replaced."""
    cut = "" if text is None else str(text)
    cut = cut if len(cut) <= LONGEST_TEXT else f"{cut[:LONGEST_TEXT]}… ({len(cut):,} characters)"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(cut.split()))


def _allele(text: object) -> str:
    bases = "." if text is None else str(text)
    return bases if len(bases) <= _LONGEST_ALLELE else f"{bases[:12]}…{bases[-6:]} ({len(bases):,} bases)"


def _short(digest: object) -> str:
    return str(digest)[:12]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _percent(value: Any) -> str:
    """A frequency 0–1 as people read it."""
    return "unknown" if value is None else "0" if value == 0 else f"{value:.2g}"


def _tier(value: Any) -> str:
    return "unknown" if value is None else str(value)
