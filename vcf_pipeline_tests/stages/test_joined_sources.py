"""What triage hears of sources: the alleles that bcftools finds too, whatever order, names and sizes they have."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.complete import stale_assets
from vcf_pipeline.stages.joined_sources import joined_sources
from vcf_pipeline.stages.sources import effects_of, moves_of
from vcf_pipeline.stages.triage import CLAIMS, tier_moves, triage_alleles
from vcf_pipeline_tests.stages.lab import ONE_STAR, TENANT, Lab, claim
from vcf_pipeline_tests.vcf_text import record

needs_bcftools = pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()


def evidence(lab: Lab, key) -> list[list[tuple[str, str, str]]]:
    return [
        [(fact["source"], fact["key"], fact["value"]) for fact in facts]
        for facts in lab.triaged(key)["evidence"].to_list()
    ]


# --- the join


def made_alleles(draw: random.Random, n: int) -> list[tuple[str, int, str, str]]:
    """SNVs, and insertions and deletions that no other way of writing exists of: their bases differ from the anchor."""
    found = set()
    while len(found) < n:
        contig, pos = draw.choice(["1", "2", "MT"]), draw.randint(1, 3000)
        ref, alt = draw.sample("ACGT", 2)
        kind = draw.random()
        found.add(
            (contig, pos, ref, alt)
            if kind < 0.7
            else (contig, pos, ref, ref + alt)
            if kind < 0.85
            else (contig, pos, ref + alt, ref)
        )
    return sorted(found)


@needs_bcftools
@pytest.mark.parametrize("is_sorted", [True, False])
def test_the_alleles_that_are_found_are_those_bcftools_annotates(tmp_path, is_sorted):
    lab = Lab(tmp_path, run_bytes=1, group_rows=50)
    draw = random.Random(5)
    everything = made_alleles(draw, 1500)
    known, asked = draw.sample(everything, 700), draw.sample(everything, 700)
    lines = ("##contig=<ID=1>", "##contig=<ID=2>", "##contig=<ID=MT>")

    def vcf(name: str, alleles, info) -> Path:
        records = (record(alt, info(at), pos=pos, ref=ref, contig=contig) for at, (contig, pos, ref, alt) in alleles)
        return lab.vcf(name, *records, info=("TAG,1,String", "NO,1,Integer"), lines=lines, assembly=None)

    source = vcf("known.vcf", enumerate(sorted(known)), lambda at: f"TAG=t{at}")
    calls = vcf("calls.vcf", enumerate(sorted(asked)), lambda at: f"NO={at}")
    for path in (source, calls):
        subprocess.run(["bgzip", "-k", str(path)], check=True)
        subprocess.run(["bcftools", "index", f"{path}.gz"], check=True)
    annotated = subprocess.run(
        ["bcftools", "annotate", "-a", f"{source}.gz", "-c", "TAG", f"{calls}.gz"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    expected = {
        tuple(fields[at] for at in (0, 1, 3, 4)): dict(item.split("=") for item in fields[7].split(";")).get("TAG")
        for fields in (line.split("\t") for line in annotated.splitlines() if not line.startswith("#"))
    }
    assert 200 < sum(tag is not None for tag in expected.values()) < 600
    # the source in any order, with other names of the contigs; the callset in any order
    body = [line for line in source.read_text().splitlines(keepends=True) if not line.startswith("#")]
    draw.shuffle(body)
    head = [line for line in source.read_text().splitlines(keepends=True) if line.startswith("#")]
    source.write_text("".join(line for line in head if "contig" not in line) + "".join(f"chr{line}" for line in body))
    lab.add("tags", source, preset="custom", fields=("TAG",), assembly="GRCh38")
    rows = sorted(asked)
    if not is_sorted:
        draw.shuffle(rows)
    callset = lab.parse(vcf("asked.vcf", enumerate(rows), lambda at: f"NO={at}"), assembly="GRCh38", block_bytes=4096)
    lab.triage(callset.key)
    found = [next((value for _, key, value in facts if key == "TAG"), None) for facts in evidence(lab, callset.key)]
    assert found == [expected[contig, str(pos), ref, alt] for contig, pos, ref, alt in rows]
    lab.close()


def test_only_the_row_groups_that_a_frame_touches_are_read(tmp_path):
    lab = Lab(tmp_path, group_rows=100)
    source = lab.clinvar("a.vcf", *(record("T", claim("Benign"), pos=at, ref="C") for at in range(1, 10_001)))
    lab.add("clinvar", source)
    frame = pl.DataFrame(
        {
            "contig": ["chr1"] * 3,
            "pos": [9_950, 120, 5],
            "end": [9_950, 120, 5],
            "variant_type": ["snv"] * 3,
            "variant_key": ["1-9950-C-T", "1-120-C-T", "1-5-C-G"],
        }
    )
    with joined_sources(lab.registered, TENANT, "GRCh38") as (joined, _):
        found = joined.joined(frame)
        assert found["@clinvar/CLNSIG"].to_list() == ["Benign", "Benign", None]
        # 100 groups; that of 5 has the position, so that only a look at all of it tells
        assert joined.groups_read == {"clinvar": 3}
        assert joined.matched == {"clinvar": 2}
        joined.joined(frame.filter(pl.col("pos") > 20_000))
        assert joined.groups_read == {"clinvar": 3}
    lab.close()


def test_rows_that_repeat_an_allele_in_the_callset_stay_as_many(lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("calls.vcf", *[record("T", pos=5, ref="C")] * 3, record("T", pos=5, ref="CA")))
    assert lab.triage(callset.key).tiers == {"1": 3, "2": 0, "3": 0, "4": 0, "unknown": 1}


def test_a_symbolic_allele_overlaps_from_its_position_to_its_end(lab):
    (lab.root / "p.bed").write_text("chr7\t499\t600\tfar\nchr7\t699\t800\tbeyond\n")
    lab.add("panel", lab.root / "p.bed", assembly="GRCh38")
    info = ("END,1,Integer", "SVTYPE,1,String")
    deletion = record("<DEL>", "END=500;SVTYPE=DEL", pos=100, ref="C", contig="7")
    callset = lab.parse(lab.vcf("calls.vcf", deletion, record("T", pos=700, ref="C", contig="7"), info=info))
    lab.triage(callset.key)
    assert evidence(lab, callset.key) == [[("panel", "overlap", "far")], [("panel", "overlap", "beyond")]]


# --- what is not joined


def test_a_source_of_another_assembly_is_not_joined_and_the_manifest_says_why(lab):
    clinvar = lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C"), assembly="GRCh37")
    source = lab.add("clinvar", clinvar).source
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C")))
    report = lab.triage(callset.key)
    assert report.tiers["1"] == 0
    why = "the source is of GRCh37, the callset of GRCh38"
    assert report.manifest.extra["sources_not_used"] == {"clinvar": why}
    assert [one.not_joined for one in effects_of(source, ledger=lab.ledger, tables=lab.tables)] == [why]


def test_a_callset_of_unknown_assembly_is_joined_with_nothing(lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C"), assembly=None))
    report = lab.triage(callset.key)
    assert "assembly is unknown" in report.manifest.extra["sources_not_used"]["clinvar"]
    assert report.tiers["unknown"] == 1


def test_an_indel_that_could_be_written_further_left_and_is_not_found_says_so(lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("C", claim("Pathogenic"), pos=10, ref="CA")))
    calls = lab.vcf(
        "calls.vcf",
        record("C", pos=10, ref="CA"),  # found
        record("A", pos=12, ref="AA"),  # the same deletion in a run of A, further right
        record("G", pos=10, ref="GT"),  # another one, furthest left
    )
    callset = lab.parse(calls)
    lab.triage(callset.key)
    reasons = lab.triaged(callset.key)["reasons"].to_list()
    assert reasons == [["clinvar_pathogenic"], ["no_evidence", "key_not_normalised"], ["no_evidence"]]
    assert lab.triaged(callset.key)["tier"].to_list() == [1, None, None]


def test_an_indel_near_one_of_a_source_that_is_not_left_aligned_says_so(lab):
    report = lab.add("clinvar", lab.clinvar("a.vcf", record("A", claim("Pathogenic"), pos=14, ref="AA")))
    assert "not left-aligned" in report.told[-1]
    callset = lab.parse(lab.vcf("calls.vcf", record("C", pos=10, ref="CA"), record("C", pos=10, ref="CAA")))
    lab.triage(callset.key)
    assert lab.triaged(callset.key)["reasons"].to_list() == [["no_evidence", "key_not_normalised"], ["no_evidence"]]


def test_without_a_source_of_alleles_no_key_is_in_doubt(lab):
    callset = lab.parse(lab.vcf("calls.vcf", record("A", pos=12, ref="AA")))
    lab.triage(callset.key)
    assert lab.triaged(callset.key)["reasons"].to_list() == [["no_evidence"]]


# --- what a changed source does


def test_a_changed_source_makes_the_callset_stale_and_what_moves_is_told_before_and_kept_after(lab):
    lab.add(
        "clinvar",
        lab.clinvar(
            "a.vcf",
            record("T", claim("Uncertain_significance"), pos=5, ref="C"),
            record("T", claim("Benign", ONE_STAR), pos=6, ref="C"),
        ),
    )
    callset = lab.parse(lab.vcf("calls.vcf", *(record("T", pos=at, ref="C") for at in (5, 6, 7))))
    assert lab.triage(callset.key).tiers == {"1": 0, "2": 0, "3": 2, "4": 0, "unknown": 1}
    update = lab.add(
        "clinvar",
        lab.clinvar(
            "b.vcf",
            record("T", claim("Pathogenic"), pos=5, ref="C"),
            record("T", claim("Benign", ONE_STAR), pos=6, ref="C"),
            record("T", claim("Benign"), pos=7, ref="C"),
        ),
        replaces=True,
    )
    thresholds = TriageThresholds()
    stale = stale_assets(callset, ledger=lab.ledger, tables=lab.tables, thresholds=thresholds)
    assert stale == ["triaged_variants", "lancedb_variants", "kuzu_variants"]
    told = pl.concat(
        frame
        for _, frame in moves_of([callset.key], tables=lab.tables, registered=lab.registered, thresholds=thresholds)
    )
    assert lab.triaged(callset.key)["tier"].to_list() == [3, 3, None]
    report = lab.triage(callset.key)
    assert report.moves == 2
    kept = pl.concat(tier_moves(callset.key, lab.tables))
    assert kept.drop("moved_at").equals(told.drop("moved_at"))
    assert kept.select("variant_key", "old_tier", "new_tier").rows() == [("1-5-C-T", 3, 1), ("1-7-C-T", None, 4)]
    first = kept.row(0, named=True)
    assert first["old_evidence"] == ["clinvar CLNSIG=Uncertain_significance"]
    assert first["new_evidence"] == ["clinvar CLNSIG=Pathogenic"]
    assert first["because"] == f"clinvar {update.before.version[:8]} → {update.source.version[:8]}"
    # once more: the history grows, and neither it nor its age is in the digest
    lab.add("clinvar", lab.root / "a.vcf", replaces=True)
    lab.triage(callset.key)
    lab.add("clinvar", lab.root / "b.vcf", replaces=True)
    again = lab.triage(callset.key)
    assert again.digest == report.digest
    assert sum(frame.height for frame in tier_moves(callset.key, lab.tables)) == 6
    assert lab.triage(callset.key).reused


def test_a_source_of_another_assembly_makes_nothing_stale(lab):
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C")))
    lab.triage(callset.key)
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C"), assembly="GRCh37"))
    assert lab.triage(callset.key).reused


def test_an_allele_of_no_callset_is_triaged_with_what_sources_know(lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    from vcf_pipeline_tests.vcf_text import parse

    rows = triage_alleles(
        parse(record("T", pos=5, ref="C")).variants,
        assembly="GRCh38",
        thresholds=TriageThresholds(),
        registered=lab.registered,
        tenant=TENANT,
    )
    assert rows.select("tier", "significance").rows() == [(1, "pathogenic")]


def test_a_consequence_that_clinvar_alone_gave_goes_when_its_record_goes(lab, data):
    lab.add("clinvar", data / "slivar__clinvar_20191007.vcf.gz")
    callset = lab.parse(lab.vcf("calls.vcf", record("A", pos=949422, ref="G"), assembly="GRCh37"))
    lab.triage(callset.key)
    row = lab.triaged(callset.key).row(0, named=True)
    assert (row["tier"], row["consequence"], row["impact"]) == (3, "missense_variant", "MODERATE")
    (fact,) = [fact for fact in row["evidence"] if fact["key"] == "MC"]
    assert (fact["source"], fact["value"]) == ("clinvar", "SO:0001583|missense_variant")
    lab.add("clinvar", lab.clinvar("withdrawn.vcf", assembly="GRCh37"), replaces=True)
    lab.triage(callset.key)
    row = lab.triaged(callset.key).row(0, named=True)
    assert (row["tier"], row["consequence"], row["evidence"]) == (None, None, [])


# --- real files


@pytest.mark.corpus
def test_exac_takes_a_common_missense_of_the_trio_out_of_sight(lab, corpus, data):
    """OR4F5 p.Thr141Ala: nine of ten alleles of ExAC have it, and without a frequency it looked rare."""
    callset = lab.parse(data / "slivar__ashk-trio.vcf.gz")
    before = lab.triage(callset.key)
    lab.add("exac", corpus / "annotated" / "vcfanno__exac.vcf.gz")
    after = lab.triage(callset.key)
    assert (before.tiers["3"], after.tiers["3"], after.moves) == (1695, 1694, 1)
    move = pl.concat(tier_moves(callset.key, lab.tables)).row(0, named=True)
    assert (move["variant_key"], move["gene"], move["old_tier"], move["new_tier"]) == ("1-69511-A-G", "OR4F5", 3, 4)
    assert move["new_reasons"] == ["ba1_common", "filter_not_pass"]
    assert "exac AF=0.894" in move["new_evidence"]


def test_what_the_clinvar_of_2018_claims_of_21_alleles_of_the_trio_is_heard_and_what_that_moves_is_told(lab, data):
    """As `bcftools query` and `comm` count them: 17 benign or likely benign, four of which ClinVar states nothing."""
    callset = lab.parse(data / "slivar__ashk-trio.vcf.gz")
    before = lab.triage(callset.key)
    lab.add("clinvar", data / "macarthur__clinvar_201803.vcf.gz")
    after = lab.triage(callset.key)
    assert [source["matched"] for source in after.manifest.extra["sources"]] == [21]
    assert (before.tiers["3"], after.tiers["3"], after.moves) == (1695, 1701, 6)
    claimed = lab.triaged(callset.key).filter(pl.col("significance").is_not_null())
    assert sorted(claimed["significance"].value_counts().rows()) == [("benign", 17)]
    moves = pl.concat(tier_moves(callset.key, lab.tables))
    assert moves["variant_key"].to_list() == [
        *("1-977570-G-A", "1-978603-CCT-C", "1-981087-A-G", "1-1956362-G-A", "1-1957037-T-C", "1-2337032-C-T")
    ]
    assert set(moves.select("old_tier", "new_tier", pl.col("new_reasons").list.join(" ")).rows()) == {
        (4, 3, "clinvar_benign_weak")
    }
    kept = pl.concat(tier_moves(callset.key, lab.tables, CLAIMS))
    assert set(kept.select("old_tier", "new_tier", pl.col("new_reasons").list.join(" ")).rows()) == {
        (4, 4, "clinvar_benign")
    }
    assert kept.height == 11


def test_the_72_alleles_of_the_clinvar_of_2019_are_in_neither_trio(lab, data):
    """As their keys side by side say (`bcftools query`, `comm`): none of either trio's alleles is among them."""
    lab.add("clinvar", data / "slivar__clinvar_20191007.vcf.gz")
    for name in ("scout__643594.clinical.vcf.gz", "slivar__ashk-trio.vcf.gz"):
        callset = lab.parse(data / name)
        assert [source["matched"] for source in lab.triage(callset.key).manifest.extra["sources"]] == [0]
