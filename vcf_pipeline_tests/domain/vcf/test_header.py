"""header.py: what is declared, what is refused, and that no text makes it stumble."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import NotAVcf
from vcf_pipeline.domain.vcf.header import Contig, parse_header, parse_structured
from vcf_pipeline_tests.vcf_text import header_text

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def test_fields_contigs_filters_and_samples_are_read_in_the_files_order() -> None:
    header = parse_header(
        header_text(
            info=("DP,1,Integer", "AF,A,Float"),
            formats=("GT,1,String",),
            samples=("b", "a"),
            lines=("##contig=<ID=1,length=249250621,assembly=b37>", '##FILTER=<ID=q10,Description="low">'),
        )
    )
    assert list(header.info) == ["DP", "AF"]
    assert (header.info["AF"].number, header.info["AF"].type) == ("A", "Float")
    assert header.contigs == (Contig("1", 249250621, "b37"),)
    assert header.filters == {"q10": "low"}
    assert header.samples == ("b", "a")
    assert (header.version, header.n_lines, header.warnings) == ("VCFv4.3", 7, ())


def test_a_description_may_hold_commas_brackets_and_escaped_quotes() -> None:
    read = parse_structured(r'<ID=X,Number=1,Type=String,Description="a, b=\"c\" > d",Source="s">')
    assert read["Description"] == 'a, b="c" > d'
    assert read["Source"] == "s"


def test_a_quote_that_a_writer_forgot_to_escape_does_not_end_the_description() -> None:
    read = parse_structured('<ID=X,Description="so "called" ones",Version="3">')
    assert (read["Description"], read["Version"]) == ('so "called" ones', "3")


def test_of_a_key_declared_twice_the_first_declaration_holds_with_a_warning() -> None:
    header = parse_header(header_text(info=("DP,1,Integer", "DP,1,Float")))
    assert header.info["DP"].type == "Integer"
    assert "DP is declared again" in header.warnings[0]


def test_an_unknown_type_is_read_as_string_and_an_unknown_number_as_any() -> None:
    header = parse_header(header_text(info=("X,-1,Double",)))
    assert (header.info["X"].number, header.info["X"].type) == (".", "String")
    assert len(header.warnings) == 2


@pytest.mark.parametrize(
    ("version", "told"), [("VCFv9.9", "unknown version"), ("", "unknown version"), ("VCFv4.5", "")]
)
def test_an_unknown_version_is_a_warning(version: str, told: str) -> None:
    warnings = parse_header(f"##fileformat={version}\n{COLUMNS}").warnings
    assert bool(warnings) == (version != "VCFv4.5")


def test_crlf_line_ends_do_not_reach_names() -> None:
    text = header_text(samples=("s1",)).replace("\n", "\r\n")
    assert parse_header(text).samples == ("s1",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("##fileformat=VCFv4.2\n", "a #CHROM line"),
        ("##fileformat=VCFv4.2\n1\t5\t.\tA\tC\n", "line 2"),
        ("#CHROM\tPOS\tREF\n", "#CHROM POS ID REF"),
        ("#CHROM POS ID REF ALT QUAL FILTER INFO\n", "tabs between them"),
        (COLUMNS.replace("\n", "\tFORMAT\ta\ta\n"), "'a' twice"),
        (COLUMNS.replace("\n", "\tFORMAT\ta\t\tb\n"), "an empty one"),
    ],
)
def test_a_header_that_cannot_be_one_is_refused_with_the_place(text: str, told: str) -> None:
    with pytest.raises(NotAVcf, match=told.replace("(", r"\(")):
        parse_header(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_no_text_makes_the_header_parser_stumble(text: str) -> None:
    for candidate in (text, f"##fileformat=VCFv4.2\n##INFO=<{text}\n{COLUMNS}", f"##{text}\n{COLUMNS}"):
        try:
            parse_header(candidate)
        except NotAVcf as refused:
            assert refused.exit_code == 3
