"""The digest against a slow one in plain Python, and what it must not see."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.tables import digest as kernels
from vcf_pipeline.domain.tables.digest import TableDigest

M64 = (1 << 64) - 1
MIX_1, MIX_2, STEP, LANE_B = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
FLOAT, BOOL, TEXT = 0x7F4A7C15F39CC060, 0x2545F4914F6CDD1D, 0x632BE59BD9B4E019
Pair = tuple[int, int]


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * MIX_1) & M64
    x = ((x ^ (x >> 27)) * MIX_2) & M64
    return x ^ (x >> 31)


def seeds(kind: str, name: str) -> Pair:
    raw = hashlib.blake2b(f"{kind}\x1f{name}".encode(), digest_size=16).digest()
    return int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")


def number_pair(value: float) -> Pair:
    def is_whole(x: float) -> bool:
        return math.isfinite(x) and abs(x) < 9.2e18 and x == math.floor(x)

    if isinstance(value, int):
        return value & M64, value & M64
    if not is_whole(value):
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    if is_whole(value):
        return int(value) & M64, int(value) & M64
    bits = 0x7FC00000 if math.isnan(value) else struct.unpack("<I", struct.pack("<f", value))[0]
    return (bits + FLOAT) & M64, bits ^ LANE_B


def text_pair(text: bytes) -> Pair:
    a, b = (TEXT + len(text) * STEP) & M64, TEXT ^ ((len(text) * LANE_B) & M64)
    for at in range(0, len(text), 8):
        word = int.from_bytes(text[at : at + 8], "little")
        a = ((a ^ word) * MIX_1) & M64
        a ^= a >> 32
        b = ((b + word) * MIX_2) & M64
        b ^= b >> 29
    return a, b


def pair(value: Any) -> Pair:
    if isinstance(value, bool):
        return (int(value) + BOOL) & M64, int(value) ^ LANE_B
    if isinstance(value, (int, float)):
        return number_pair(value)
    if isinstance(value, str):
        return text_pair(value.encode())
    if isinstance(value, dict):
        return pairs_sum("field", value)
    a, b = len(value) * STEP, len(value) * LANE_B
    for place, one in enumerate(value, start=1):
        if one is not None:
            one_a, one_b = pair(one)
            a += mix((one_a + place * STEP) & M64)
            b += mix(one_b ^ ((place * LANE_B) & M64))
    return mix(a & M64), mix((b + STEP) & M64)


def call_pair(value: list[Any], n_samples: int) -> Pair:
    ploidy = len(value) // n_samples
    a, b = n_samples * STEP, n_samples * LANE_B
    for index, one in enumerate(value):
        if one is not None:
            weight = (one + 1 if isinstance(one, bool) else one + 2) & M64
            place = ((index // ploidy) << 16 | index % ploidy) + 1
            a += weight * (mix((place * STEP) & M64) | 1)
            b += weight * (mix((place * LANE_B) & M64) | 1)
    return mix(a & M64), mix(b & M64)


def pairs_sum(kind: str, row: dict[str, Any], n_samples: int = 0) -> Pair:
    a = b = 0
    for name, value in row.items():
        if value is None or name == "row_id":
            continue
        seed_a, seed_b = seeds(kind, name)
        is_call = kind == "column" and name in ("gt", "phased")
        value_a, value_b = call_pair(value, n_samples) if is_call else pair(value)
        a += mix(value_a ^ seed_a)
        b += mix((value_b + seed_b) & M64)
    return a & M64, b & M64


def slow_digest(table: str, frame: pl.DataFrame) -> str:
    """What the docstring of digest.py says, a value at a time."""
    phased = frame.schema.get("phased")
    n_samples = phased.size if isinstance(phased, pl.Array) else 0
    seed_a, seed_b = seeds("table", table)
    total = 0
    for row in frame.iter_rows(named=True):
        a, b = pairs_sum("column", row, n_samples)
        a, b = (a + seed_a) & M64, (b + seed_b) & M64
        low = mix((b + a * STEP) & M64)
        total += (mix(a ^ ((low * LANE_B) & M64)) << 64) + low
    return f"d1:{total % (1 << 128):032x}"


def digest_of(*frames: pl.DataFrame, table: str = "variants") -> str:
    digest = TableDigest()
    for frame in frames:
        digest.add(table, frame)
    return digest.value()


def everything() -> pl.DataFrame:
    """Every kind of column that a table of ours has."""
    return pl.DataFrame(
        {
            "record_no": [0, 1, 2, 3],
            "contig": ["chr1", "chr1", "é", "a text of more than sixteen bytes"],
            "small": pl.Series([1, -1, None, 127], dtype=pl.Int8),
            "real": pl.Series([0.1, -0.0, float("nan"), 1e30], dtype=pl.Float32),
            "wide": [0.1, 3.0, float("inf"), None],
            "flag": [True, None, None, False],
            "texts": [["a", None], [], None, ["b", "c"]],
            "lists": [[[1, 2], None, []], None, [[None]], [[3]]],
            "reals": pl.Series([[0.5, None], [2.0], None, []], dtype=pl.List(pl.Float32)),
            "evidence": [[{"key": "AF", "value": None}], None, [{"key": "x", "value": "y"}], []],
            "gt": pl.Series([[0, 1, 1, -2], None, [-1, -1, 0, 2], [1, -2, 1, 1]], dtype=pl.Array(pl.Int8, 4)),
            "phased": pl.Series([[True, False], None, [False, False], [True, None]], dtype=pl.Array(pl.Boolean, 2)),
            "row_id": [b"x" * 16] * 4,
        }
    )


def test_it_is_what_the_slow_one_in_plain_python_gives() -> None:
    frame = everything()
    assert digest_of(frame) == slow_digest("variants", frame)
    assert digest_of(frame, table="genotypes") == slow_digest("genotypes", frame) != digest_of(frame)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
                "real": st.none() | st.floats(width=32),
                "wide": st.none() | st.floats(),
                "text": st.none() | st.text(max_size=40),
                "texts": st.none() | st.lists(st.none() | st.text(max_size=12), max_size=4),
            }
        ),
        max_size=12,
    )
)
def test_any_values_give_what_the_slow_one_gives(rows: list[dict[str, Any]]) -> None:
    dtypes = {
        "whole": pl.Int64,
        "real": pl.Float32,
        "wide": pl.Float64,
        "text": pl.String,
        "texts": pl.List(pl.String),
    }
    frame = pl.DataFrame(rows, schema=dtypes)
    assert digest_of(frame) == slow_digest("variants", frame)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(4)), cut=st.integers(0, 4), columns=st.permutations(everything().columns))
def test_it_sees_no_order_of_rows_or_columns_and_no_cuts(order: list[int], cut: int, columns: list[str]) -> None:
    frame = everything()
    shuffled = frame[order].select(columns)
    assert digest_of(shuffled.head(cut), shuffled.tail(4 - cut)) == digest_of(frame)


def test_parts_add_up_to_the_whole_over_the_end_of_128_bits() -> None:
    one, other = TableDigest((1 << 128) - 1), TableDigest(5)
    one.merge(other)
    assert one.total == 4


def test_a_frame_longer_than_a_stretch_of_the_kernels_counts_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.concat([everything()] * 5)
    whole = digest_of(frame)
    monkeypatch.setattr(kernels, "_ROWS_AT_ONCE", 3)
    assert digest_of(frame) == whole == slow_digest("variants", frame)
    # a struct of its own column, cut in the middle
    told = frame.select(pl.col("evidence").list.first().alias("told"))
    assert digest_of(told) == slow_digest("variants", told)


def test_an_absent_column_is_one_that_is_all_null() -> None:
    frame = everything()
    assert digest_of(frame.with_columns(pl.lit(None, pl.String).alias("info_X"))) == digest_of(frame)
    assert digest_of(frame.with_columns(pl.lit(None).alias("info_X"))) == digest_of(frame)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Float32, pl.Float64])
def test_a_whole_number_hashes_alike_in_every_width(dtype: type[pl.DataType]) -> None:
    frame = pl.DataFrame({"n": [1, -7, None, 100]})
    assert digest_of(frame.cast(dtype)) == digest_of(frame)
    assert digest_of(frame.cast(dtype).select(n=pl.concat_list("n"))) == digest_of(frame.select(n=pl.concat_list("n")))


def test_a_real_hashes_by_its_float32() -> None:
    frame = pl.DataFrame({"x": [0.1, 1e-40, 16777216.5]})
    assert digest_of(frame) == digest_of(frame.cast(pl.Float32))


def test_padding_of_gt_is_not_seen_and_a_sample_with_fewer_alleles_is() -> None:
    phased = pl.Series("phased", [[False, True]], dtype=pl.Array(pl.Boolean, 2))

    def calls(values: list[int]) -> str:
        gt = pl.Series("gt", [values], dtype=pl.Array(pl.Int8, len(values)))
        return digest_of(pl.DataFrame([gt, phased]))

    assert calls([0, 1, 1, -2]) == calls([0, 1, -2, 1, -2, -2])
    assert calls([0, 1]) == calls([0, -2, 1, -2])
    assert calls([0, 1, 1, -2]) != calls([0, 1, 1, -1])
    assert calls([0, 1, 1, 1]) != calls([1, 0, 1, 1])


def test_small_differences_are_seen() -> None:
    base = everything()
    changed = [
        base.with_columns(pl.col("record_no") + 1),
        base.rename({"contig": "contiG"}),
        base.with_columns(texts=pl.Series([["a"], [], None, ["b", "c"]])),
        base.with_columns(texts=pl.Series([["a", None], None, None, ["b", "c"]])),
        base.with_columns(texts=pl.Series([["a", None], [], None, ["c", "b"]])),
        base.with_columns(small=pl.Series([-1, 1, None, 127], dtype=pl.Int8)),
        base.with_columns(flag=pl.Series([True, False, None, False])),
        base.head(3),
        pl.concat([base, base.head(1)]),
    ]
    assert len({digest_of(frame) for frame in [base, *changed]}) == len(changed) + 1


def test_a_dtype_that_no_table_has_is_refused() -> None:
    with pytest.raises(TypeError, match="no digest for a column of"):
        digest_of(pl.DataFrame({"day": pl.Series([1], dtype=pl.Date)}))


def test_read_only_and_writable_memory_is_digested_by_one_compiled_kernel() -> None:
    """Each kind of argument has numba compile a kernel anew, which the first run of an installation waits for."""
    values: dict[str, Any] = {
        "whole": np.arange(4),
        "short": np.arange(4, dtype=np.int16),
        "real": np.linspace(0, 1, 4),
        "single": np.linspace(0, 1, 4, dtype=np.float32),
    }
    writable = {name: pa.array(array) for name, array in values.items()}
    immutable = {name: pa.py_buffer(array.tobytes()) for name, array in values.items()}
    read_only = {
        name: pa.Array.from_buffers(writable[name].type, 4, [None, buffer]) for name, buffer in immutable.items()
    }
    others = pl.DataFrame(
        {
            "text": ["a", None, "b", "c"],
            "flag": [True, None, False, True],
            "texts": [["a"], None, ["b", None], []],
            "reals": [[0.5], [1.0, None], None, []],
            "whole_or_null": [1, None, 3, 4],
            "struct": [{"x": 1, "y": "a"}, {"x": None, "y": None}, {"x": 2, "y": "b"}, {"x": 3, "y": None}],
            "gt": pl.Series([[0, 1], [1, 1], None, [0, -1]], dtype=pl.Array(pl.Int8, 2)),
            "phased": pl.Series([[True], [False], [None], [True]], dtype=pl.Array(pl.Boolean, 1)),
        }
    ).to_arrow(compat_level=pl.CompatLevel.oldest())
    sums = set()
    for numbers in (writable, read_only):
        digest = TableDigest()
        digest.add_arrow("t", pa.table({**numbers, **{name: others[name] for name in others.column_names}}))
        sums.add(digest.value())
    small = TableDigest()
    small.add("t", pl.DataFrame({"texts": [["a"], ["b"]], "phased": [True, False], "real": [0.5, None]}))
    assert len(sums) == 1
    names = ("_add_column", "_list_lanes", "_float_lanes", "_text_lanes", "_bool_lanes", "_unpacked", "_sum_rows")
    assert {name: len(getattr(kernels, name).signatures) for name in names} == dict.fromkeys(names, 1)
    by_width = [str(signature[0].dtype) for signature in kernels._weighted_rows.signatures]
    assert len(by_width) == len(set(by_width)), "one for each width of an allele number"
