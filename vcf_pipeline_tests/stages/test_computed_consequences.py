"""A callset without consequences gets those of a registered gene model; each is checked by hand on a contig of ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.stale_triage import judged_now
from vcf_pipeline_tests.stages.lab import Lab, claim
from vcf_pipeline_tests.vcf_text import record

# ATG AAA TGG TGT GAA TAA at 101-118: Met Lys Trp Cys Glu stop; the rest is no gene
CODING = "ATGAAATGGTGTGAATAA"
SEQUENCE = "A" * 100 + CODING + "C" * 82
GFF = "".join(
    "\t".join(["7", "test", kind, str(start), str(end), ".", "+", phase, attributes]) + "\n"
    for kind, start, end, phase, attributes in [
        ("gene", 91, 140, ".", "ID=gene:ENSG01;Name=MAGE;biotype=protein_coding;gene_id=ENSG01"),
        ("mRNA", 91, 140, ".", "ID=transcript:ENST01;Parent=gene:ENSG01;biotype=protein_coding"),
        ("exon", 91, 140, ".", "Parent=transcript:ENST01"),
        ("five_prime_UTR", 91, 100, ".", "Parent=transcript:ENST01"),
        ("CDS", 101, 118, "0", "Parent=transcript:ENST01"),
        ("three_prime_UTR", 119, 140, ".", "Parent=transcript:ENST01"),
    ]
)
ALLELES = [
    record("A", pos=109, ref="G", contig="chr7"),  # TGG → TGA, the end of Trp
    record("G", pos=104, ref="A", contig="chr7"),  # AAA → GAA, Lys → Glu
    record("G", pos=106, ref="A", contig="chr7"),  # AAA → AAG, Lys both
    record("T", pos=180, ref="C", contig="chr7"),  # beyond the gene
    record("<DEL>", "END=115;SVTYPE=DEL", pos=103, ref="G", contig="chr7"),
]

needs_bcftools = pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    (tmp_path / "genes.gff3").write_text("##gff-version 3\n#!genome-build GRCh38.p14\n" + GFF)
    (tmp_path / "reference.fa").write_text(f">chr1 other\nACGT\n>chr7\n{SEQUENCE}\n")
    yield made
    made.close()


def add_genes(lab: Lab, **more: object) -> None:
    lab.add("genes", lab.root / "genes.gff3", fasta=str(lab.root / "reference.fa"), **more)


def consequences(lab: Lab, path: Path) -> list[tuple[object, ...]]:
    callset = lab.parse(path)
    lab.triage(callset.key)
    rows = lab.triaged(callset.key).sort("record_no")
    return rows.select("consequence", "impact", "gene", "tier").rows()


@needs_bcftools
def test_a_stop_a_missense_and_a_synonymous_one_are_what_the_codons_say(lab: Lab) -> None:
    add_genes(lab)
    found = consequences(lab, lab.vcf("calls.vcf", *sorted(ALLELES, key=lambda line: int(line.split("\t")[1]))))
    # by position: 103 <DEL>, 104, 106, 109, 180
    assert found == [
        (None, None, "MAGE", None),
        ("missense_variant", "MODERATE", "MAGE", 3),
        ("synonymous_variant", "LOW", "MAGE", 4),
        ("stop_gained", "HIGH", "MAGE", 2),
        (None, None, None, None),
    ]


@needs_bcftools
def test_they_are_cited_by_the_gene_model_and_its_version(lab: Lab) -> None:
    add_genes(lab)
    callset = lab.parse(lab.vcf("calls.vcf", ALLELES[0]))
    report = lab.triage(callset.key)
    evidence = lab.triaged(callset.key)["evidence"].explode().struct.unnest()
    source = lab.ledger.source("default", "genes")
    assert evidence.rows() == [
        ("consequence", "stop_gained", "genes", source.version),
        ("impact", "HIGH", "genes", source.version),
    ]
    assert "bcftools csq from genes" in report.manifest.extra["consequences"]
    assert lab.triage(callset.key).reused


@needs_bcftools
def test_a_file_whose_records_are_not_sorted_gets_the_same(lab: Lab) -> None:
    add_genes(lab)
    found = consequences(lab, lab.vcf("calls.vcf", *ALLELES))
    assert [row[0] for row in found] == ["stop_gained", "missense_variant", "synonymous_variant", None, None]


@needs_bcftools
def test_a_file_that_brings_consequences_keeps_them(lab: Lab) -> None:
    add_genes(lab)
    info = "BCSQ=missense|OWN|ENST9|protein_coding"
    path = lab.vcf("calls.vcf", record("A", info, pos=109, ref="G", contig="7"), info=("BCSQ,.,String",))
    path.write_text(
        path.read_text().replace('"BCSQ"', '"Consequence annotation. Format: Consequence|gene|transcript|biotype"')
    )
    assert consequences(lab, path) == [("missense_variant", "MODERATE", "OWN", 3)]


@needs_bcftools
def test_what_csq_refuses_is_told_and_triage_goes_on(lab: Lab) -> None:
    add_genes(lab)
    callset = lab.parse(lab.vcf("calls.vcf", record("A", pos=109, ref="T", contig="7")))
    report = lab.triage(callset.key)
    assert report.tiers["unknown"] == 1
    assert "no consequences were computed from genes" in report.manifest.extra["consequences"]
    assert "BCFTOOLS_FAILED" in report.manifest.extra["consequences"]
    assert lab.triage(callset.key).reused


@needs_bcftools
def test_a_reference_that_changed_since_is_not_used(lab: Lab) -> None:
    add_genes(lab)
    (lab.root / "reference.fa").write_text(">chr7\n" + "T" * 200 + "\n")
    callset = lab.parse(lab.vcf("calls.vcf", ALLELES[0]))
    assert "REFERENCE_CHANGED" in lab.triage(callset.key).manifest.extra["consequences"]


def test_without_bcftools_the_report_says_so_and_installing_it_makes_the_triage_stale(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_genes(lab)
    callset = lab.parse(lab.vcf("calls.vcf", ALLELES[0]))
    monkeypatch.setenv("PATH", str(lab.root))
    report = lab.triage(callset.key)
    assert "not installed" in report.manifest.extra["consequences"]
    assert lab.triaged(callset.key).select("gene", "tier").rows() == [("MAGE", None)]
    assert lab.triage(callset.key).reused
    program = lab.root / "bcftools"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    program.chmod(0o755)
    report = lab.triage(callset.key)
    assert not report.reused
    assert "broken" in report.manifest.extra["consequences"]


def test_a_reference_of_other_contigs_is_refused_with_nothing_left(lab: Lab) -> None:
    (lab.root / "reference.fa").write_text(">scaffold_1\nACGT\n")
    with pytest.raises(Exception, match="a FASTA with none of its contigs"):
        add_genes(lab)
    assert lab.ledger.sources("default") == []
    assert list((lab.root / "data").rglob("*.parquet")) == []


def test_only_a_gff3_takes_a_reference(lab: Lab) -> None:
    (lab.root / "regions.bed").write_text("7\t1\t5\n")
    with pytest.raises(Exception, match="a gene model in GFF3"):
        lab.add("regions", lab.root / "regions.bed", assembly="GRCh38", fasta=str(lab.root / "reference.fa"))


def test_genes_lie_where_the_model_says(lab: Lab) -> None:
    add_genes(lab)
    assert lab.rows_of("genes").rows() == [("7", 91, 140, "MAGE", "ENSG01", "protein_coding", "+")]
    assert lab.rows_of("genes").schema["start"] == pl.Int64


@needs_bcftools
def test_an_allele_that_is_judged_again_by_itself_keeps_what_was_computed(lab: Lab) -> None:
    add_genes(lab)
    callset = lab.parse(lab.vcf("calls.vcf", *ALLELES))
    lab.triage(callset.key)
    lab.add("clinvar", lab.clinvar("c.vcf", record("A", claim("Benign"), pos=109, ref="G", contig="7")))
    keys = lab.tables.read("default", callset.callset_id, "parsed_variants", "variants", ["record_no", "variant_key"])
    now = [
        judged_now(
            {"record_no": record_no, "alt_index": 1, "variant_key": variant_key},
            callset.key,
            tables=lab.tables,
            thresholds=TriageThresholds(),
            registered=lab.registered,
        )
        for record_no, variant_key in keys.iter_rows()
    ]
    lab.triage(callset.key)
    assert pl.concat(now).rows() == lab.triaged(callset.key).rows()
    assert pl.concat(now)["consequence"].to_list()[:2] == ["stop_gained", "missense_variant"]
