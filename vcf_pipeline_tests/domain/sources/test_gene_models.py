"""Genes out of GFF3 and GTF of several dialects; what is no such file is refused by its line."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import DefectFound
from vcf_pipeline.domain.sources.gene_models import GeneReader


def genes(kind: str, *blocks: str) -> list[tuple[object, ...]]:
    reader = GeneReader(kind, "genes")
    rows, line = [], 1
    for block in blocks:
        rows += reader.genes(block.encode(), line).rows()
        line += block.count("\n")
    return rows + reader.rest().rows()


def feature(kind: str, attributes: str, start: object = 101, end: object = 200, contig: str = "chr7") -> str:
    return "\t".join([contig, "x", kind, str(start), str(end), ".", "+", ".", attributes]) + "\n"


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [
        ("gff3", "ID=gene:ENSG1;Name=AGRN;biotype=protein_coding;gene_id=ENSG1", ("AGRN", "ENSG1", "protein_coding")),
        ("gff3", "ID=gene-AGRN;Dbxref=GeneID:375790;Name=AGRN;gene_biotype=lncRNA", ("AGRN", "gene-AGRN", "lncRNA")),
        ("gff3", "ID=ENSG1.5;gene_id=ENSG1.5;gene_type=miRNA;gene_name=MIR1", ("MIR1", "ENSG1.5", "miRNA")),
        ("gff3", "ID=gene:ENSG1;gene_id=ENSG1", ("ENSG1", "ENSG1", None)),
        (
            "gtf",
            'gene_id "ENSG1"; gene_name "AGRN"; gene_biotype "protein_coding";',
            ("AGRN", "ENSG1", "protein_coding"),
        ),
        ("gtf", 'gene_id "AGRN"; transcript_id ""; gene "AGRN"; gene_type "lncRNA";', ("AGRN", "AGRN", "lncRNA")),
    ],
)
def test_a_gene_has_symbol_id_and_biotype_in_every_dialect(kind, attributes, expected):
    assert genes(kind, feature("gene", attributes)) == [("7", 101, 200, *expected, "+")]


def test_genes_of_an_ensembl_gff3_are_of_three_types_and_nothing_else_is_one():
    lines = [
        feature(kind, f"ID=gene:{kind};Name={kind}") for kind in ("gene", "ncRNA_gene", "pseudogene", "exon", "mRNA")
    ]
    assert [row[3] for row in genes("gff3", *lines)] == ["gene", "ncRNA_gene", "pseudogene"]


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12))
def test_what_is_percent_encoded_comes_back(name):
    found = genes("gff3", feature("gene", f"ID=g1;Name={quote(name, safe='')}"))[0][3]
    assert found == name


def test_what_follows_fasta_is_not_read_in_this_block_or_a_later_one():
    text = feature("gene", "ID=a;Name=A") + "##FASTA\n>chr7\nACGT\n"
    assert [row[3] for row in genes("gff3", text, "no feature at all\n")] == ["A"]


def test_a_gtf_without_genes_has_them_put_together_across_blocks():
    parts = [
        feature("exon", 'gene_id "G1"; transcript_id "T1";', 300, 400),
        feature("CDS", 'gene_id "G1"; transcript_id "T1";', 310, 390),
        feature("exon", 'gene_id "G1"; transcript_id "T1";', 100, 120),
        feature("exon", 'gene_id "G1"; transcript_id "T9";', 5, 9, contig="chrX"),
    ]
    assert [row[:4] for row in genes("gtf", *parts)] == [("7", 100, 400, "G1"), ("X", 5, 9, "G1")]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("chr7\tx\tgene\t1\t2\n", "WRONG_COLUMN_COUNT", "expected 9 columns"),
        (feature("gene", "ID=a").replace("\n", "\textra\n"), "WRONG_COLUMN_COUNT", "got 10"),
        (feature("gene", "ID=a", start="here"), "BAD_POSITION", "'here'"),
        (feature("gene", "ID=a", start=0), "BAD_POSITION", "from 1"),
        (feature("gene", "ID=a", start=201), "END_BEFORE_START", "200 after a start of 201"),
        (feature("gene", "ID=a", end=2**60), "BAD_POSITION", "whole number"),
    ],
)
def test_a_line_that_is_no_feature_is_refused_by_its_number(line, code, said):
    with pytest.raises(DefectFound, match=said) as caught:
        genes("gff3", "##gff-version 3\n\n" + feature("gene", "ID=b"), line)
    assert (caught.value.line, caught.value.code) == (4, code)


def test_bytes_that_are_no_text_are_refused_by_their_line():
    with pytest.raises(DefectFound, match="genes line 8") as caught:
        GeneReader("gff3", "genes").genes(b"##gff-version 3\n\xff\xfe\n", 7)
    assert caught.value.code == "BAD_ENCODING"


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_gives_genes_or_a_defect_with_a_line(text):
    for kind in ("gff3", "gtf"):
        try:
            rows = genes(kind, text)
        except DefectFound as defect:
            assert defect.line >= 1
        else:
            assert all(row[1] <= row[2] and row[3] for row in rows)
