"""arrow_columns.py: columns over the block's own memory."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.vcf.arrow_columns import Block, numbers, text_lists, texts, words


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=8))
def test_a_text_column_is_the_texts_and_empty_ones_are_null(values: list[str]) -> None:
    raw = [value.encode() for value in values]
    length = np.array([len(value) for value in raw], np.int32)
    off = (np.cumsum(length) - length).astype(np.int32)
    column = texts("x", Block(b"".join(raw)), off, length, dot_is_null=False)
    assert column.to_list() == [value or None for value in values]


def test_a_text_column_outlives_the_block_it_looks_into() -> None:
    block = Block(b"a text of more than twelve letters")
    column = texts("x", block, np.zeros(1, np.int32), np.array([34], np.int32))
    del block
    assert column.to_list() == ["a text of more than twelve letters"]


def test_a_list_column_splits_and_a_lone_dot_is_null() -> None:
    block = Block(b"a;b.;x")
    column = text_lists("x", block, np.array([0, 3, 4], np.int32), np.array([3, 1, 2], np.int32), 59)
    assert column.to_list() == [["a", "b"], None, [None, "x"]]


def test_numbers_keep_their_dtype_and_their_nulls() -> None:
    column = numbers("x", np.array([1, 2], np.int32), np.array([True, False]))
    assert (column.dtype, column.to_list()) == (pl.Int32, [1, None])


def test_words_are_looked_up_by_code() -> None:
    assert words("x", np.array([1, 0, 1], np.uint8), ("snv", "nonref")).to_list() == ["nonref", "snv", "nonref"]
