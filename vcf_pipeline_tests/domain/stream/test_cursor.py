"""Cursors ↔ JSON. Regressed and recreated topics: test_run_plan.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.stream.cursor import Cursor, Place

PLACES = st.builds(
    Place,
    st.sampled_from(["embedded", "kafka"]),
    st.sampled_from(["vcf-callsets", "t.vcf-variants"]),
    st.sampled_from(["life-1", "life-2"]),
    st.integers(0, 3),
    st.integers(0, 1 << 40),
)


@given(st.lists(PLACES, max_size=8))
def test_json_brings_a_cursor_back(places: list[Place]):
    cursor = Cursor().after(places)
    assert Cursor.from_json(cursor.to_json()) == cursor


@pytest.mark.parametrize("text", [None, "", "{}", "17", "no json", '{"brokers": {"x": 3}}', '{"brokers": []}'])
def test_what_is_no_cursor_starts_at_the_beginning(text: str | None):
    assert Cursor.from_json(text) == Cursor()
    assert Cursor.from_json(text).start("embedded", "vcf-callsets", "life", {0: 5, 1: 0}) == ({0: 0, 1: 0}, None)


def test_a_partition_that_is_new_to_the_cursor_is_read_from_its_start():
    cursor = Cursor().after([Place("embedded", "vcf-callsets", "life", 0, 4)])
    assert cursor.start("embedded", "vcf-callsets", "life", {0: 9, 1: 9}) == ({0: 5, 1: 0}, None)
    assert cursor.start("kafka", "vcf-callsets", "life", {0: 9}) == ({0: 0}, None)
