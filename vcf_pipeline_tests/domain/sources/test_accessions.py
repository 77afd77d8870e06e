"""RefSeq's names of contigs are bare ones in their own assembly, and strangers in another."""

from __future__ import annotations

import polars as pl

from vcf_pipeline.domain.sources.accessions import BARE_BY_ACCESSION, with_bare_names


def renamed(assembly: str | None, *contigs: str) -> list[tuple[str, str]]:
    frame = pl.DataFrame({"contig": contigs, "variant_key": [f"{contig}-5-A-C" for contig in contigs]})
    return with_bare_names(frame, assembly).rows()


def test_a_chromosome_is_known_by_its_accession_and_version():
    assert renamed("GRCh38", "NC_000001.11", "NC_000023.11", "NC_012920.1") == [
        ("1", "1-5-A-C"),
        ("X", "X-5-A-C"),
        ("M", "M-5-A-C"),
    ]
    assert renamed("GRCh37", "NC_000001.10", "chr2") == [("1", "1-5-A-C"), ("chr2", "chr2-5-A-C")]


def test_the_version_of_another_assembly_stays_a_stranger():
    assert renamed("GRCh38", "NC_000001.10") == [("NC_000001.10", "NC_000001.10-5-A-C")]
    assert renamed(None, "NC_000001.10") == [("NC_000001.10", "NC_000001.10-5-A-C")]


def test_each_assembly_has_all_chromosomes_once_and_no_accession_of_the_other():
    for names in BARE_BY_ACCESSION.values():
        assert sorted(names.values()) == sorted([*map(str, range(1, 23)), "X", "Y", "M"])
    shared = set(BARE_BY_ACCESSION["GRCh37"]) & set(BARE_BY_ACCESSION["GRCh38"])
    assert shared == {"NC_012920.1"}
