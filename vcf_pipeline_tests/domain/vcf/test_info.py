"""info.py: types, Numbers, projection on the allele, and what happens to values that break them."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.domain.vcf.batch import BlockParser
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.vcf_text import column, header_text, parse, record


@pytest.mark.parametrize(
    ("declared", "dtype"),
    [
        ("X,1,Integer", pl.Int32()),
        ("X,1,Float", pl.Float32()),
        ("X,1,String", pl.String()),
        ("X,1,Character", pl.String()),
        ("X,0,Flag", pl.Boolean()),
        ("X,A,Integer", pl.Int32()),
        ("X,R,Float", pl.List(pl.Float32())),
        ("X,.,String", pl.List(pl.String())),
        ("X,G,Integer", pl.List(pl.Int32())),
        ("X,3,Float", pl.List(pl.Float32())),
    ],
)
def test_a_declared_key_has_its_type_present_or_not(declared: str, dtype: pl.DataType) -> None:
    absent = parse(record(), info=(declared,)).variants["info_X"]
    assert (absent.dtype, absent.to_list()) == (dtype, [None])
    flag = declared.endswith("Flag")
    present = parse(record("C", "X" if flag else "X=.")).variants["info_X"]
    assert present.len() == 1
    assert parse(record("C", "X" if flag else "X=."), info=(declared,)).variants["info_X"].dtype == dtype


def test_number_a_gives_each_allele_its_own_value() -> None:
    assert column("info_AF", record("C,G", "AF=0.1,0.2"), record("T", "AF=.5"), info=("AF,A,Float",)) == [
        *(pytest.approx(0.1), pytest.approx(0.2), 0.5)
    ]


def test_number_r_gives_each_allele_refs_value_and_its_own() -> None:
    values = column("info_AD", record("C,G", "AD=7,1,."), record(".", "AD=9"), info=("AD,R,Integer",))
    assert values == [[7, 1], [7, None], [9]]


def test_other_lists_stand_whole_on_every_allele() -> None:
    values = column("info_X", record("C,G", "X=a,.,c"), info=("X,.,String",))
    assert values == [["a", None, "c"]] * 2


@pytest.mark.parametrize(
    ("declared", "value", "kept", "code"),
    [
        ("X,1,Integer", "X=abc", None, "INFO_NOT_INTEGER"),
        ("X,1,Integer", "X=1,2", None, "INFO_WRONG_NUMBER"),
        ("X,1,Integer", "X=", None, "INFO_VALUE_MISSING"),
        ("X,1,Integer", "X", None, "INFO_VALUE_MISSING"),
        ("X,1,Integer", "X=nan", None, "INFO_NOT_INTEGER"),
        ("X,1,Float", "X=1.2.3", None, "INFO_NOT_FLOAT"),
        ("X,1,String", "X=", None, "INFO_VALUE_MISSING"),
        ("X,A,Integer", "X=1,2", None, "INFO_WRONG_NUMBER"),
        ("X,R,Integer", "X=1", None, "INFO_WRONG_NUMBER"),
        ("X,.,Integer", "X=1,x,3", [1, None, 3], "INFO_NOT_INTEGER"),
        ("X,2,Integer", "X=1,2,3", [1, 2, 3], "INFO_WRONG_NUMBER"),
        ("X,.,Float", "X", None, "INFO_VALUE_MISSING"),
        ("X,0,Flag", "X=1", True, "INFO_FLAG_WITH_VALUE"),
        ("X,1,Integer", "X=1;X=2", 1, "INFO_KEY_REPEATED"),
    ],
)
def test_a_bad_value_keeps_the_record_its_raw_text_and_a_count(
    declared: str, value: str, kept: object, code: str
) -> None:
    info = f"Y=1;{value}"
    batch = parse(record("C", "Y=2"), record("C", info), info=(declared, "Y,1,Integer"))
    assert batch.variants["info_X"].to_list() == [None, kept]
    assert batch.variants["info_Y"].to_list() == [2, 1]
    assert batch.variants["info_raw"].to_list() == [None, info]
    assert batch.defect_counts == {code: 1}
    assert batch.rejects.height == 0


def test_a_string_of_number_one_keeps_its_commas() -> None:
    assert column("info_X", record("C", "X=a,b"), info=("X,1,String",)) == ["a,b"]


def test_an_integer_column_widens_only_as_far_as_its_block_needs() -> None:
    def read(*values: str) -> pl.Series:
        return parse(*(record("C", f"X={value}") for value in values), info=("X,1,Integer",)).variants["info_X"]

    assert read("2147483647").dtype == pl.Int32
    assert (read("1", "2147483648").dtype, read("1", "2147483648").to_list()) == (pl.Int64, [1, 2147483648])
    real = read("1", "0.25")
    assert (real.dtype, real.to_list()) == (pl.Float64, [1.0, 0.25])
    assert parse(record("C", "X=0.5"), info=("X,1,Integer",)).defect_counts == {"INFO_REAL_IN_INTEGER": 1}


def test_undeclared_keys_become_lists_of_text_or_flags_in_the_order_they_appear() -> None:
    batch = parse(record("C", "B=1,2;DP=3;F"), record("C", "A=x"), info=("DP,1,Integer",))
    assert [name for name in batch.variants.columns if name.startswith("info_")] == [
        *("info_DP", "info_B", "info_F", "info_A", "info_raw")
    ]
    assert batch.variants["info_B"].to_list() == [["1", "2"], None]
    assert batch.variants["info_F"].to_list() == [True, None]
    assert batch.variants["info_raw"].to_list() == ["B=1,2;DP=3;F", "A=x"]
    assert batch.defect_counts == {"INFO_KEY_UNDECLARED": 3}


def test_an_undeclared_key_keeps_its_kind_in_later_blocks() -> None:
    parser = BlockParser(parse_header(header_text()), ReaderSettings())
    first = parser.parse(record("C", "F").encode(), 0, 1, 0)
    second = parser.parse((record() + record("C", "F=1")).encode(), 1, 2, 0)
    assert first.variants["info_F"].to_list() == [True]
    assert second.variants["info_F"].to_list() == [None, True]
    assert second.defect_counts["INFO_FLAG_WITH_VALUE"] == 1


def test_a_file_with_another_key_in_every_record_gets_a_bounded_number_of_columns() -> None:
    batch = parse(*(record("C", f"K{number}=1") for number in range(600)))
    assert sum(name.startswith("info_K") for name in batch.variants.columns) == 500
    assert batch.defect_counts["INFO_KEY_UNREADABLE"] == 100
    assert batch.variants["info_raw"][599] == "K599=1"


def test_percent_encoding_is_decoded_after_splitting_and_once() -> None:
    values = column("info_X", record("C", "X=a%2Cb,100%25%3b,%2541,50%"), info=("X,.,String",))
    assert values == [["a,b", "100%;", "%41", "50%"]]


def test_empty_entries_are_a_warning() -> None:
    batch = parse(record("C", "DP=1;;AN=2;"), info=("DP,1,Integer", "AN,1,Integer"))
    assert batch.variants["info_AN"].to_list() == [2]
    assert batch.defect_counts == {"INFO_EMPTY_ENTRY": 1}


def test_a_selection_leaves_the_raw_text_where_it_left_keys_out() -> None:
    lines = [record("C", "DP=1;AN=2;END=200"), record("C", "DP=3"), record("C", "ODD=5")]
    batch = parse(*lines, settings=ReaderSettings(info=("DP",)), info=("DP,1,Integer", "AN,1,Integer"))
    assert [name for name in batch.variants.columns if name.startswith("info_")] == ["info_DP", "info_raw"]
    assert batch.variants["info_raw"].to_list() == ["DP=1;AN=2;END=200", None, "ODD=5"]
    assert batch.variants["end"].to_list() == [200, 100, 100]


def test_a_long_list_on_thousands_of_alleles_keeps_its_raw_text_alone() -> None:
    alts = ",".join("A" * size for size in range(2, 1203))
    batch = parse(record(alts, "X=" + ",".join(["1"] * 1200)), record("C", "X=1,2"), info=("X,.,Integer",))
    assert batch.defect_counts == {"INFO_LIST_TOO_LONG": 1}
    assert batch.variants["info_X"].to_list() == [None] * 1201 + [[1, 2]]
    assert batch.variants["info_raw"].null_count() == 1


def test_a_key_named_raw_does_not_meet_the_column_of_raw_texts() -> None:
    batch = parse(record("C", "raw=5"), info=("raw,1,Integer",))
    assert batch.variants["info_raw_"].to_list() == [5]


def test_rejected_records_do_not_count_their_values() -> None:
    batch = parse(record("C", "DP=x", pos="no"), info=("DP,1,Integer",))
    assert batch.defect_counts == {"POS_NOT_INTEGER": 1}
