"""alleles.py: kinds, trimming, places and keys of alleles."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline_tests.vcf_text import column, parse, record

SV_INFO = ("END,1,Integer", "SVLEN,A,Integer", "SVTYPE,1,String")


@pytest.mark.parametrize(
    ("ref", "alt", "kind", "key"),
    [
        ("A", "C", "snv", "1-100-A-C"),
        ("AT", "GC", "mnv", "1-100-AT-GC"),
        ("ATG", "ACG", "snv", "1-101-T-C"),
        ("A", "AT", "ins", "1-100-A-AT"),
        ("AT", "A", "del", "1-100-AT-A"),
        ("CAT", "CAAT", "ins", "1-100-C-CA"),
        ("ATT", "AT", "del", "1-100-AT-A"),
        ("AT", "GCC", "indel", "1-100-AT-GCC"),
        ("a", "A", "ref", "1-100-A-A"),
        ("a", "g", "snv", "1-100-A-G"),
        ("AC", "*", "star", "1-100-AC-*"),
        ("A", "<NON_REF>", "nonref", "1-100-NON_REF-100-0"),
        ("A", "<*>", "nonref", "1-100-NON_REF-100-0"),
        ("A", "<DEL>", "sv", "1-100-DEL-100-0"),
        ("G", "G]17:198982]", "bnd", "1-100-G]17:198982]"),
        ("G", "G.", "bnd", "1-100-G."),
        ("A", ".", "ref", None),
    ],
)
def test_an_allele_has_its_kind_and_its_trimmed_key(ref: str, alt: str, kind: str, key: str | None) -> None:
    row = parse(record(alt, ref=ref)).variants.row(0, named=True)
    assert (row["variant_type"], row["variant_key"]) == (kind, key)


@pytest.mark.parametrize(
    ("contig", "bare"),
    [("chr17", "17"), ("17", "17"), ("chrM", "M"), ("MT", "M"), ("chrMT", "M"), ("chr", "chr"), ("GL1", "GL1")],
)
def test_contigs_are_bare_in_keys_and_as_written_in_their_column(contig: str, bare: str) -> None:
    row = parse(record(contig=contig)).variants.row(0, named=True)
    assert (row["contig"], row["variant_key"]) == (contig, f"{bare}-100-A-C")
    assert parse(record("<DEL>", contig=contig)).variants["variant_key"][0].startswith(f"{bare}-100-DEL")


def test_hg19s_chrm_never_meets_rcrs() -> None:
    old = ("##contig=<ID=chrM,length=16571>",)
    assert column("variant_key", record(contig="chrM"), record("<DEL>", contig="chrM"), lines=old) == [
        *("M16571-100-A-C", "M16571-100-DEL-100-0")
    ]


def test_alleles_of_more_than_fifty_bases_are_digests_in_keys() -> None:
    long = "A" + "CG" * 25
    digest = hashlib.blake2b(long.encode(), digest_size=8).hexdigest()
    keys = column("variant_key", record(long.lower()), record("A" + "C" * 49))
    assert keys == [f"1-100-A-51:{digest}", "1-100-A-A" + "C" * 49]


_BASES = st.text("ACGT", min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(_BASES, _BASES, _BASES, _BASES)
def test_shared_bases_on_either_side_do_not_change_a_key(left: str, ref: str, alt: str, right: str) -> None:
    """Trimming is parsimonious: what is left shares no last base unless an allele is a single one."""
    contig, pos, short_ref, short_alt = (
        parse(record(left + alt + right, ref=left + ref + right)).variants["variant_key"][0].split("-")
    )
    assert contig == "1"
    start = int(pos) - 100
    whole_ref, whole_alt = left + ref + right, left + alt + right
    assert whole_ref[start : start + len(short_ref)] == short_ref
    assert whole_alt[:start] + short_alt + whole_ref[start + len(short_ref) :] == whole_alt
    assert min(len(short_ref), len(short_alt)) == 1 or (short_ref[-1] != short_alt[-1] and short_ref[0] != short_alt[0])


@pytest.mark.parametrize(
    ("alt", "info", "end", "svtype", "svlen"),
    [
        ("<DEL>", "END=250;SVLEN=-150;SVTYPE=DEL", 250, "DEL", -150),
        ("<DEL>", "SVLEN=-150", 250, "DEL", -150),
        ("<DUP:TANDEM>", "SVLEN=30", 130, "DUP", 30),
        ("<INS>", "SVLEN=30", 100, "INS", 30),
        ("<NON_REF>", "END=180", 180, None, None),
        ("G]17:198982]", ".", 100, "BND", None),
        ("ACGT", ".", 100, None, None),
        ("<DEL>", "END=50", 100, "DEL", None),
    ],
)
def test_end_comes_from_end_else_svlen_else_ref(
    alt: str, info: str, end: int, svtype: str | None, svlen: int | None
) -> None:
    row = parse(record(alt, info), info=SV_INFO).variants.row(0, named=True)
    assert (row["end"], row["svtype"], row["svlen"]) == (end, svtype, svlen)


def test_an_end_before_pos_is_a_warning() -> None:
    assert parse(record("<DEL>", "END=50"), info=SV_INFO).defect_counts == {"END_BEFORE_POS": 1}


def test_core_places_are_read_when_the_header_declares_nothing() -> None:
    assert column("end", record("<DEL>", "END=300;SVTYPE=DEL")) == [300]


def test_each_allele_has_its_own_svlen() -> None:
    batch = parse(record("<DEL>,<DUP>", "SVLEN=-10,20"), record("<DEL>,<DUP>", "SVLEN=7"), info=SV_INFO)
    assert batch.variants["svlen"].to_list() == [-10, 20, 7, 7]
    assert batch.variants["end"].to_list() == [110, 120, 107, 107]


def test_a_record_with_hundreds_of_alleles_is_as_many_rows() -> None:
    alts = ["A" * size for size in range(2, 400)]
    batch = parse(record(",".join(alts), "AC=" + ",".join(map(str, range(398)))), info=("AC,A,Integer",))
    assert batch.variants["alt"].to_list() == alts
    assert batch.variants["info_AC"].to_list() == list(range(398))
    assert batch.variants["alt_index"].to_list() == list(range(1, 399))
