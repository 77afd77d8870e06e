"""GT of any ploidy, every FORMAT key, the call summary, and what is said of a bad sample."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.tables.schemas import MISSING, NO_ALLELE
from vcf_pipeline.domain.vcf.genotypes import WIDEST_PLOIDY, GenotypesParsed, parse_genotypes
from vcf_pipeline.domain.vcf.header import Field, Header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

DECLARED = {
    "GT": ("1", "String"),
    "DP": ("1", "Integer"),
    "AD": ("R", "Integer"),
    "GL": ("G", "Float"),
    "GQ": ("1", "Float"),
    "FT": ("1", "String"),
    "LAA": (".", "Integer"),
    "NM": ("2", "String"),
}


def parse(
    lines: list[tuple[str, str, list[str]]],
    *,
    version: str = "VCFv4.3",
    n_samples: int | None = None,
    keys: tuple[str, ...] | None = None,
) -> GenotypesParsed:
    """lines: (ALT, FORMAT, samples) of each record."""
    n_samples = len(lines[0][2]) if n_samples is None else n_samples
    header = Header(
        text="",
        version=version,
        formats={key: Field(key, number, kind) for key, (number, kind) in DECLARED.items()},
        samples=tuple(f"s{i}" for i in range(n_samples)),
    )
    block, sample_off, line_end, format_off = b"", [], [], []
    for alt, named, samples in lines:
        block += f"1\t10\t.\tA\t{alt}\t.\t.\t.\t".encode()
        format_off.append(len(block))
        block += named.encode() + b"\t"
        sample_off.append(len(block))
        block += "\t".join(samples).encode()
        line_end.append(len(block))
        block += b"\n"
    return parse_genotypes(
        np.frombuffer(block, np.uint8),
        np.array(sample_off, np.int64),
        np.array(line_end, np.int64),
        np.array(format_off, np.int64),
        np.array([len(named) for _, named, _ in lines], np.int32),
        np.array([0 if alt == "." else alt.count(",") + 1 for alt, _, _ in lines], np.int32),
        np.arange(len(lines), dtype=np.int64),
        header,
        ReaderSettings(formats=keys),
    )


def calls(parsed: GenotypesParsed, record: int = 0) -> list[list[int]]:
    """The allele numbers of each sample, NO_ALLELE left out."""
    flat = parsed.frame["gt"][record].to_list()
    n_samples = len(parsed.frame["phased"][record])
    width = len(flat) // n_samples
    return [[a for a in flat[s * width : (s + 1) * width] if a != NO_ALLELE] for s in range(n_samples)]


@pytest.mark.parametrize("formats", ["GT", "GT:DP", "DP:GT"])
def test_diploid_calls_keep_their_alleles_and_phase(formats: str) -> None:
    texts = ["0/0", "0|1", "1/2", "./.", ".|1"]
    samples = [{"GT": t, "GT:DP": f"{t}:7", "DP:GT": f"7:{t}"}[formats] for t in texts]
    parsed = parse([("C,G", formats, samples)])
    assert calls(parsed) == [[0, 0], [0, 1], [1, 2], [MISSING, MISSING], [MISSING, 1]]
    assert parsed.frame["phased"][0].to_list() == [False, True, False, False, True]
    assert parsed.frame["gt"].dtype == pl.Array(pl.Int8, 10)


def test_haploid_and_triploid_calls_stand_beside_diploid_ones() -> None:
    parsed = parse([("C", "GT", ["0", "0/1", "0|1|1", "."]), ("C", "GT", ["0/1", "0/0", "1/1", "0/0"])])
    assert calls(parsed) == [[0], [0, 1], [0, 1, 1], [MISSING]]
    assert calls(parsed, 1) == [[0, 1], [0, 0], [1, 1], [0, 0]]
    assert parsed.frame["phased"][0].to_list() == [False, False, True, False]


def test_a_block_of_haploid_calls_has_one_allele_a_sample() -> None:
    assert parse([("C", "GT", ["0", "1"])]).frame["gt"].dtype == pl.Array(pl.Int8, 2)


def test_an_allele_number_above_126_widens_the_column() -> None:
    parsed = parse([(",".join(["C"] * 200), "GT", ["0/150", "127/1"])])
    assert parsed.frame["gt"].dtype == pl.Array(pl.Int16, 4)
    assert calls(parsed) == [[0, 150], [127, 1]]
    assert parsed.summary["ac"][149] == 1


@pytest.mark.parametrize("text", ["0/", "a", "0//1", "/", "0/1x", "", "-1/0", "0/1/", "1" * 12])
def test_a_text_that_is_no_genotype_is_a_missing_call_with_its_raw_text(text: str) -> None:
    parsed = parse([("C", "GT:DP", [f"{text}:3", "0/1:4"])])
    assert calls(parsed) == [[MISSING], [0, 1]]
    assert [(d[1], d[2], d[3]) for d in parsed.defects] == [("GT", "GT_MALFORMED", text)]
    assert parsed.frame["format_raw"][0] == f"GT:DP\t{text}:3\t0/1:4"
    assert parsed.frame["fmt_DP"][0].to_list() == [3, 4]


def test_an_allele_that_the_record_lacks_is_missing_and_told() -> None:
    parsed = parse([("C", "GT", ["0/2", "0/1"]), ("C", "GT", ["0/1", "1/1"])])
    assert calls(parsed) == [[0, MISSING], [0, 1]]
    assert parsed.defects == [(0, "GT", "GT_ALLELE_UNKNOWN", "0/2")]
    assert parsed.frame["format_raw"].to_list() == ["GT\t0/2\t0/1", None]


def test_the_phase_of_the_first_allele_may_be_written_since_4_4_only() -> None:
    new = parse([("C", "GT", ["|0/1", "/1", "|0|1"])], version="VCFv4.4")
    assert calls(new) == [[0, 1], [1], [0, 1]]
    assert new.frame["phased"][0].to_list() == [False, False, True]
    assert new.defects == []
    assert new.frame["format_raw"][0] is not None
    old = parse([("C", "GT", ["|0/1", "0/1"])])
    assert calls(old) == [[MISSING], [0, 1]]
    assert old.defect_counts == {"GT_MALFORMED": 1}


def test_separators_that_one_boolean_cannot_hold_keep_their_text() -> None:
    parsed = parse([("C", "GT", ["0|1/1"])])
    assert parsed.frame["phased"][0].to_list() == [False]
    assert parsed.frame["format_raw"][0] == "GT\t0|1/1"
    assert parsed.defects == []


def test_a_record_without_gt_has_null_calls_and_no_summary() -> None:
    parsed = parse([("C", "DP", ["3", "4"]), ("C", "GT", ["0/1", "1/1"]), ("C", ".", [".", "."])])
    assert parsed.frame["gt"].is_null().to_list() == [True, False, True]
    assert parsed.summary_frame()["an"].to_list() == [None, 4, None]
    assert parsed.frame["fmt_DP"].to_list() == [[3, 4], None, None]


@pytest.mark.parametrize("formats", ["GT", "GT:DP"])
def test_the_summary_counts_alleles_and_samples_of_each_allele(formats: str) -> None:
    tail = ":9" if formats == "GT:DP" else ""
    samples = [text + tail for text in ["0/0", "0/1", "1/1", "1/2", "./1", "./."]]
    rows = parse([("C,G", formats, samples), (".", formats, samples[:1] * 6)]).summary_frame()
    assert rows["ac"].to_list() == [5, 1, 0]
    assert rows["an"].to_list() == [9, 9, 12]
    assert rows["n_called"].to_list() == [4, 4, 6]
    assert rows["n_missing"].to_list() == [2, 2, 0]
    assert rows["n_het"].to_list() == [2, 1, 0]
    assert rows["n_hom"].to_list() == [1, 0, 0]
    assert rows["af"].to_list() == pytest.approx([5 / 9, 1 / 9, 0])


def test_a_haploid_call_of_the_allele_is_homozygous() -> None:
    rows = parse([("C", "GT", ["1", "0"])]).summary_frame()
    assert rows.select("n_hom", "n_het", "an").row(0) == (1, 0, 2)


def test_an_allele_frequency_of_no_called_allele_is_null() -> None:
    assert parse([("C", "GT", ["./.", "./."])]).summary_frame().select("an", "af").row(0) == (0, None)


def test_values_are_typed_by_their_declaration() -> None:
    parsed = parse([("C", "GT:DP:AD:GL:FT:NM", ["0/1:12:3,9:-1.5,0,.:a,b:x,y", "0/0:.:.:.:.:."])])
    frame = parsed.frame
    assert frame["fmt_DP"].to_list() == [[12, None]]
    assert frame["fmt_AD"].to_list() == [[[3, 9], None]]
    assert frame["fmt_GL"].to_list() == [[[-1.5, 0.0, None], None]]
    assert frame["fmt_FT"].to_list() == [["a,b", None]]
    assert frame["fmt_NM"].to_list() == [[["x", "y"], None]]
    assert frame.schema["fmt_GL"] == pl.List(pl.List(pl.Float32))
    assert parsed.defects == []


def test_the_columns_follow_the_header_and_dropped_trailing_values_are_null() -> None:
    parsed = parse([("C", "GT:FT:AD:DP", ["0/1:q", "0/1"]), ("C", "GT:DP", ["0/0:1", "0/0:2"])])
    assert parsed.frame.columns == ["record_no", "gt", "phased", "fmt_DP", "fmt_AD", "fmt_FT", "format_raw"]
    assert parsed.frame["fmt_FT"].to_list() == [["q", None], None]
    assert parsed.frame["fmt_AD"].to_list() == [[None, None], None]
    assert parsed.frame["fmt_DP"].to_list() == [[None, None], [1, 2]]


def test_an_undeclared_key_is_text_split_at_commas() -> None:
    parsed = parse([("C", "GT:ZZ", ["0/1:a,b", "0/1:c"])])
    assert parsed.frame["fmt_ZZ"].to_list() == [[["a", "b"], ["c"]]]
    assert parsed.defect_counts == {"FORMAT_KEY_UNDECLARED": 1}


def test_reals_in_an_integer_key_are_kept_as_reals_with_a_warning() -> None:
    parsed = parse([("C", "GT:DP", ["0/1:4.5", "0/1:3"])])
    assert parsed.frame["fmt_DP"].to_list() == [[4.5, 3.0]]
    assert parsed.defect_counts == {"FORMAT_REAL_IN_INTEGER": 1}
    assert parsed.frame["format_raw"][0] is None


def test_a_number_beyond_32_bits_widens_its_column() -> None:
    assert parse([("C", "DP", ["3000000000", "1"])]).frame["fmt_DP"].to_list() == [[3_000_000_000, 1]]


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("DP", "many", "FORMAT_NOT_INTEGER"),
        ("DP", "1,2", "FORMAT_WRONG_NUMBER"),
        ("GQ", "high", "FORMAT_NOT_FLOAT"),
        ("AD", "1,x", "FORMAT_NOT_INTEGER"),
    ],
)
def test_a_value_of_the_wrong_kind_is_null_with_its_raw_text(key: str, value: str, code: str) -> None:
    parsed = parse([("C", f"GT:{key}", [f"0/1:{value}", "0/0:."])])
    assert [(d[0], d[1], d[2]) for d in parsed.defects] == [(0, key, code)]
    assert parsed.frame["format_raw"][0] == f"GT:{key}\t0/1:{value}\t0/0:."
    first = parsed.frame[f"fmt_{key}"][0].to_list()[0]
    assert first is None or first[-1] is None


def test_a_list_of_the_wrong_length_stays_and_is_counted() -> None:
    parsed = parse([("C,G", "GT:AD", ["0/1:1,2", "0/1:1,2,3"])])
    assert parsed.frame["fmt_AD"].to_list() == [[[1, 2], [1, 2, 3]]]
    assert parsed.defects == [(0, "AD", "FORMAT_WRONG_NUMBER", "1,2")]


def test_more_values_than_keys_are_told() -> None:
    parsed = parse([("C", "GT:DP", ["0/1:2:3", "0/1:2"])])
    assert parsed.defect_counts == {"FORMAT_TOO_MANY_VALUES": 1}
    assert parsed.frame["format_raw"][0] == "GT:DP\t0/1:2:3\t0/1:2"


def test_of_a_key_that_stands_twice_the_first_value_counts() -> None:
    parsed = parse([("C", "GT:DP:DP", ["0/1:2:3"])])
    assert parsed.frame["fmt_DP"].to_list() == [[2]]
    assert parsed.defect_counts == {"FORMAT_KEY_REPEATED": 1}


@pytest.mark.parametrize("samples", [["0/1"], ["0/1", "0/1", "0/1"]])
def test_another_number_of_sample_columns_is_told_by_record(samples: list[str]) -> None:
    parsed = parse([("C", "GT", ["0/1", "0/0"]), ("C", "GT", samples)], n_samples=2)
    assert parsed.wrong_columns.tolist() == [False, True]
    assert calls(parsed) == [[0, 1], [0, 0]]
    assert parsed.frame["gt"].is_null().to_list() == [False, True]


def test_a_selection_leaves_other_keys_out_but_never_gt() -> None:
    parsed = parse([("C", "GT:DP:FT", ["0/1:2:q"])], keys=("DP",))
    assert parsed.frame.columns == ["record_no", "gt", "phased", "fmt_DP", "format_raw"]


def test_local_alleles_stay_as_declared() -> None:
    assert parse([("C,G,T", "LAA", ["1,3", "."])]).frame["fmt_LAA"].to_list() == [[[1, 3], None]]


def test_escapes_are_decoded_once() -> None:
    parsed = parse([("C", "FT:NM", ["a%3Ab:%253A,%2C"])])
    assert parsed.frame["fmt_FT"].to_list() == [["a:b"]]
    assert parsed.frame["fmt_NM"].to_list() == [[["%3A", ","]]]


def _reference(text: str, n_alts: int) -> list[int] | None:
    """An independent reading of a GT text before 4.4: None where it is none."""
    if not re.fullmatch(r"(\d{1,9}|\.)([/|](\d{1,9}|\.))*", text):
        return None
    alleles = [MISSING if part == "." else int(part) for part in re.split(r"[/|]", text)]
    return [allele if allele <= n_alts else MISSING for allele in alleles]


allele = st.one_of(st.integers(0, 12).map(str), st.just("."))
genotype = st.one_of(
    st.tuples(allele, st.sampled_from("/|"), allele).map("".join),
    st.lists(st.tuples(allele, st.sampled_from("/|")), min_size=1, max_size=4).map(
        lambda parts: "".join(a + s for a, s in parts)[:-1]
    ),
    st.text("01./|x", min_size=1, max_size=6),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.lists(genotype, min_size=3, max_size=3)), min_size=1, max_size=5))
def test_any_genotype_text_is_read_as_its_grammar_says(records: list[tuple[int, list[str]]]) -> None:
    parsed = parse([(",".join(["C"] * n) or ".", "GT", samples) for n, samples in records])
    summary = parsed.summary_frame()
    row = 0
    for record, (n_alts, samples) in enumerate(records):
        expected = [_reference(text, n_alts) for text in samples]
        assert calls(parsed, record) == [[MISSING] if call is None else call for call in expected]
        alleles = [a for call in expected if call for a in call if a >= 0]
        for alt in range(1, max(n_alts, 1) + 1):
            assert summary["an"][row] == len(alleles)
            assert summary["ac"][row] == (alleles.count(alt) if n_alts else 0)
            assert summary["n_called"][row] == sum(call is not None and MISSING not in call for call in expected)
            row += 1


def test_a_call_wider_than_any_ploidy_we_hold_is_malformed() -> None:
    widest = "/".join(["1"] * WIDEST_PLOIDY)
    parsed = parse([("C", "GT", [widest, f"{widest}/1"])])
    assert calls(parsed) == [[1] * WIDEST_PLOIDY, [MISSING]]
    assert parsed.defect_counts == {"GT_MALFORMED": 1}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([".", "C", "C,G", "<DEL>"]),
            st.lists(st.sampled_from([*DECLARED, "ZZ", ""]), max_size=6).map(":".join),
            st.lists(st.text("01.:,/|%-e \tñ", max_size=12), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_text_breaks_the_shape_of_the_frame(records: list[tuple[str, str, list[str]]]) -> None:
    n_samples = len(records[0][2])
    parsed = parse(records, n_samples=n_samples)
    right = ["\t".join(samples).count("\t") + 1 == n_samples for _, _, samples in records]
    assert (~parsed.wrong_columns).tolist() == right
    assert parsed.frame.height == len(records)
    for name in parsed.frame.columns:
        if name.startswith("fmt_") or name == "phased":
            column = parsed.frame[name].to_list()
            assert {len(value) for value in column if value is not None} <= {n_samples}
            assert all(value is None for value, whole in zip(column, right, strict=True) if not whole)
    for record, _, _, text in parsed.defects:
        assert right[record]
        assert isinstance(text, str)
