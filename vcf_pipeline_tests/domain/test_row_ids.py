"""row_id against hashlib."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.row_ids import row_ids


@settings(max_examples=60, deadline=None)
@given(
    tenant=st.from_regex(r"[a-z][a-z0-9-]{0,38}", fullmatch=True),
    places=st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**15 - 1)), max_size=20),
)
def test_each_is_the_blake2b_that_hashlib_gives(tenant: str, places: list[tuple[int, int]]) -> None:
    callset_id = "0123456789abcdef"
    records = np.array([record for record, _ in places], np.int64)
    alleles = np.array([allele for _, allele in places], np.int16)
    prefix = f"{tenant}\0{callset_id}\0".encode()
    expected = [hashlib.blake2b(prefix + struct.pack("<qh", *place), digest_size=16).digest() for place in places]
    ids = row_ids(tenant, callset_id, records, alleles)
    assert ids.to_list() == expected
    assert (ids.name, ids.dtype) == ("row_id", pl.Binary)


def test_they_are_unique_within_a_callset_and_between_two() -> None:
    records, alleles = np.repeat(np.arange(1000), 2), np.tile(np.array([1, 2], np.int16), 1000)
    one = row_ids("default", "0" * 16, records, alleles)
    other = row_ids("default", "1" * 16, records, alleles)
    assert pl.concat([one, other]).n_unique() == 4000


def test_names_that_do_not_fit_one_block_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit one block"):
        row_ids("t" * 110, "0" * 16, np.arange(1), np.ones(1, np.int16))
