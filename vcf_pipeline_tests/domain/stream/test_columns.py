"""Frames through the wire and back, dtype-exact; and bytes that were never ours."""

from __future__ import annotations

import math

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.stream.columns import decode_frame, encode_frame

TEXT = st.one_of(st.none(), st.sampled_from(["a", "PASS", ""]), st.text(max_size=5))
VALUES: dict[str, tuple[pl.DataType, st.SearchStrategy[object]]] = {
    "text": (pl.String(), TEXT),
    "flag": (pl.Boolean(), st.sampled_from([None, True, False])),
    "small": (pl.Int32(), st.one_of(st.none(), st.integers(-3, 200))),
    "wide": (pl.Int64(), st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1))),
    "short": (pl.Int16(), st.integers(0, 9)),
    "real": (pl.Float32(), st.one_of(st.none(), st.floats(width=32, allow_nan=False))),
    "double": (pl.Float64(), st.one_of(st.none(), st.just(math.inf), st.floats(allow_nan=False))),
    "nothing": (pl.List(pl.Float32), st.none()),
    "texts": (pl.List(pl.String), st.one_of(st.none(), st.lists(TEXT, max_size=3))),
    "one": (pl.List(pl.String), st.one_of(st.none(), st.lists(TEXT, min_size=1, max_size=1))),
    "pairs": (
        pl.List(pl.Int32),
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 300)), min_size=2, max_size=2)),
    ),
    "gt": (pl.Array(pl.Int8, 4), st.one_of(st.none(), st.lists(st.integers(-2, 2), min_size=4, max_size=4))),
    "phased": (pl.Array(pl.Boolean, 2), st.lists(st.booleans(), min_size=2, max_size=2)),
    "nested": (
        pl.List(pl.List(pl.Int32)),
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.lists(st.integers(0, 5), max_size=3)), max_size=2)),
    ),
    "nested_texts": (
        pl.List(pl.List(pl.String)),
        st.lists(st.lists(st.sampled_from(["x", "y"]), min_size=2, max_size=2), min_size=2, max_size=2),
    ),
}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 40))
def test_any_frame_comes_back_equal_in_values_dtypes_and_order(data: st.DataObject, rows: int):
    frame = pl.DataFrame(
        [
            pl.Series(name, data.draw(st.lists(values, min_size=rows, max_size=rows)), dtype=dtype)
            for name, (dtype, values) in VALUES.items()
        ]
    )
    packed, inflated = encode_frame(frame)
    assert_frame_equal(decode_frame(packed, inflated), frame)


KEYED = {"contig": "chr1", "pos": 10, "end": 10, "ref": "A", "alt": "C", "record_no": 0}


@pytest.mark.parametrize(
    "keys",
    [
        ["1-10-A-C", "1-10-A-C"],
        ["1-10-A-C", "1-11-TT-T"],
        [None, "1-10-A-C"],
        ["MT-1-A-C", "x"],
        [None, None],
    ],
    ids=str,
)
def test_a_variant_key_comes_back_whether_it_follows_from_its_columns_or_not(keys: list[str | None]):
    frame = pl.DataFrame([{**KEYED, "variant_key": key} for key in keys], schema_overrides={"variant_key": pl.String})
    assert_frame_equal(decode_frame(*encode_frame(frame)), frame)
    without_alt = frame.with_columns(alt=pl.lit(None, pl.String))
    assert_frame_equal(decode_frame(*encode_frame(without_alt)), without_alt)


def test_positions_that_go_backwards_and_mitochondria_come_back():
    frame = pl.DataFrame(
        {
            "record_no": [5, 6, 9],
            "contig": ["chrM", "2", "1"],
            "pos": [16000, 7, 1 << 31],
            "end": [16000, 9, 3],
            "ref": ["A", "A", "A"],
            "alt": ["C", "C", None],
            "variant_key": ["MT-16000-A-C", "2-7-A-C", None],
        }
    )
    assert_frame_equal(decode_frame(*encode_frame(frame)), frame)


def test_a_slice_sends_only_its_own_rows():
    frame = pl.DataFrame({"record_no": range(50_000), "text": [f"{n * 7919:x}" for n in range(50_000)]})
    part = frame.slice(100, 10)
    packed, inflated = encode_frame(part)
    assert inflated < 3000
    assert_frame_equal(decode_frame(packed, inflated), part)


def test_equal_frames_give_equal_bytes():
    frame = pl.DataFrame({"record_no": range(1000), "text": ["x", "y"] * 500})
    assert encode_frame(frame) == encode_frame(frame.clone())


PACKED, INFLATED = encode_frame(pl.DataFrame({"record_no": range(100), "text": ["a", "b"] * 50}))


@pytest.mark.parametrize("inflated", [0, INFLATED - 1, INFLATED + 1, 1 << 40, -1])
def test_a_frame_that_inflates_to_another_size_is_unreadable(inflated: int):
    with pytest.raises(UnreadableMessage):
        decode_frame(PACKED, inflated)


def zstd(raw: bytes) -> tuple[bytes, int]:
    return pa.Codec("zstd").compress(raw, asbytes=True), len(raw)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, INFLATED - 1), st.integers(0, 255))
def test_a_changed_byte_under_the_frame_is_read_or_unreadable_and_nothing_else(place: int, value: int):
    raw = bytearray(pa.Codec("zstd").decompress(PACKED, decompressed_size=INFLATED, asbytes=True))
    raw[place] = value
    try:
        decode_frame(*zstd(bytes(raw)))
    except UnreadableMessage as problem:
        assert problem.code == "UNREADABLE_MESSAGE"


def test_a_small_dictionary_that_stands_for_very_much_text_is_refused():
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 500_000, pa.int8()), pa.array(["x" * 10_000]))
    honest = pl.DataFrame({"text": ["a", "b"] * 10})
    packed, inflated = encode_frame(honest)
    raw = pa.Codec("zstd").decompress(packed, decompressed_size=inflated)
    metadata = pa.ipc.open_stream(raw).schema.metadata
    described = {b"vcf_pipeline": metadata[b"vcf_pipeline"].replace(b"\xa4rows\x14", b"\xa4rows\xce\x00\x07\xa1\x20")}
    schema = pa.schema([pa.field("text", texts.type)], metadata=described)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([texts], schema=schema))
    with pytest.raises(UnreadableMessage, match="out of dictionaries"):
        decode_frame(*zstd(sink.getvalue().to_pybytes()))
