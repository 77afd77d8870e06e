"""Variants as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.domain.variant_text import Allele, RsId, is_human_contig, parse_variant


@pytest.mark.parametrize(
    "text",
    [
        "17-43093464-C-T",
        "chr17-43093464-c-t",
        "chr17:43093464 C>T",
        "17:43093464:C:T",
        "17:43,093,464 C/T",
        "17:g.43093464C>T",
        "  Chr17 43093464 C T ",
        "17_43093464_C_T",
    ],
)
def test_every_usual_spelling_is_the_same_allele(text: str) -> None:
    assert parse_variant(text) == Allele("17", 43093464, "C", "T")


def test_rsids_mitochondria_and_indels_are_read() -> None:
    assert parse_variant("RS80357382") == RsId("rs80357382")
    assert parse_variant("chrM:8993 T>G") == Allele("M", 8993, "T", "G")
    assert parse_variant("MT-8993-T-G") == Allele("M", 8993, "T", "G")
    assert parse_variant("17-43057062-T-TG").text == "17-43057062-T-TG"


@pytest.mark.parametrize(
    ("text", "allele"),
    [
        ("NC_000017.11:g.43093464C>T", Allele("17", 43093464, "C", "T", "GRCh38")),
        ("nc_000017.10-43093464-C-T", Allele("17", 43093464, "C", "T", "GRCh37")),
        ("NC_000023.11:5 C>T", Allele("X", 5, "C", "T", "GRCh38")),
        ("NC_012920.1:8993 T>G", Allele("M", 8993, "T", "G", None)),
        ("NC_000017.12:5 C>T", Allele("NC_000017.12", 5, "C", "T", None)),
    ],
)
def test_an_accession_names_contig_and_assembly(text: str, allele: Allele) -> None:
    assert parse_variant(text) == allele


def test_contigs_of_human_assemblies_are_told_from_slips() -> None:
    for contig in ("1", "22", "X", "M", "GL000192.1", "Un_KI270302v1", "1_KI270706v1_random", "NT_113930.1", "hs37d5"):
        assert is_human_contig(contig), contig
    for contig in ("0", "23", "99", "XY", "NC_000017.12", "scaffold_3", "117"):
        assert not is_human_contig(contig), contig


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("17-43093464", "without REF and ALT"),
        ("17-0-C-T", "the first base is 1"),
        ("17-5-C-C", "both C"),
        ("17-5-C-<DEL>", "BAD_VARIANT"),
        ("17:43057062 T>.", "ALT '.'"),
        ("17-5-C-Q", "ALT 'Q'"),
        ("BRCA1", "BAD_VARIANT"),
        ("rs", "BAD_VARIANT"),
        ("", "BAD_VARIANT"),
        ("17-5-C-T\x1b[2J", "BAD_VARIANT"),
        ("x" * 3000, "3,000 characters"),
    ],
)
def test_what_is_wrong_with_another_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_variant(text)
    assert said in str(caught.value)


alleles = st.builds(
    Allele,
    st.sampled_from(["1", "17", "X", "Y", "M", "GL000192.1"]),
    st.integers(1, 2**31 - 1),
    st.text("ACGTN", min_size=1, max_size=30),
    st.text("ACGTN", min_size=1, max_size=30),
).filter(lambda allele: allele.ref != allele.alt)


@settings(max_examples=150, deadline=None)
@given(alleles)
def test_what_is_written_is_read_back(allele: Allele) -> None:
    assert parse_variant(allele.text) == allele
    assert parse_variant(f"chr{allele.contig}:{allele.pos:,} {allele.ref.lower()}>{allele.alt}") == allele


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_variant(text)
    except UsageError:
        return
    assert isinstance(found, RsId) or found.pos >= 1
