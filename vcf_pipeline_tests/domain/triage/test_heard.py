"""Whose word prevails where registered sources, the file and its annotation differ; and what each is cited by."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.domain.triage.evidence import with_evidence
from vcf_pipeline.domain.triage.presets import PRESETS, Voice
from vcf_pipeline.domain.triage.tiers import triaged
from vcf_pipeline_tests.domain.triage.rows import ONE_STAR, TWO_STARS, allele

CLINVAR = Voice("clinvar", "v1", "vcf", PRESETS["clinvar"])
GNOMAD = Voice("gnomad", "v4", "vcf", PRESETS["gnomad"])
HOUSE = Voice("house", "h1", "vcf", PRESETS["cohort"])
GENES = Voice("genes", "g1", "gff3", PRESETS["genes"])
PANEL = Voice("panel", "p1", "bed", PRESETS["custom"])
DTYPES = {"AF": pl.Float32, "AF_grpmax": pl.Float32, "AN": pl.Int64, "AN_grpmax": pl.Int64, "is_passing": pl.Boolean}


def heard(voice: Voice, **values: object) -> dict[str, pl.Series]:
    """The voice's columns in a frame of one row; those not named are null."""
    keys = (*voice.preset.fields(), "is_passing") if voice.kind == "vcf" else ("gene", "overlap")
    if voice.has_consequences:
        keys = (*keys, "computed_consequence", "computed_impact", "computed_gene")
    unknown = {
        key: pl.Float32 if key in voice.preset.frequencies else pl.Int64 if key.startswith("AN") else pl.String
        for key in keys
    } | {key: dtype for key, dtype in DTYPES.items() if key in keys}
    return {voice.column(key): pl.Series([values.get(key)], dtype=dtype) for key, dtype in unknown.items()}


def judged(*voices: tuple[Voice, dict[str, pl.Series]], **own: object) -> dict[str, object]:
    frame = allele(**own).with_columns(column.alias(name) for _, columns in voices for name, column in columns.items())
    rows = triaged(frame, has_samples=True, assembly=None, voices=[voice for voice, _ in voices])
    row = rows.row(0, named=True)
    facts = [(fact["source"], fact["key"], fact["value"], fact["version"]) for fact in row["evidence"]]
    return {**row, "facts": facts}


def said_by_clinvar(significance: str, review: str = "criteria_provided,_multiple_submitters,_no_conflicts", **more):
    return (CLINVAR, heard(CLINVAR, CLNSIG=significance, CLNREVSTAT=review, **more))


def test_a_source_speaks_before_the_file_and_both_are_cited():
    row = judged(
        said_by_clinvar("Pathogenic", CLNDN="Long_QT_syndrome"),
        info_CLNSIG=["Benign"],
        info_CLNREVSTAT=TWO_STARS,
        info_CLNDN=["Nothing_at_all"],
    )
    assert (row["tier"], row["significance"], row["conditions"]) == (1, "pathogenic", ["Long QT syndrome"])
    assert ("clinvar", "CLNSIG", "Pathogenic", "v1") in row["facts"]
    assert ("INFO", "CLNSIG", "Benign", None) in row["facts"]


def test_clinvar_names_the_gene_where_neither_file_nor_gene_model_does():
    clinvar = said_by_clinvar("Pathogenic", GENEINFO="ISG15:9636|AGRN:375790")
    model = (GENES, heard(GENES, gene="HES4"))
    assert judged(clinvar)["gene"] == "ISG15"
    assert judged(clinvar, model)["gene"] == "HES4"
    assert judged(clinvar, gene="SAMD11")["gene"] == "SAMD11"


def test_a_source_without_a_record_leaves_the_word_to_the_file():
    row = judged((CLINVAR, heard(CLINVAR)), info_CLNSIG=["Benign"], info_CLNREVSTAT=ONE_STAR)
    assert (row["significance"], row["stars"]) == ("benign", 1)


@pytest.mark.parametrize("silent", ["not_provided", "no_classification_for_the_single_variant"])
def test_a_source_that_states_nothing_hides_no_claim_of_the_file(silent):
    row = judged(said_by_clinvar(silent), info_CLNSIG=["Pathogenic"], info_CLNREVSTAT=TWO_STARS)
    assert row["tier"] == 1


def test_without_a_claim_in_info_the_annotations_word_is_heard_after_a_source():
    annotated = {"consequence_clin_sig": ["pathogenic"]}
    assert judged((CLINVAR, heard(CLINVAR)), **annotated)["significance"] == "pathogenic"
    row = judged(said_by_clinvar("Benign"), **annotated)
    assert row["significance"] == "benign"
    assert ("annotation", "CLIN_SIG", "pathogenic", None) in row["facts"]


def test_of_two_sources_the_first_by_name_prevails_and_both_are_cited():
    other = Voice("lab", "x", "vcf", PRESETS["clinvar"])
    row = judged(said_by_clinvar("Benign"), (other, heard(other, CLNSIG="Pathogenic")))
    assert row["significance"] == "benign"
    assert ("lab", "CLNSIG", "Pathogenic", "x") in row["facts"]


def test_a_source_says_where_submitters_conflict_by_its_own_detail():
    row = judged(said_by_clinvar("Conflicting_classifications_of_pathogenicity", CLNSIGCONF="Pathogenic(1)|Benign(2)"))
    assert (row["tier"], row["reasons"]) == (2, ["clinvar_conflicting"])


def test_the_largest_frequency_that_counts_is_taken_and_each_is_cited():
    gnomad = heard(GNOMAD, AF=0.001, AN=150_000, AF_grpmax=0.06, AN_grpmax=9_000, is_passing=True, nhomalt="3")
    row = judged((GNOMAD, gnomad), info_EXACAF=0.01)
    assert round(row["population_af"], 4) == 0.06
    assert row["reasons"] == ["ba1_common"]
    assert ("gnomad", "AF_grpmax", "0.06", "v4") in row["facts"]
    assert ("gnomad", "nhomalt", "3", "v4") in row["facts"]
    assert ("INFO", "EXACAF", "0.01", None) in row["facts"]


def test_a_frequency_of_too_few_alleles_or_of_a_filtered_record_is_shown_and_does_not_count():
    few = judged((GNOMAD, heard(GNOMAD, AF=0.2, AN=150, is_passing=True)))
    filtered = judged((GNOMAD, heard(GNOMAD, AF=0.2, AN=150_000, is_passing=False)))
    for row in (few, filtered):
        assert (row["population_af"], row["tier"]) == (None, None)
        assert ("gnomad", "AF_not_counted", "0.2", "v4") in row["facts"]


@pytest.mark.parametrize(("an", "counts"), [(1_999, False), (2_000, True), (None, False)])
def test_a_lab_s_own_cohort_counts_from_two_thousand_alleles_on(an, counts):
    row = judged((HOUSE, heard(HOUSE, AF=0.2, AN=an, AC="400", is_passing=True)))
    assert (row["population_af"] is not None) == counts
    assert ("house", "AF" if counts else "AF_not_counted", "0.2", "h1") in row["facts"]
    assert (("house", "AN", str(an), "h1") in row["facts"]) == (an is not None)


def test_a_gene_model_names_the_gene_only_where_the_file_does_not():
    model = (GENES, heard(GENES, gene="AGRN", overlap="AGRN, AS1"))
    row = judged(model)
    assert row["gene"] == "AGRN"
    assert row["facts"] == [("genes", "gene", "AGRN, AS1", "g1")]
    own = judged(model, gene="ISG15", consequence="missense_variant", impact="MODERATE")
    assert own["gene"] == "ISG15"
    assert not any(fact[0] == "genes" for fact in own["facts"])


def test_intervals_are_shown_and_no_rule_looks_at_them():
    row = judged((PANEL, heard(PANEL, gene="x", overlap="cardiac panel")))
    assert (row["tier"], row["gene"], row["reasons"]) == (None, None, ["no_evidence"])
    assert row["facts"] == [("panel", "overlap", "cardiac panel", "p1")]


def test_computed_consequences_weigh_as_the_files_own_do():
    computing = Voice("genes", "g1", "gff3", PRESETS["genes"], has_consequences=True)
    values = {"computed_consequence": "stop_gained", "computed_impact": "HIGH", "computed_gene": "AGRN", "gene": "X"}
    row = judged((computing, heard(computing, **values)))
    assert (row["tier"], row["gene"], row["consequence"]) == (2, "AGRN", "stop_gained")
    assert ("genes", "consequence", "stop_gained", "g1") in row["facts"]


def test_a_key_in_doubt_is_a_note_that_changes_no_tier():
    for own in ({}, {"impact": "HIGH"}):
        frame = allele(**own)
        before = triaged(frame, has_samples=True, assembly=None)
        after = triaged(frame.with_columns(is_key_in_doubt=pl.lit(True)), has_samples=True, assembly=None)
        assert after["tier"].to_list() == before["tier"].to_list()
        assert after["reasons"].item().to_list() == [*before["reasons"].item().to_list(), "key_not_normalised"]


def test_without_voices_nothing_of_a_source_is_said():
    facts = with_evidence(allele(info_CLNSIG=["Benign"]), has_samples=True)["evidence"].item().to_list()
    assert {fact["version"] for fact in facts} == {None}
