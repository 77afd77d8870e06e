"""Every verb that shows a callset's tiers says when a source has changed since they were given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
from vcf_pipeline.stages.load import load_kuzu, load_lancedb
from vcf_pipeline_tests.stages.lab import Lab, claim
from vcf_pipeline_tests.vcf_text import record


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    """A callset of one allele that ClinVar calls pathogenic, triaged and searchable."""
    home.mkdir()
    made = Lab(home)
    made.add("clinvar", made.clinvar("old.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    callset = made.parse(made.vcf("patient.vcf", record("T", pos=5, ref="C")))
    made.triage(callset.key)
    load_lancedb(key=callset.key, tables=made.tables, ledger=made.ledger, store=LanceVariants(home / "data"))
    yield made
    made.close()


def update(lab: Lab) -> None:
    lab.add("clinvar", lab.clinvar("new.vcf", record("T", claim("Benign"), pos=5, ref="C")), replaces=True)


def test_callsets_show(cli, lab):
    (before,) = cli("callsets", "show", "patient", "--json").records
    assert before["stale"] is None
    update(lab)
    (after,) = cli("callsets", "show", "patient", "--json").records
    assert after["stale"]["changed"] == ["clinvar"]
    assert after["stale"]["since"].endswith(" UTC")
    (line,) = [line for line in cli("callsets", "show", "patient").out.splitlines() if line.startswith("stale")]
    assert "judged before clinvar changed (since 20" in line


def test_query_variants_hints_on_stderr_and_answers_as_before(cli, lab):
    forms = ([], ["--json"], ["--csv"])
    before = [cli("query", "variants", "--tier", "1", *form) for form in forms]
    assert not any("out of date" in done.err for done in before)
    update(lab)
    after = [cli("query", "variants", "--tier", "1", *form) for form in forms]
    assert [done.out for done in after] == [done.out for done in before]
    assert all("out of date: patient (default/" in done.err for done in after)
    assert all("judged before clinvar changed" in done.err for done in after)
    # what the next triage will put there is not found yet: said as well where no row came
    assert "out of date: patient" in cli("query", "variants", "--tier", "4").err


def test_queries_of_words_and_of_the_graph_hint_likewise(cli, lab):
    questions = (["text", "1-5-C-T"], ["graph", "--cypher", "MATCH (c:Callset) RETURN c.key AS callset_id"])
    (callset,) = lab.ledger.callsets("default")
    load_kuzu(
        key=callset.key,
        tables=lab.tables,
        ledger=lab.ledger,
        store=KuzuGraph(lab.root / "data", buffer_pool_bytes=64 << 20),
    )
    before = [cli("query", *words) for words in questions]
    assert not any("out of date" in done.err for done in before)
    update(lab)
    after = [cli("query", *words) for words in questions]
    assert [done.out for done in after] == [done.out for done in before]
    assert all("out of date: patient (default/" in done.err for done in after)


def test_report(cli, lab, tmp_path):
    path = tmp_path / "report.html"
    assert "out of date" not in cli("report", "patient", "-o", path).err
    update(lab)
    done = cli("report", "patient", "-o", path)
    assert "out of date: judged before clinvar changed" in done.err
    assert "1 allele will change tier" in done.err
    assert "Out of date." in path.read_text()
    told = json.loads(cli("report", "patient", "-o", path, "--json").out)
    assert (told["stale"]["changed"], told["moves_pending"]) == (["clinvar"], 1)


def test_annotate_says_what_is_so_now_and_what_the_tables_still_say(cli, lab):
    update(lab)
    done = cli("annotate", "1-5-C-T")
    assert "  tier 4, " in done.out
    assert "as benign" in done.out
    assert "callset patient: tier 4 (clinvar_benign) by the sources of now" in done.out
    assert "its tables still say tier 1 (clinvar_pathogenic): judged before clinvar changed" in done.out
    assert "run it again" in done.out
    told = json.loads(cli("annotate", "1-5-C-T", "--json").out)
    assert told["tier"] == 4
    assert [view["stale"] and view["stale"]["stored"]["tier"] for view in told["views"]] == [None, 1]


def test_annotate_does_not_hide_what_tables_still_say_where_nobody_says_it_now(cli, lab):
    assert cli("sources", "remove", "clinvar").code == 0
    done = cli("annotate", "1-5-C-T")
    assert "Unknown is not benign" in done.out
    assert "callset patient: its tables still say tier 1 (clinvar_pathogenic)" in done.out
