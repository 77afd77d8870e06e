"""What is read of ClinVar's molecular consequence, when it is heard, and how it is cited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vcf_pipeline.domain.triage.presets import PRESETS
from vcf_pipeline.domain.triage.quoted_consequences import CLINVARS_WORDS, quoted_term
from vcf_pipeline.domain.vcf.so_terms import RANK
from vcf_pipeline_tests.domain.triage.test_heard import CLINVAR, GENES, heard, judged, said_by_clinvar

MISSENSE = "SO:0001583|missense_variant"


@pytest.mark.parametrize(
    ("text", "term"),
    [
        (MISSENSE, "missense_variant"),
        ("SO:0001587|nonsense", "stop_gained"),
        (f"SO:0001627|intron_variant,{MISSENSE}", "missense_variant"),
        ("NM_001170535.2:c.283-3C>T:intron_variant|NM_018188.4:c.424C>T:nonsense", "stop_gained"),
        ("NR_033183.1:n.198C>A:non-coding_transcript_variant", "non_coding_transcript_variant"),
        ("SO:0001582|initiatior_codon_variant", "start_lost"),
        ("SO:0002073|no_sequence_alteration", None),
        ("17", None),
        ("", None),
    ],
)
def test_the_worst_term_that_is_known_is_read(text: str, term: str | None) -> None:
    assert quoted_term(text) == term


def test_every_word_of_clinvar_stands_for_a_term_that_has_a_rank() -> None:
    assert set(CLINVARS_WORDS.values()) <= set(RANK)


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ({"info_MC": ["SO:0001627|intron_variant", MISSENSE]}, "MC"),
        ({"info_clinvar_MC": MISSENSE}, "clinvar_MC"),
        ({"info_MOLECULAR_CONSEQUENCE": "NM_1.2:c.4C>T:missense_variant"}, "MOLECULAR_CONSEQUENCE"),
    ],
)
def test_the_files_own_is_heard_and_cited_by_its_key(columns: dict[str, object], key: str) -> None:
    row = judged(**columns)
    assert (row["tier"], row["reasons"]) == (3, ["missense_rare"])
    assert (row["consequence"], row["impact"]) == ("missense_variant", "MODERATE")
    assert [fact[:2] for fact in row["facts"]] == [("INFO", key), ("INFO", "consequence"), ("INFO", "impact")]


def test_a_registered_clinvar_gives_it_whether_or_not_it_claims_something() -> None:
    for clinvar in (said_by_clinvar("Benign", MC=MISSENSE), said_by_clinvar("not_provided", MC=MISSENSE)):
        row = judged(clinvar)
        assert (row["consequence"], row["impact"]) == ("missense_variant", "MODERATE")
        assert ("clinvar", "MC", MISSENSE, "v1") in row["facts"]
        assert ("clinvar", "consequence", "missense_variant", "v1") in row["facts"]
    assert (row["tier"], row["significance"]) == (3, None)


def test_it_is_the_last_resort_behind_annotation_gene_model_and_the_file_itself() -> None:
    clinvar = said_by_clinvar("Uncertain_significance", MC=MISSENSE)
    annotated = judged(clinvar, consequence="intron_variant", impact="MODIFIER")
    assert (annotated["consequence"], annotated["impact"]) == ("intron_variant", "MODIFIER")
    assert "MC" not in [key for _, key, *_ in annotated["facts"]]
    computing = replace(GENES, has_consequences=True)
    model = heard(computing, computed_consequence="stop_gained", computed_impact="HIGH")
    computed = judged(clinvar, (computing, model))
    assert (computed["consequence"], computed["impact"]) == ("stop_gained", "HIGH")
    own = judged(clinvar, info_MC=["SO:0001587|nonsense"])
    assert ("INFO", "MC", "SO:0001587|nonsense", None) in own["facts"]
    assert own["consequence"] == "stop_gained"


def test_beside_a_gene_model_that_computed_nothing_it_is_cited_as_clinvars() -> None:
    computing = replace(GENES, has_consequences=True)
    row = judged(said_by_clinvar("Benign", MC=MISSENSE), (computing, heard(computing)))
    assert ("clinvar", "consequence", "missense_variant", "v1") in row["facts"]
    assert "genes" not in [source for source, *_ in row["facts"]]


def test_an_impact_without_a_consequence_is_left_alone() -> None:
    row = judged(said_by_clinvar("Benign", MC=MISSENSE), impact="HIGH")
    assert (row["consequence"], row["impact"]) == (None, "HIGH")


def test_a_source_from_before_it_was_kept_says_nothing() -> None:
    assert PRESETS["clinvar"].consequence == "MC"
    columns = heard(CLINVAR, CLNSIG="Benign")
    del columns[CLINVAR.column("MC")]
    assert judged((CLINVAR, columns))["consequence"] is None
