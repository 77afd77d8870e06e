"""Briefs, and their explaining by the configured providers: in this process, or in another that can be killed.

As a program: python -m vcf_pipeline_tests.adapters.providers.explaining HOME FIRST COUNT [NAME=VALUE …]
It prints the variant of each brief that is explained, as it comes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.domain.annotation.brief import Brief, Fact
from vcf_pipeline.domain.annotation.explained import Explained
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.programs import ROOT, environment

CALLSET = "0" * 16


def brief(at: int, label: str = "pathogenic") -> Brief:
    """One variant by its number."""
    facts = (Fact("clinvar:CLNSIG", label.capitalize()), Fact("consequence", "stop_gained"))
    return Brief("GRCh38", f"17-{at}-C-T", label, ("clinvar_pathogenic",), facts)


def tasks(count: int, first: int = 1, tier: int = 1) -> list[Task]:
    return [Task(brief(first + at), tier) for at in range(count)]


@contextmanager
def control_of(home: Path, settings: dict[str, str], **more: str) -> Iterator[Control]:
    """more: names without the prefix, as AI__BUDGET_USD_PER_DAY."""
    named = {f"VCF_PIPELINE_{name}": value for name, value in more.items()}
    with Control(load_settings(settings | named, home=home)) as control:
        yield control


def explained(control: Control, of: list[Task], tenant: str = "default") -> list[Explained]:
    return list(control.explainer.explain(tenant, CALLSET, of))


def start_explaining(home: Path, first: int, count: int, settings: dict[str, str]) -> subprocess.Popen[str]:
    """In another process, which leads a group of its own."""
    words = [sys.executable, "-m", __name__, str(home), str(first), str(count)]
    return subprocess.Popen(
        [*words, *(f"{name}={value}" for name, value in settings.items())],
        cwd=ROOT,
        env=environment(home),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main(home: str, first: str, count: str, *named: str) -> None:
    with control_of(Path(home), dict(name.split("=", 1) for name in named)) as control:
        of = tasks(int(count), int(first))
        variants = {task.brief.subject: task.brief.variant_key for task in of}
        for one in control.explainer.explain("default", CALLSET, of):
            print(variants[one.subject], one.status, one.reason, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
