"""tokens.py: numbers as Python reads them, and columns wherever tabs stand."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.vcf.arrow_columns import Block
from vcf_pipeline.domain.vcf.records import slow_floats
from vcf_pipeline.domain.vcf.tokens import (
    POWERS_OF_TEN,
    find_columns,
    parse_floats,
    parse_ints,
    pick_item,
)


def _tokens(texts: list[str]) -> tuple[Block, np.ndarray, np.ndarray]:
    raw = [text.encode() for text in texts]
    length = np.array([len(text) for text in raw], np.int32)
    off = np.zeros(length.size, np.int32)
    off[1:] = np.cumsum(length)[:-1]
    return Block(b"".join(raw)), off, length


def _floats(texts: list[str]) -> list[float | None]:
    block, off, length = _tokens(texts)
    n = off.size
    values, valid, bad = np.empty(n, np.float32), np.empty(n, np.bool_), np.empty(n, np.int32)
    n_bad = parse_floats(block.array, off, length, POWERS_OF_TEN, values, valid, bad)
    slow_floats(block, off, length, bad[:n_bad], values, valid)
    return [float(value) if fine else None for value, fine in zip(values, valid, strict=True)]


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["r", ".6g", ".17e", ".30f"]))
@example(1e-40, "r")
@example(3.4028235677973366e38, "r")
@example(16777217.0, "r")
def test_a_float_is_pythons_value_rounded_once(number: float, form: str) -> None:
    text = repr(number) if form == "r" else format(number, form)
    with np.errstate(over="ignore"):
        assert _floats([text]) == [float(np.float32(float(text)))]


def test_words_for_infinity_are_floats_and_other_words_are_none() -> None:
    assert _floats(["inf", "-Infinity", "1e", "1_0", "", "0x1", "+.5", "5.", "."]) == [
        *(float("inf"), float("-inf"), None, None, None, None, 0.5, 5.0, None)
    ]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.integers(-(10**20), 10**20).map(str), st.text("0123456789+-. e", max_size=6)))
def test_an_integer_is_one_of_up_to_eighteen_digits(text: str) -> None:
    block, off, length = _tokens([text])
    out, valid, bad = np.empty(1, np.int64), np.empty(1, np.bool_), np.empty(1, np.int32)
    n_bad = parse_ints(block.array, off, length, out, valid, bad)
    digits = text.lstrip("+-")
    fine = digits.isdigit() and len(digits) <= 18 and len(text) - len(digits) <= 1
    assert bool(valid[0]) == fine
    assert n_bad == (not fine and text != ".")
    if fine:
        assert int(out[0]) == int(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text("ab", max_size=3), min_size=1, max_size=6), min_size=1, max_size=5))
def test_columns_are_what_splitting_at_tabs_gives(lines: list[list[str]]) -> None:
    raw = [b"\t".join(column.encode() for column in line) for line in lines]
    text = b"\n".join(raw)
    size = np.array([len(line) for line in raw], np.int32)
    start = np.cumsum(size + 1, dtype=np.int32) - size - 1
    off, length = np.empty((3, size.size), np.int32), np.empty((3, size.size), np.int32)
    found = np.empty(size.size, np.int32)
    array = np.frombuffer(text or b"\0", np.uint8)
    find_columns(array, start.astype(np.int32), (start + size).astype(np.int32), off, length, found)
    for row, line in enumerate(lines):
        assert found[row] == min(len(line), 4)
        for column, value in enumerate(line[:3]):
            at = int(off[column, row])
            assert text[at : at + int(length[column, row])] == value.encode()


def test_a_list_too_short_gives_an_absent_item_and_its_length() -> None:
    block, off, length = _tokens(["1,2,3", "7", ".", "a,,c"])
    item_off, item_len, count = (np.empty(4, np.int32) for _ in range(3))
    pick_item(block.array, off, length, np.full(4, 1, np.int32), item_off, item_len, count)
    assert count.tolist() == [3, 1, 0, 3]
    assert item_len.tolist() == [1, -1, -1, 0]
