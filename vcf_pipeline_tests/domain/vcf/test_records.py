"""records.py: what sets a record aside, what does not, and that the counts reconcile."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.errors import DefectFound
from vcf_pipeline.domain.vcf.defects import CATALOGUE
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.vcf_text import column, header_text, parse, record

GOOD = record()


@pytest.mark.parametrize(
    ("line", "code", "where"),
    [
        (record(pos="chr7"), "POS_NOT_INTEGER", "POS"),
        (record(pos="1.5"), "POS_NOT_INTEGER", "POS"),
        (record(pos="."), "POS_NOT_INTEGER", "POS"),
        (record(pos=-1), "POS_NEGATIVE", "POS"),
        (record(ref="AXT"), "REF_NOT_BASES", "REF"),
        (record(ref="."), "REF_NOT_BASES", "REF"),
        (record(ref=""), "REF_NOT_BASES", "REF"),
        (record("<DEL"), "ALT_NOT_ALLELE", "ALT"),
        (record("C,."), "ALT_NOT_ALLELE", "ALT"),
        (record("C,,G"), "ALT_NOT_ALLELE", "ALT"),
        (record(""), "ALT_NOT_ALLELE", "ALT"),
        (record("G[1:5"), "ALT_NOT_ALLELE", "ALT"),
        (record(contig=""), "CONTIG_EMPTY", "CHROM"),
        ("1\t5\t.\tA\tC\n", "COLUMN_COUNT", "line"),
        (record().replace("\n", "\textra\n"), "COLUMN_COUNT", "line"),
        (record("C", "X=a\0b"), "TEXT_HAS_NUL", "line"),
        (record("C", "X=é").encode("latin-1"), "TEXT_NOT_UTF8", "line"),
    ],
)
def test_a_record_without_a_place_or_an_allele_is_set_aside(line: str | bytes, code: str, where: str) -> None:
    batch = parse(GOOD, line, GOOD)
    assert batch.n_records == 3
    assert batch.variants["record_no"].to_list() == [0, 2]
    reject = batch.rejects.row(0, named=True)
    assert (reject["record_no"], reject["code"], reject["column"]) == (1, code, where)
    assert batch.defect_counts[code] == 1
    assert CATALOGUE[code].expected in reject["message"]


def test_a_reject_names_its_line_its_byte_and_its_text() -> None:
    header = header_text()
    batch = parse(GOOD, record(pos="x", info="K=v"))
    reject = batch.rejects.row(0, named=True)
    assert reject["line"] == header.count("\n") + 2
    assert reject["byte_offset"] == len(header) + len(GOOD)
    assert reject["raw"] == record(pos="x", info="K=v").rstrip("\n")
    assert 'POS: expected a whole number, got "x"' in reject["message"]


def test_the_raw_line_of_a_reject_is_cut_and_shows_undecodable_bytes() -> None:
    batch = parse(record("C", "X=\xff" + "y" * 9000).encode("latin-1"))
    raw = batch.rejects["raw"][0]
    assert len(raw) == 4096
    assert "\\xff" in raw


@pytest.mark.parametrize(
    "line",
    [
        record(pos=0),
        record(ref="acgtN"),
        record("*"),
        record("<NON_REF>"),
        record("<DEL:ME:ALU>"),
        record("G]17:198982]"),
        record("]13:123456]T"),
        record(".TGCA"),
        record("G."),
        record("C[<ctg1>:5["),
        record("R", ref="Y"),
        record(qual="-3e2"),
    ],
)
def test_what_the_specification_or_real_files_have_is_kept(line: str) -> None:
    assert parse(line).rejects.height == 0


def test_many_undecodable_lines_leave_their_neighbours_whole() -> None:
    bad = record("C", "X=ü").encode("latin-1")
    batch = parse(*[record("C", "X=ü"), bad] * 5, info=("X,1,String",))
    assert batch.rejects["record_no"].to_list() == [1, 3, 5, 7, 9]
    assert batch.variants["info_X"].to_list() == ["ü"] * 5


def test_crlf_and_a_missing_final_newline_leave_no_trace() -> None:
    batch = parse(record("C", "DP=5").replace("\n", "\r\n"), record("C", "DP=6").rstrip("\n"), info=("DP,1,Integer",))
    assert batch.variants["info_DP"].to_list() == [5, 6]
    assert batch.defect_counts == {}


def test_blank_lines_are_counted_and_are_no_records() -> None:
    batch = parse(GOOD, "\n", "\r\n", record(pos="x"))
    assert batch.n_records == 2
    assert batch.defect_counts["BLANK_LINE"] == 2
    assert batch.rejects["line"].to_list() == [header_text().count("\n") + 4]


def test_a_wrong_number_of_sample_columns_sets_the_record_aside() -> None:
    one, two = record("C", ".", "GT", "0/1"), record("C", ".", "GT", "0/1", "1/1")
    batch = parse(two, one, two, record("C", ".", "GT"), record(), formats=("GT,1,String",), samples=("a", "b"))
    assert batch.rejects["record_no"].to_list() == [1, 3, 4]
    assert set(batch.rejects["code"]) == {"COLUMN_COUNT"}
    assert batch.genotypes is not None
    assert batch.genotypes["record_no"].to_list() == batch.variants["record_no"].to_list() == [0, 2]


def test_a_bad_qual_is_null_and_counted_and_its_text_stays() -> None:
    batch = parse(record(pos="x"), record("C,G", qual="high"), record(qual="."), record(qual="29.5"))
    assert batch.variants["qual"].to_list() == [None, None, None, 29.5]
    assert batch.variants["qual_raw"].to_list() == ["high", "high", None, None]
    assert batch.defect_counts == {"POS_NOT_INTEGER": 1, "QUAL_NOT_NUMBER": 1}


def test_ambiguous_bases_of_ref_are_counted_and_kept() -> None:
    batch = parse(record(ref="ARN"), record(ref="y"), record(ref="N"), record(ref="RX"))
    assert batch.variants["ref"].to_list() == ["ARN", "Y", "N"]
    assert batch.defect_counts == {"REF_AMBIGUOUS": 2, "REF_NOT_BASES": 1}
    assert parse(record(ref="R"), settings=ReaderSettings(mode="strict")).n_records == 1


def test_id_and_filter_are_lists_and_null_for_a_dot() -> None:
    batch = parse(record(id="rs1;rs2", filter="q10;s50"), record(id=".", filter="."), record(filter="PASS"))
    assert batch.variants["id"].to_list() == [["rs1", "rs2"], None, None]
    assert batch.variants["filter"].to_list() == [["q10", "s50"], None, ["PASS"]]


def test_ref_is_upper_case_and_alt_as_the_file_writes_it() -> None:
    row = parse(record("c", ref="aN")).variants.row(0, named=True)
    assert (row["ref"], row["alt"]) == ("AN", "c")


def test_undeclared_contigs_and_filters_are_warnings_where_the_header_declares_any() -> None:
    lines = ("##contig=<ID=1>", '##FILTER=<ID=q10,Description="x">')
    batch = parse(GOOD, record(contig="2", filter="q20"), lines=lines)
    assert batch.defect_counts == {"CONTIG_UNDECLARED": 1, "FILTER_UNDECLARED": 1}
    assert parse(record(contig="2", filter="q20")).defect_counts == {}


def test_strict_refuses_at_the_first_line_that_is_more_than_a_warning() -> None:
    strict = ReaderSettings(mode="strict")
    lines = [record("C", "NEW=1"), record("C", "DP=x"), record(pos="y")]
    with pytest.raises(DefectFound) as refused:
        parse(*lines, settings=strict, info=("DP,1,Integer",))
    start = header_text(info=("DP,1,Integer",)).count("\n") + 1
    error = refused.value
    assert (error.code, error.line, error.column) == ("INFO_NOT_INTEGER", start + 1, "DP")
    assert str(error).startswith(f'line {start + 1}, DP: expected a whole number, got "x"')
    assert parse(lines[0], settings=strict).n_records == 1


def test_the_dot_alt_is_one_row_with_index_zero() -> None:
    assert column("alt_index", record("."), record("C,G")) == [0, 1, 2]
    assert column("alt", record("."), record("C,G")) == [None, "C", "G"]
