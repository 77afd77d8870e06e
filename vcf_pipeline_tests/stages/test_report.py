"""What a report says: of the triage and the explanations as they are, and how much it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vcf_pipeline.domain.errors import UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.schemas import TIER_MOVES
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.report import TRIAGED, report_of
from vcf_pipeline.stages.report_page import page
from vcf_pipeline_tests.stages.lab import Lab, claim
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl
from vcf_pipeline_tests.stages.made_report import explain, put_hostile, told
from vcf_pipeline_tests.vcf_text import record


@pytest.fixture
def control(tmp_path: Path) -> Iterator[MadeControl]:
    made = MadeControl(tmp_path)
    yield made
    made.close()


def test_tiers_reasons_doubts_and_who_carries_what(control: MadeControl) -> None:
    report = told(control, put_hostile(control))
    assert report.tiers == {"1": 4, "2": 4, "3": 4, "4": 4, "unknown": 4}
    assert {tier: len(alleles) for tier, alleles in report.alleles.items()} == {1: 4, 2: 4, 3: 4}
    assert [(code, count) for code, _, count in report.doubts] == [("filter_not_pass", 20)]
    assert {code: count for code, _, count in report.reasons}["clinvar_pathogenic"] == 20
    first = report.alleles[1][0]
    assert first["calls"] == [("anna", "het"), ("bert", "hom")]
    assert (first["answer"]["disagrees"], first["answer"]["provider"]) == (True, "openai")
    assert report.n_moves == 1


def test_how_many_have_a_population_frequency_is_counted_for_all_and_for_each_reason(control: MadeControl) -> None:
    report = told(control, put_hostile(control))
    assert report.n_with_frequency == 14
    assert report.without_frequency["clinvar_pathogenic"] == 6


def test_moves_and_changed_claims_are_told_up_to_a_bound_and_counted_in_all(
    control: MadeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = put_hostile(control)
    triaged = control.tables.read(TENANT, key.callset_id, TRIAGED, "triaged")
    move = {**dict.fromkeys(TIER_MOVES), "moved_at": "2026-11-01", "old_tier": 2}
    tables = {
        "tier_moves": [{**move, "record_no": at, "new_tier": 4 if at else 1} for at in range(5)],
        "claim_changes": [{**move, "record_no": at, "new_tier": 2} for at in range(3)],
    }
    facts = {"extra": {"tiers": {}}}
    frames = {name: pl.DataFrame(rows, schema=TIER_MOVES) for name, rows in tables.items()}
    control.write(key, TRIAGED, {"triaged": triaged, **frames}, facts)
    monkeypatch.setattr("vcf_pipeline.stages.report.MOST_LISTED", 2)
    report = told(control, key)
    assert (report.n_moves, report.n_claims) == (5, 3)
    assert [(move["record_no"], move["new_tier"]) for move in report.moves] == [(0, 1), (1, 4)]
    assert len(report.claims) == 2


def test_the_limit_holds_for_each_tier_and_the_claimed_come_first(control: MadeControl) -> None:
    report = told(control, put_hostile(control), limit=2)
    assert report.n_shown == 6
    assert [allele["record_no"] for allele in report.alleles[1]] == [0, 5]


def test_explanations_of_an_older_triage_are_left_out_and_said(control: MadeControl) -> None:
    key = put_hostile(control)
    put_hostile(control, 21, is_explained=False)
    report = told(control, key)
    assert report.annotated is None
    assert report.is_outdated
    assert all(allele["answer"] is None for allele in report.alleles[1])
    explain(control, key)
    assert told(control, key).annotated is not None


def test_what_is_not_triaged_has_no_report(control: MadeControl) -> None:
    with pytest.raises(UnknownPartition):
        told(control, PartitionKey(TENANT, "f" * 16))


def test_a_callset_of_nothing_has_a_report_of_nothing(control: MadeControl) -> None:
    report = told(control, put_hostile(control, 0, is_explained=False))
    assert sum(report.tiers.values()) == report.n_shown == 0


def test_moves_to_come_are_listed_and_told_to_the_alleles_that_are_shown(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.add("clinvar", lab.clinvar("old.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    key = lab.parse(lab.vcf("patient.vcf", record("T", pos=5, ref="C"), record("G", pos=9, ref="A"))).key
    lab.triage(key)
    how: dict[str, Any] = {"ledger": lab.ledger, "tables": lab.tables, "registered": lab.registered}
    how |= {"thresholds": TriageThresholds(), "generated_at": "2026-11-27 08:00"}
    assert report_of(key, **how).stale is None
    newer = (record("T", claim("Benign"), pos=5, ref="C"), record("G", claim("Pathogenic"), pos=9, ref="A"))
    lab.add("clinvar", lab.clinvar("new.vcf", *newer), replaces=True)
    report = report_of(key, **how)
    assert report.stale is not None
    assert report.stale.names == ("clinvar",)
    assert [(move["variant_key"], move["old_tier"], move["new_tier"]) for move in report.pending] == [
        ("1-9-A-G", None, 1),
        ("1-5-C-T", 1, 4),
    ]
    assert report.n_pending == 2
    assert report.alleles[1][0]["pending_tier"] == 4
    html = " ".join(page(report).split())
    for said in ("Out of date.", "judged before clinvar changed", "2 alleles will change tier", "Will move between"):
        assert said in html
    assert "by the sources of now it is tier 4" in html
    lab.triage(key)
    assert "Out of date" not in page(report_of(key, **how))
    lab.close()
