"""`sources` on the command line: what it says, as text and as JSON lines, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vcf_pipeline.cli.run import heard_lines, heard_record
from vcf_pipeline.defs.launch import RunOutcome
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.stages.lab import Lab, claim
from vcf_pipeline_tests.vcf_text import record


@pytest.fixture
def lab(tmp_path: Path, home: Path):
    """The same home that the command line of this test opens."""
    home.mkdir()
    made = Lab(home)
    made.root = tmp_path
    yield made
    made.close()


def test_a_file_is_registered_listed_and_removed(cli, data):
    clinvar = data / "slivar__clinvar_20191007.vcf.gz"
    added = cli("sources", "add", "clinvar", clinvar)
    assert added.code == 0
    assert "72 rows · clinvar · GRCh37" in added.out
    assert "read as clinvar: its INFO has CLNSIG and CLNREVSTAT" in added.out
    again = cli("sources", "add", "clinvar", clinvar)
    assert (again.code, "nothing to do" in again.out) == (0, True)
    listed = json.loads(cli("sources", "list", "--json").out)
    assert (listed["source"], listed["preset"], listed["rows"], listed["stale"]) == ("clinvar", "clinvar", 72, [])
    assert "GRCh37" in cli("sources", "list").out
    assert "removed: clinvar" in cli("sources", "remove", "clinvar").out
    assert cli("sources", "list", "--json").out == ""


def test_an_update_tells_each_allele_that_moves_with_what_was_and_what_is(cli, lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Uncertain_significance"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C"), record("T", pos=9, ref="C")))
    lab.triage(callset.key)
    newer = lab.clinvar("b.vcf", record("T", claim("Pathogenic"), pos=5, ref="C"))
    done = cli("sources", "update", "clinvar", newer)
    assert done.code == 0
    assert "calls  1-5-C-T: tier 3 → 1 (clinvar_pathogenic)" in done.out
    assert "was: clinvar CLNSIG=Uncertain_significance" in done.out
    assert "now: clinvar CLNSIG=Pathogenic" in done.out
    assert "1 allele will change tier" in done.out
    assert f"stale by it: calls ({callset.key})" in done.out
    assert f"run {lab.root / 'calls.vcf'}" in done.out


def test_an_update_as_json_is_one_line_for_the_source_and_one_for_each_move(cli, lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("calls.vcf", *(record("T", pos=at, ref="C") for at in range(5, 60))))
    lab.triage(callset.key)
    newer = lab.clinvar("b.vcf", *(record("T", claim("Pathogenic"), pos=at, ref="C") for at in range(5, 60)))
    done = cli("sources", "update", "clinvar", newer, "--json")
    head, *moves = [json.loads(line) for line in done.out.splitlines()]
    assert head["stale"] == [str(callset.key)]
    assert head["before"] != head["version"]
    assert len(moves) == 55
    assert moves[0]["moves"]["old_tier"] == 4
    assert moves[1]["moves"]["old_tier"] is None
    assert {move["moves"]["new_tier"] for move in moves} == {1}


def test_a_person_sees_twenty_moves_or_all_or_as_many_as_asked(cli, lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("calls.vcf", *(record("T", pos=at, ref="C") for at in range(5, 30))))
    lab.triage(callset.key)
    for number, (words, shown) in enumerate([([], 20), (["--moves", "all"], 25), (["--moves", "0"], 0)]):
        records = [record("T", claim("Pathogenic"), pos=at, ref="C") for at in range(5, 30 + number)]
        done = cli("sources", "update", "clinvar", lab.clinvar(f"b{number}.vcf", *records), *words)
        assert (done.code, done.out.count(" (clinvar_pathogenic)")) == (0, shown)
        assert "25 alleles will change tier" in done.out
        assert ("--moves all lists them" in done.out) == (shown < 25)
    wrong = cli("sources", "update", "clinvar", lab.clinvar("c.vcf"), "--moves", "many")
    assert (wrong.code, "a number or all" in wrong.err) == (2, True)


def test_a_claim_that_goes_while_the_tier_stays_is_listed_before_and_after_the_run(cli, lab):
    """A loss of function whose pathogenic claim without a star is withdrawn is in tier 2 before and after."""
    weak = claim("Pathogenic", "no_assertion_criteria_provided")
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", weak, pos=5, ref="C")))
    csq = '##INFO=<ID=CSQ,Number=.,Type=String,Description="Format: Allele|Consequence|IMPACT">'
    calls = lab.vcf("calls.vcf", record("T", "CSQ=T|stop_gained|HIGH", pos=5, ref="C"), lines=(csq,))
    callset = lab.parse(calls)
    lab.triage(callset.key)
    done = cli("sources", "update", "clinvar", lab.clinvar("b.vcf", record("T", claim("Benign"), pos=9, ref="C")))
    assert "0 alleles will change tier" in done.out
    assert "calls  1-5-C-T: claim changed, tier 2 kept (lof_candidate, af_unknown)" in done.out
    assert "was: clinvar CLNSIG=Pathogenic" in done.out
    assert "1 allele will keep the tier under another claim" in done.out
    assert lab.triage(callset.key).manifest.extra["claim_changes"] == 1
    told = json.loads(cli("sources", "moves", "calls", "--json").out)
    assert (told["claim_changes"]["old_tier"], told["claim_changes"]["new_tier"]) == (2, 2)
    assert "because: clinvar" in cli("sources", "moves", "calls").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "../x", "a.vcf"), 2, "BAD_SOURCE_NAME"),
        (("add", "clinvar", "there-is-none.vcf"), 3, "NOT_FOUND"),
        (("update", "clinvar", "a.vcf"), 2, "UNKNOWN_SOURCE"),
        (("remove", "clinvar"), 2, "UNKNOWN_SOURCE"),
        (("add", "clinvar", "a.vcf", "--kind", "xml"), 2, "--kind"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(cli, lab, monkeypatch, words, code, said):
    lab.clinvar("a.vcf", record("T", claim("Benign")))
    monkeypatch.chdir(lab.root)
    ended = cli("sources", *words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_missing_assembly_is_asked_for(cli, lab):
    path = lab.clinvar("a.vcf", record("T", claim("Benign")), assembly=None)
    ended = cli("sources", "add", "clinvar", path)
    assert ended.code == 2
    assert "--assembly GRCh37, GRCh38 or T2T-CHM13" in ended.err
    assert cli("sources", "add", "clinvar", path, "--assembly", "GRCh38").code == 0


def test_a_source_of_another_assembly_is_named_in_the_list(cli, lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign")), assembly="GRCh37"))
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C")))
    lab.triage(callset.key)
    listed = cli("sources", "list").out
    assert f"not joined: clinvar with calls ({callset.key}): the source is of GRCh37, the callset of GRCh38" in listed


def test_text_of_a_source_cannot_drive_a_terminal(cli, lab):
    hostile = "Pathogenic\x1b[31m\x07"
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Uncertain_significance"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C")))
    lab.triage(callset.key)
    done = cli("sources", "update", "clinvar", lab.clinvar("b.vcf", record("T", claim(hostile), pos=5, ref="C")))
    assert "\x1b[31m" not in done.out
    assert "\x07" not in done.out
    assert "\\x1b[31m" in done.out


def test_a_run_says_which_sources_were_heard_and_why_another_was_not(lab, home):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    lab.add("old", lab.clinvar("b.vcf", record("T", claim("Benign"), pos=5, ref="C"), assembly="GRCh37"))
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C"), record("T", pos=9, ref="C")))
    lab.triage(callset.key)
    with Control(load_settings({}, home=home)) as control:
        heard = heard_record(control, callset.key)
        outcome = RunOutcome(callset, False, False, None, {}, {}, 0.0)
        lines = heard_lines(control, outcome)
    assert heard["sources"] == {"clinvar": 1}
    assert list(heard["sources_not_used"]) == ["old"]
    assert lines[0].startswith("  sources clinvar knew 1 of")
    assert lines[1] == "  sources old was not used: the source is of GRCh37, the callset of GRCh38"
