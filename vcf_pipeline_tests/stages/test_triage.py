"""Triage as a stage: what is written, when nothing needs doing, what is left when it cannot go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import Superseded, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.row_ids import row_ids
from vcf_pipeline.domain.tables.schemas import TRIAGED
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.triage import TriageReport, triage_callset
from vcf_pipeline_tests.domain.triage.rows import TWO_STARS, allele, clinvar

KEY = PartitionKey("default", "0123456789abcdef")


class HeldLease:
    """A lease nobody takes away, or one that is lost at the next look."""

    def __init__(self, fence: int = 1, *, lost: bool = False) -> None:
        self.fence, self.lost = fence, lost

    def check(self) -> None:
        if self.lost:
            raise Superseded(where="lease", expected="fence 1", got="fence 2")

    def guard(self, replace: Callable[[], None]) -> None:
        self.check()
        replace()


def parsed(tables: Tables, *frames: pl.DataFrame, fence: int = 1, **says: object) -> None:
    """The tables of a callset with these rows, as the parse stage leaves them."""
    with tables.writer(KEY, "parsed_variants", fence=fence) as writer:
        for frame in frames:
            writer.write("variants", frame)
        fields = {
            **{"label": "rows", "correlation_id": "c", "code_version": "1", "samples": ["S1"]},
            **{"records": sum(f.height for f in frames), "alleles": sum(f.height for f in frames), **says},
        }
        writer.commit(fields, lambda replace: replace())


def parsed_file(tables: Tables, path: Path) -> None:
    with open_reader(str(path), ReaderSettings()) as reader:
        frames = [batch.variants for batch in reader.batches()]
        ids = [row_ids(KEY.tenant, KEY.callset_id, *_numbers(frame)).alias("row_id") for frame in frames]
        rows = [frame.insert_column(0, id_) for frame, id_ in zip(frames, ids, strict=True)]
        parsed(tables, *rows, samples=list(reader.header.samples), assembly=reader.assembly.name)


def _numbers(frame: pl.DataFrame) -> tuple[object, object]:
    return frame["record_no"].to_numpy(), frame["alt_index"].to_numpy()


def triage(tables: Tables, *, fence: int = 1, lost: bool = False, **how: object) -> TriageReport:
    return triage_callset(key=KEY, tables=tables, lease=HeldLease(fence, lost=lost), **how)


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path)


def stored(tables: Tables) -> pl.DataFrame:
    return tables.read(KEY.tenant, KEY.callset_id, "triaged_variants", "triaged")


def test_every_allele_has_a_row_and_the_report_counts_them(tables):
    parsed(tables, clinvar("Pathogenic", TWO_STARS, gene="BRCA1"), allele(record_no=1, impact="HIGH", gene="TP53"))
    report = triage(tables)
    assert report.tiers == {"1": 1, "2": 1, "3": 0, "4": 0, "unknown": 0}
    assert report.top_genes == [("BRCA1", 1), ("TP53", 1)]
    assert not report.reused
    rows = stored(tables)
    assert dict(rows.schema) == dict(pl.DataFrame(schema=TRIAGED).schema)
    assert rows["tier"].to_list() == [1, 2]
    assert report.manifest.settings["thresholds"] == TriageThresholds().as_record()


def test_genes_with_tiers_1_and_2_come_before_those_with_more_of_tier_3(tables):
    vus = [allele(record_no=at, impact="MODERATE", gene="TTN") for at in range(3)]
    parsed(tables, *vus, allele(record_no=3, impact="HIGH", gene="TP53"), allele(record_no=4, gene="MUC4"))
    assert triage(tables).top_genes == [("TP53", 1), ("TTN", 3)]


def test_what_is_current_is_left_and_reported_again(tables):
    parsed(tables, allele(impact="HIGH", gene="TP53"))
    first, second = triage(tables), triage(tables, fence=2)
    assert second.reused
    assert second.manifest == first.manifest
    assert (second.tiers, second.top_genes, second.digest) == (first.tiers, first.top_genes, first.digest)


def test_other_thresholds_other_rows_another_assembly_or_force_write_anew(tables):
    parsed(tables, allele(impact="HIGH", info_gnomAD_AF=0.01))
    assert triage(tables).tiers["3"] == 1
    strict = TriageThresholds(common_af=0.005)
    again = triage(tables, fence=2, thresholds=strict)
    assert (again.reused, again.tiers["4"]) == (False, 1)
    parsed(tables, allele(impact="LOW"), fence=3)
    assert triage(tables, fence=4, thresholds=strict).reused is False
    parsed(tables, allele(impact="LOW"), fence=5, assembly="GRCh38")
    assert triage(tables, fence=6, thresholds=strict).reused is False
    assert triage(tables, fence=7, thresholds=strict).reused is True
    assert triage(tables, fence=8, thresholds=strict, force=True).reused is False


def test_without_parsed_tables_there_is_nothing_to_triage(tables):
    with pytest.raises(UnknownPartition, match="parsed_variants"):
        triage(tables)


def test_a_lost_lease_leaves_the_stored_table_as_it_was(tables):
    parsed(tables, allele(impact="HIGH"))
    before = triage(tables)
    parsed(tables, allele(impact="LOW"), fence=2)
    with pytest.raises(Superseded):
        triage(tables, fence=2, lost=True)
    assert tables.manifest(KEY.tenant, KEY.callset_id, "triaged_variants") == before.manifest
    assert stored(tables)["tier"].to_list() == [2]


def test_a_callset_of_no_records_has_an_empty_table_and_five_tiers(tables):
    parsed(tables, allele().clear())
    assert triage(tables).tiers == {"1": 0, "2": 0, "3": 0, "4": 0, "unknown": 0}
    assert stored(tables).height == 0


def test_progress_counts_up_to_all_alleles(tables):
    parsed(tables, allele(impact="HIGH"), allele(record_no=1))
    seen: list[tuple[int, int]] = []
    triage(tables, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)


def test_the_clinvar_of_2019_falls_into_the_tiers_its_stars_give(tables, data):
    """72 records of two genes: 5 P without two stars, 41 uncertain, 17 weakly and 9 firmly benign or common."""
    parsed_file(tables, data / "slivar__clinvar_20191007.vcf.gz")
    assert triage(tables).tiers == {"1": 0, "2": 5, "3": 58, "4": 9, "unknown": 0}
    reasons = stored(tables)["reasons"].explode().value_counts()
    assert dict(reasons.iter_rows()) == {
        **{"clinvar_pathogenic_weak": 5, "clinvar_vus": 41, "clinvar_benign_weak": 17},
        **{"clinvar_benign": 8, "ba1_common": 2},
        # of its MC: 3 nonsense and frameshift, one of them with a frequency, and 40 missense among P, VUS and B
        **{"lof_candidate": 3, "af_unknown": 2, "rare": 1, "missense_rare": 40},
    }


def test_the_codes_of_2016_in_the_clinical_trio_are_read(tables, data):
    parsed_file(tables, data / "scout__643594.clinical.vcf.gz")
    report = triage(tables)
    assert sum(report.tiers.values()) == 680
    claims = stored(tables).filter(pl.col("significance").is_not_null())
    assert dict(claims["significance"].value_counts().iter_rows()) == {
        **{"benign": 9, "likely_benign": 6, "conflicting": 4},
        **{"pathogenic": 1, "likely_pathogenic": 1, "uncertain": 1},
    }
    assert claims["stars"].max() == 2
