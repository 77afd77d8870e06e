"""info_tokens.py: keys are found wherever they stand, in any order, up to the last byte of the block."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.vcf.info_tokens import fill_key_table, find_info
from vcf_pipeline.domain.vcf.tokens import ABSENT, WITHOUT_VALUE

KEYS = ("A", "AB", "DP", "LONGER_THAN_EIGHT", "LONGER_THAN_EIGHT_TOO", "Z")
_ENTRY = st.tuples(st.sampled_from((*KEYS, "B", "LONGER_THAN")), st.none() | st.text("ab1,.", max_size=12))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(_ENTRY, min_size=1, max_size=6), min_size=1, max_size=6))
def test_every_key_has_the_value_that_splitting_gives(records: list[list[tuple[str, str | None]]]) -> None:
    texts = [";".join(key if value is None else f"{key}={value}" for key, value in entries) for entries in records]
    raw = "".join(texts).encode()
    length = np.array([len(text) for text in texts], np.int32)
    off = (np.cumsum(length) - length).astype(np.int32)
    names = np.frombuffer("".join(KEYS).encode(), np.uint8)
    start = np.zeros(len(KEYS) + 1, np.int32)
    start[1:] = np.cumsum([len(key) for key in KEYS])
    table = np.full(32, -1, np.int32)
    words = np.zeros(len(KEYS), np.uint64), np.zeros(len(KEYS), np.uint64)
    fill_key_table(names, start, table, *words)
    token_off = np.empty((len(KEYS), off.size), np.int32)
    token_len = np.full((len(KEYS), off.size), ABSENT, np.int32)
    flags, seen = np.zeros(off.size, np.uint8), np.zeros(len(KEYS), np.uint8)
    unknown = np.empty(99, np.int32), np.empty(99, np.int32)
    buffer = np.frombuffer(raw, np.uint8)
    successor = np.full(len(KEYS) + 1, -1, np.int32)
    n_unknown = find_info(
        *(buffer, off, length, names, start, table, *words, successor),
        *(token_off, token_len, flags, seen, *unknown),
    )
    assert n_unknown == sum(key not in KEYS for entries in records for key, _ in entries)
    for row, entries in enumerate(records):
        for place, name in enumerate(KEYS):
            values = [value for key, value in entries if key == name]
            at, size = int(token_off[place, row]), int(token_len[place, row])
            if not values:
                assert size == ABSENT
            elif values[0] is None:
                assert size == WITHOUT_VALUE
            else:
                assert raw[at : at + size].decode() == values[0]
