"""A triage whose sources have changed since: what is said of it, and what one allele would be now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.sources import remove_source
from vcf_pipeline.stages.stale_triage import Stale, judged_now, stale_callsets, stale_triage
from vcf_pipeline_tests.stages.lab import TENANT, Lab, claim
from vcf_pipeline_tests.vcf_text import record


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def key(lab: Lab) -> PartitionKey:
    """A callset of one allele, which ClinVar called pathogenic when it was triaged; FILTER caps it."""
    lab.add("clinvar", lab.clinvar("old.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("patient.vcf", record("T", pos=5, ref="C", filter="LowQual")))
    lab.triage(callset.key)
    return callset.key


def why(lab: Lab, key: PartitionKey, **thresholds: Any) -> Stale | None:
    return stale_triage(
        key, tables=lab.tables, thresholds=TriageThresholds(**thresholds), sources=lab.ledger.sources(TENANT)
    )


def change(lab: Lab) -> None:
    lab.add("clinvar", lab.clinvar("new.vcf", record("T", claim("Benign"), pos=5, ref="C")), replaces=True)


def test_a_triage_of_now_is_not_stale(lab: Lab, key: PartitionKey) -> None:
    assert why(lab, key) is None
    assert why(lab, PartitionKey(TENANT, "f" * 16)) is None


def test_a_changed_source_is_named_with_its_versions_and_since_when(lab: Lab, key: PartitionKey) -> None:
    before = lab.ledger.source(TENANT, "clinvar")
    change(lab)
    now = lab.ledger.source(TENANT, "clinvar")
    stale = why(lab, key)
    assert stale is not None
    assert (stale.names, stale.since) == (("clinvar",), now.updated_at)
    assert stale.because == f"clinvar {before.version[:8]} → {now.version[:8]}"
    assert str(stale).startswith("judged before clinvar changed (since 20")
    found = stale_callsets(
        TENANT, [key.callset_id, "f" * 16], ledger=lab.ledger, tables=lab.tables, thresholds=TriageThresholds()
    )
    assert found == {key.callset_id: stale}


def test_a_source_that_came_or_went_and_other_thresholds_are_told_too(lab: Lab, key: PartitionKey) -> None:
    lab.add(
        "panel",
        lab.vcf("panel.vcf", record("T", "X=1", pos=5, ref="C"), info=("X,1,String",)),
        fields=("X",),
        preset="custom",
    )
    remove_source("clinvar", tenant=TENANT, ledger=lab.ledger, tables=lab.source_tables)
    stale = why(lab, key, min_qual=99.0)
    assert stale is not None
    assert stale.names == ("clinvar", "panel", "thresholds")
    assert "→ none" in stale.because
    assert stale.since == lab.ledger.source(TENANT, "panel").updated_at


def test_one_allele_is_judged_as_the_next_triage_will_judge_it(lab: Lab, key: PartitionKey) -> None:
    change(lab)
    allele = {"record_no": 0, "alt_index": 1, "variant_key": "1-5-C-T"}
    how: dict[str, Any] = {"tables": lab.tables, "thresholds": TriageThresholds(), "registered": lab.registered}
    now = judged_now(allele, key, **how)
    assert lab.triaged(key)["tier"].to_list() == [2]
    lab.triage(key)
    assert now.equals(lab.triaged(key))
    assert now["tier"].to_list() == [4]
    assert judged_now({**allele, "variant_key": "1-5-C-G"}, key, **how).is_empty()
