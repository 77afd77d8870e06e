"""BED counts from 0 without the end, our intervals from 1 with it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import DefectFound
from vcf_pipeline.domain.sources.bed import bed_intervals


def rows(text: str) -> list[tuple[object, ...]]:
    return bed_intervals(text.encode(), 1, "regions.bed").rows()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_the_first_base_is_one_later_and_the_last_the_same(start, length):
    assert rows(f"chr2\t{start}\t{start + length}\tpanel\n")[0][:4] == ("2", start + 1, start + length, "panel")


def test_the_first_hundred_bases_are_1_to_100():
    assert rows("chr7\t0\t100\n")[0][:4] == ("7", 1, 100, "chr7:1-100")


def test_between_two_bases_it_is_both_of_them():
    assert rows("7\t50\t50\tcut\n")[0][:4] == ("7", 50, 51, "cut")
    assert rows("7\t0\t0\tcut\n")[0][:4] == ("7", 1, 1, "cut")


def test_names_strands_comments_blanks_and_line_ends_of_windows():
    text = "#first\r\nbrowser position chr7\r\ntrack name=x\r\nchr7\t1\t5\tA\t0\t-\r\n\r\nchrM 7 9 B\nchrX\t1\t2\t.\n"
    assert [(row[0], row[3], row[6]) for row in rows(text)] == [
        ("7", "A", "-"),
        ("M", "B", None),
        ("X", "chrX:2-2", None),
    ]


@pytest.mark.parametrize("line", ["7\t5\n", "7\t5\tend\n", "7\t-1\t5\n", "7\t9\t5\n", "only words here\n"])
def test_what_is_no_interval_is_refused_by_its_line(line):
    with pytest.raises(DefectFound, match=r"regions\.bed line 2") as caught:
        rows("7\t1\t2\n" + line)
    assert caught.value.line == 2


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=120))
def test_any_text_gives_intervals_or_a_defect_with_a_line(text):
    try:
        found = rows(text)
    except DefectFound as defect:
        assert defect.line >= 1
    else:
        assert all(1 <= row[1] <= row[2] and row[3] is not None for row in found)
