"""docs/annotations.md says what leaves the house: the very list that the code keeps to."""

from __future__ import annotations

import re
from pathlib import Path

from vcf_pipeline.domain.annotation.answer import MAX_SENTENCES, MAX_SUMMARY, MAX_TEXT, MIN_SUMMARY
from vcf_pipeline.domain.annotation.brief import ALLOWED

PAGE = (Path(__file__).parent.parent / "docs" / "annotations.md").read_text()


def test_the_page_lists_what_may_leave_and_nothing_else() -> None:
    section = PAGE.partition("## What leaves the house")[2].partition("## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", section, re.MULTILINE))
    assert rows == ALLOWED


def test_the_page_names_the_bounds_of_an_answer() -> None:
    assert f"{MAX_TEXT:,} characters" in PAGE
    assert f"below {MIN_SUMMARY} or above {MAX_SUMMARY} characters" in PAGE
    assert MAX_SENTENCES == 4
    assert "more than four sentences" in PAGE
