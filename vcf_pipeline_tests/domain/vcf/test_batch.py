"""batch.py: settings that name a result, whole batches, and that no bytes make the parser stumble."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from vcf_pipeline.domain.errors import DefectFound
from vcf_pipeline.domain.tables.schemas import CONSEQUENCES, REJECTS, VARIANTS_HEAD, VARIANTS_TAIL
from vcf_pipeline.domain.vcf.batch import BlockParser, ParsedBatch
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.vcf_text import header_text, joined, parse, record

DECLARED = {
    "info": ("DP,1,Integer", "AF,A,Float", "AD,R,Integer", "S,.,String", "F,0,Flag", "P,2,Float"),
    "formats": ("GT,1,String", "DP,1,Integer"),
    "samples": ("s1", "s2"),
}


def test_settings_that_change_no_table_change_no_fingerprint() -> None:
    base = ReaderSettings()
    assert ReaderSettings(engine="own", block_bytes=1000).fingerprint() == base.fingerprint()
    assert ReaderSettings(info=("DP",)).fingerprint() != base.fingerprint()
    assert ReaderSettings.from_record(ReaderSettings(info=("DP",)).as_record()) == ReaderSettings(info=("DP",))


def test_frames_have_the_columns_and_dtypes_of_the_schemas() -> None:
    batch = parse(record("C,G", "DP=3", "GT:DP", "0/1:3", "./.:."), **DECLARED)
    names = [*VARIANTS_HEAD, *(f"info_{key}" for key in ("DP", "AF", "AD", "S", "F", "P")), *VARIANTS_TAIL]
    assert batch.variants.columns == names
    for name, dtype in (VARIANTS_HEAD | VARIANTS_TAIL).items():
        assert batch.variants.schema[name] == dtype, name
    assert batch.rejects.schema == pl.Schema(REJECTS)
    assert batch.consequences.schema == pl.Schema(CONSEQUENCES)
    assert batch.genotypes is not None


def test_a_block_without_kept_records_has_the_same_columns() -> None:
    whole, empty = parse(record(), info=("DP,1,Integer",)), parse(record(pos="x"), info=("DP,1,Integer",))
    assert empty.variants.height == 0
    assert empty.variants.schema == whole.variants.schema


def test_calls_are_summed_per_allele() -> None:
    batch = parse(record("C,G", ".", "GT:DP", "0/1:3", "1/2:4"), record("T", ".", "DP", "3", "4"), **DECLARED)
    summary = batch.variants.select("n_called", "ac", "an", "af", "n_het", "n_hom", "n_missing")
    assert summary.rows() == [(2, 2, 4, 0.5, 2, 0, 0), (2, 1, 4, 0.25, 1, 0, 0), (None,) * 7]


def test_a_bad_genotype_is_counted_and_strict_names_its_line() -> None:
    lines = (record("C", ".", "GT:DP", "0/1:3", "0/1:1"), record("C", ".", "GT:DP", "0/x:3", "0/1:1"))
    assert parse(*lines, **DECLARED).defect_counts == {"GT_MALFORMED": 1}
    with pytest.raises(DefectFound) as refused:
        parse(*lines, settings=ReaderSettings(mode="strict"), **DECLARED)
    assert refused.value.line == header_text(**DECLARED).count("\n") + 2


def test_the_worst_consequence_stands_on_its_allele() -> None:
    line = '##INFO=<ID=CSQ,Number=.,Type=String,Description="Format: Allele|Consequence|IMPACT|SYMBOL">'
    info = "CSQ=C|synonymous_variant|LOW|AAA,C|stop_gained|HIGH|BBB"
    batch = parse(record("C", info), record(), lines=(line,))
    assert batch.variants.select("consequence", "gene").rows() == [("stop_gained", "BBB"), (None, None)]
    assert batch.consequences["record_no"].to_list() == [0, 0]


def test_cutting_a_text_into_other_blocks_gives_the_same_rows() -> None:
    lines = [
        record("C,G", f"DP={number};AF=0.5,0.25;S=a,b", "GT:DP", "0/1:3", ".", pos=100 + number)
        if number % 3
        else record(".", "F;DP=x", "GT", "0|0", "1", pos=100 + number)
        for number in range(40)
    ]
    header = header_text(**DECLARED)

    def read(size: int) -> list[ParsedBatch]:
        parser = BlockParser(parse_header(header), ReaderSettings())
        return [
            parser.parse("".join(lines[at : at + size]).encode(), at, 10 + at, 0) for at in range(0, len(lines), size)
        ]

    whole = read(len(lines))
    for size in (1, 7):
        assert_frame_equal(joined(read(size)), joined(whole))
        calls = joined(read(size), "genotypes").select("record_no", "fmt_DP", "format_raw")
        assert_frame_equal(calls, joined(whole, "genotypes").select(calls.columns))


_SIGNS = ("\t", "\n", ";", "=", ",", ".", ":", "/", "|", "<", ">", "[", "]", "*", "%", "\0", "\r\n", "\t.\t")
_WORDS = ("1", "A", "C", "%3B", "GT", "DP", "AF", "-1", "1e400", "nan", "é")
_LINE = "1\t5\t.\tA\tC,G\t9\tPASS\tDP=1;AF=.,2\tGT:DP\t0/1:3\t1|2\n"
_TOKENS = st.sampled_from([*_SIGNS, *_WORDS, _LINE])


@settings(max_examples=400, deadline=None)
@given(st.lists(_TOKENS, max_size=40), st.booleans(), st.sampled_from(["quarantine", "strict"]))
def test_no_text_makes_the_parser_stumble_and_every_line_is_accounted_for(
    tokens: list[str], samples: bool, mode: str
) -> None:
    declared = DECLARED if samples else {"info": DECLARED["info"]}
    text = "".join(tokens)
    try:
        batch = parse(text, settings=ReaderSettings(mode=mode), **declared)  # type: ignore[arg-type]
    except DefectFound as defect:
        assert mode == "strict"
        assert defect.line > 0
        return
    lines = [line for line in text.split("\n") if line.removesuffix("\r")]
    assert batch.n_records == len(lines)
    assert batch.variants["record_no"].n_unique() + batch.rejects.height == len(lines)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_stumble(raw: bytes) -> None:
    good = record("C", "DP=3", "GT:DP", "0/1:3", "1/1:4").encode()
    batch = parse(good, raw, b"\n", good, **DECLARED)
    assert batch.variants.height >= 1
    assert batch.variants["record_no"].n_unique() + batch.rejects.height == batch.n_records
