"""`topology`: what a person and a script see of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vcf_pipeline.domain.stream.topics import TOPOLOGY
from vcf_pipeline_tests.cli.conftest import Cli


def test_topics_are_missing_then_made_then_as_they_should_be(cli: Cli) -> None:
    before = cli("topology", "diff", "--json")
    assert before.code == 1
    assert {record["state"] for record in before.records} == {"missing"}
    made = cli("topology", "apply", "--json")
    assert [record["topic"] for record in made.records] == [record["topic"] for record in before.records]
    assert {record["changed"] for record in made.records} == {"created"}
    again = cli("topology", "apply")
    assert (again.code, again.out) == (0, "")
    assert "nothing to do" in again.err
    assert cli("topology", "diff").code == 0
    shown = {record["topic"]: record for record in cli("topology", "show", "--json").records}
    assert shown["default.vcf-variants"]["partitions"] == 10
    assert shown["vcf-callsets"]["retention_s"] == 30 * 86_400
    assert {record["state"] for record in shown.values()} == {"same"}


def test_each_tenant_has_its_data_topic(cli: Cli) -> None:
    cli("topology", "apply")
    (record,) = cli("topology", "diff", "--tenant", "lab-b", "--json").records
    assert (record["topic"], record["state"]) == ("lab-b.vcf-variants", "missing")
    ended = cli("topology", "show", "--tenant", "No_Name")
    assert ended.code == 2


def test_shrinking_is_refused_in_one_line_and_nothing_is_changed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("topology", "apply")
    rule = TOPOLOGY["vcf-callsets"]
    monkeypatch.setitem(TOPOLOGY, "vcf-callsets", replace(rule, partitions=1))
    ended = cli("topology", "apply", "--tenant", "lab-b")
    assert (ended.code, ended.out) == (1, "")
    assert "vcf-callsets has 3 partitions, and the topology has 1 (TOPOLOGY_REFUSED)" in ended.err
    assert "larger" in cli("topology", "show").out
    monkeypatch.setitem(TOPOLOGY, "vcf-callsets", rule)
    (record,) = cli("topology", "diff", "--tenant", "lab-b", "--json").records
    assert record["state"] == "missing"
