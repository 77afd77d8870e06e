"""The README's example runs as pasted, and every command that a page names exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vcf_pipeline.cli.app import VERBS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ACTIVATE = ". .venv/bin/activate"


def test_the_readmes_example_runs_as_pasted(tmp_path):
    block = re.search(r"test_readme\.py -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    assert ACTIVATE in block[1]
    # the interpreter of this test run stands for .venv, which may be elsewhere
    commands = block[1].replace(ACTIVATE, f'PATH="{Path(sys.executable).parent}:$PATH"')
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VCF_PIPELINE_", "DAGSTER_"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=ROOT,
        env={**clean, "VCF_PIPELINE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "trio" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_and_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    # only what stands as code: a sentence may say "make sure"
    code = "\n".join(_code(page.read_text()))
    verbs = set(re.findall(r"vcf-pipeline ([a-z]+)", code))
    assert sorted(verbs - set(VERBS)) == []
    assert sorted(set(re.findall(r"\bmake ([a-z-]+)", code)) - targets) == []


def _code(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
