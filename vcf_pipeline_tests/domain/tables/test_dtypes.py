"""Dtypes as text, and frames at the union of two schemas."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.tables.dtypes import conformed, dtype_text, parse_dtype, union_dtype, union_schema

SCALARS = [pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.Float32(), pl.Float64(), pl.Boolean(), pl.String()]
DTYPES = st.recursive(
    st.sampled_from([*SCALARS, pl.Binary(), pl.Null()]),
    lambda inner: (
        inner.map(pl.List)
        | st.tuples(inner, st.integers(0, 9)).map(lambda both: pl.Array(*both))
        | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, min_size=1, max_size=3).map(pl.Struct)
    ),
    max_leaves=4,
)


@given(dtype=DTYPES)
def test_what_is_written_is_read_back(dtype: pl.DataType) -> None:
    assert parse_dtype(dtype_text(dtype)) == dtype


@pytest.mark.parametrize(
    "text", ["", "List(", "List(Int32", "Int33", "Array(Int8)", "Int8)", "Int8 Int8", "List[Int8]"]
)
def test_what_is_never_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no dtype"):
        parse_dtype(text)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pl.Int32(), pl.Int64(), pl.Int64()),
        (pl.Int32(), pl.Float64(), pl.Float64()),
        (pl.Int64(), pl.Float32(), pl.Float64()),
        (pl.Null(), pl.String(), pl.String()),
        (pl.List(pl.Int32()), pl.List(pl.Int64()), pl.List(pl.Int64())),
        (pl.Array(pl.Int8(), 2), pl.Array(pl.Int16(), 6), pl.Array(pl.Int16(), 6)),
    ],
)
def test_the_union_holds_both(one: pl.DataType, other: pl.DataType, both: pl.DataType) -> None:
    assert union_dtype(one, other) == union_dtype(other, one) == both


def test_text_and_number_have_no_union() -> None:
    with pytest.raises(TypeError, match="no dtype holds both"):
        union_dtype(pl.String(), pl.Int32())


def test_a_new_column_comes_after_the_one_it_follows() -> None:
    one = {"pos": pl.Int64(), "info_A": pl.Int32(), "gene": pl.String()}
    other = {"pos": pl.Int64(), "info_A": pl.Int64(), "info_B": pl.String(), "gene": pl.String()}
    assert list(union_schema(one, other)) == ["pos", "info_A", "info_B", "gene"]
    assert union_schema(one, other)["info_A"] == pl.Int64


def test_a_narrower_gt_is_padded_sample_by_sample_and_keeps_its_digest() -> None:
    frame = pl.DataFrame(
        {
            "gt": pl.Series([[0, 1, 1, -2], None], dtype=pl.Array(pl.Int8, 4)),
            "phased": pl.Series([[True, False], None], dtype=pl.Array(pl.Boolean, 2)),
        }
    )
    schema = {"gt": pl.Array(pl.Int16(), 6), "phased": pl.Array(pl.Boolean(), 2), "fmt_DP": pl.List(pl.Int32())}
    wide = conformed(frame, schema)
    assert wide["gt"].to_list() == [[0, 1, -2, 1, -2, -2], None]
    assert dict(wide.schema) == schema
    digests = [TableDigest(), TableDigest()]
    for digest, one in zip(digests, [frame, wide], strict=True):
        digest.add("genotypes", one)
    assert digests[0].value() == digests[1].value()


def test_a_frame_without_rows_takes_any_schema() -> None:
    empty = pl.DataFrame(schema={"gt": pl.Array(pl.Int8, 2), "phased": pl.Array(pl.Boolean, 1)})
    schema = {"gt": pl.Array(pl.Int8(), 3), "phased": pl.Array(pl.Boolean(), 1), "new": pl.String()}
    assert dict(conformed(empty, schema).schema) == schema
