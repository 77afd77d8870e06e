"""CSQ, vep, ANN, EFF, BCSQ: the header's order, the allele an entry belongs to, the worst of each allele."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from vcf_pipeline.domain.tables.schemas import CONSEQUENCES
from vcf_pipeline.domain.vcf import so_terms
from vcf_pipeline.domain.vcf.consequences import WORST, consequence_fields, parse_consequences
from vcf_pipeline.domain.vcf.header import Field, Header

VEP = "Consequence annotations from Ensembl VEP. Format: {}"
SNPEFF_ANN = (
    "Functional annotations: 'Allele | Annotation | Annotation_Impact | Gene_Name | Gene_ID | Feature_Type | Feature_ID"
    " | Transcript_BioType | Rank | HGVS.c | HGVS.p | cDNA.pos / cDNA.length | ERRORS / WARNINGS / INFO' "
)
SNPEFF_EFF = (
    "Predicted effects for this variant.Format: 'Effect ( Effect_Impact | Functional_Class | Codon_Change | "
    "Amino_Acid_Change| Amino_Acid_length | Gene_Name | Transcript_BioType | Gene_Coding | Transcript_ID | Exon_Rank | "
    "Genotype_Number [ | ERRORS | WARNINGS ] )' "
)
BCSQ = (
    "Local consequence annotation from BCFtools/csq, see http://samtools.github.io/bcftools/howtos/csq-calling.html "
    "for details. Format: '[*]consequence|gene|transcript|biotype[|strand|amino_acid_change|dna_change]' or, for "
    "consequences of variants split across multiple sites, a pointer to the record storing the consequences "
    "'@position'."
)
SHORT = VEP.format("Allele|Consequence|IMPACT|SYMBOL|Gene|Feature|BIOTYPE|HGVSc|HGVSp|CANONICAL")


def header(**descriptions: str) -> Header:
    return Header(
        text="",
        version="VCFv4.2",
        info={key: Field(key, ".", "String", text) for key, text in descriptions.items()},
    )


def parse(
    records: list[tuple[str, str, str | None]], key: str = "CSQ", description: str = SHORT
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """records: (REF, ALT, value). A row per allele, as batch.py gives them."""
    rows, texts = [], []
    for record_no, (ref, alt, value) in enumerate(records):
        alts = alt.split(",") if alt != "." else [None]
        for place, allele in enumerate(alts, start=1):
            rows.append((record_no, place if allele else 0, 100, ref, allele, len(alts) if allele else 0))
            texts.append(value)
    schema: dict[str, Any] = {"record_no": pl.Int64, "alt_index": pl.Int16, "pos": pl.Int64}
    schema |= {"ref": pl.String, "alt": pl.String, "n_alts": pl.Int32}
    alleles = pl.DataFrame(rows, schema=schema, orient="row")
    text = pl.Series(key, texts, dtype=pl.String)
    return parse_consequences(alleles, {key: text}, consequence_fields(header(**{key: description})))


def test_the_order_of_the_subfields_is_the_headers() -> None:
    other = VEP.format("Gene|SYMBOL|Consequence|Allele")
    table, worst = parse([("A", "C", "ENSG1|BRCA1|missense_variant|C")], description=other)
    assert table.select("gene_id", "gene", "terms").row(0) == ("ENSG1", "BRCA1", ["missense_variant"])
    assert worst.row(0, named=True)["impact"] == "MODERATE"


@pytest.mark.parametrize(
    ("key", "description", "first"),
    [
        ("CSQ", SHORT, ("allele", "consequence", "impact")),
        ("vep", SHORT, ("allele", "consequence", "impact")),
        ("ANN", SNPEFF_ANN, ("allele", "annotation", "annotation_impact")),
        ("EFF", SNPEFF_EFF, ("effect", "effect_impact", "functional_class")),
        ("BCSQ", BCSQ, ("consequence", "gene", "transcript")),
    ],
)
def test_each_tool_names_its_subfields_in_its_own_way(key: str, description: str, first: tuple[str, ...]) -> None:
    (found,) = consequence_fields(header(**{key: description}))
    assert found.names[:3] == first
    assert found.place("transcript") is not None


def test_an_annotation_without_named_subfields_is_left_alone() -> None:
    assert consequence_fields(header(CSQ="some text", DP="depth")) == []


def test_files_without_annotation_get_null_columns() -> None:
    table, worst = parse([("A", "C", None), ("A", "C,G", None)])
    assert table.schema == pl.Schema(CONSEQUENCES)
    assert table.height == 0
    assert worst.schema == pl.Schema(WORST)
    assert worst.null_count().sum_horizontal()[0] == 3 * len(WORST)


@pytest.mark.parametrize(
    ("ref", "alt", "names"),
    [
        ("A", "C,G", ["C", "G"]),
        ("AT", "A,ATT", ["-", "TT"]),  # all share the first base: it is dropped
        ("AT", "A,GT", ["A", "GT"]),  # they do not: nothing is dropped
        ("AT", "GC", ["GC"]),  # no indel
        ("A", "*,AT", ["*", "T"]),
        ("C", "CA,<DEL>", ["A", "deletion"]),
    ],
)
def test_vep_names_an_allele_without_the_base_that_all_share(ref: str, alt: str, names: list[str]) -> None:
    value = ",".join(f"{name}|intron_variant|MODIFIER|G{place}||||||" for place, name in enumerate(names))
    table, worst = parse([(ref, alt, value)])
    assert table["gene"].to_list() == [f"G{place}" for place in range(len(names))]
    assert worst["gene"].to_list() == [f"G{place}" for place in range(len(names))]


def test_an_allele_number_decides_where_there_are_several_alleles() -> None:
    numbered = VEP.format("Allele|Consequence|ALLELE_NUM")
    table, _ = parse([("A", "C,G", "T|stop_gained|2,T|intron_variant|1")], description=numbered)
    assert table.sort("alt_index")["terms"].to_list() == [["intron_variant"], ["stop_gained"]]


def test_a_split_record_takes_only_the_entries_of_the_allele_it_kept() -> None:
    numbered = VEP.format("Allele|Consequence|ALLELE_NUM")
    table, _ = parse([("A", "G", "C|stop_gained|1,G|intron_variant|2")], description=numbered)
    assert table["terms"].to_list() == [["intron_variant"]]


def test_a_lone_allele_takes_entries_whose_name_nobody_knows() -> None:
    table, _ = parse([("A", "C", "weird|intron_variant|||||||"), ("A", "C,G", "weird|intron_variant|||||||")])
    assert table["record_no"].to_list() == [0]


def test_snpeff_names_the_allele_as_alt_has_it() -> None:
    value = "AT|frameshift_variant|HIGH|G1|ENSG1|transcript|ENST1|protein_coding|1/2|c.1dup|p.Ala1fs||"
    value += ",C|intron_variant|MODIFIER|G1|ENSG1|transcript|ENST1|protein_coding|1/2|c.2A>C|||"
    table, worst = parse([("A", "AT,C", value)], "ANN", SNPEFF_ANN)
    assert table.select("transcript", "hgvs_c", "hgvs_p", "biotype").row(0) == (
        "ENST1", "c.1dup", "p.Ala1fs", "protein_coding",
    )  # fmt: skip
    assert worst["consequence"].to_list() == ["frameshift_variant", "intron_variant"]


def test_classic_effects_become_terms_of_the_ontology() -> None:
    value = "NON_SYNONYMOUS_CODING+SPLICE_SITE_REGION(MODERATE|MISSENSE|tGt/tAt|p.Cys9Tyr/c.26G>A|10|G1"
    value += "|protein_coding|CODING|T1|2|1)"
    value += ",INTRON(MODIFIER||||10|G2|protein_coding|CODING|T2||2)"
    table, worst = parse([("A", "C,G", value)], "EFF", SNPEFF_EFF)
    assert table["terms"].to_list() == [["missense_variant", "splice_region_variant"], ["intron_variant"]]
    assert table.select("gene", "transcript", "hgvs_c", "hgvs_p").row(0) == ("G1", "T1", "c.26G>A", "p.Cys9Tyr")
    assert worst["gene"].to_list() == ["G1", "G2"]


def test_bcsq_speaks_of_all_alleles_unless_its_dna_change_names_one() -> None:
    value = (
        "missense|G1|T1|protein_coding|+|5A>5C|100A>C,*synonymous|G1|T1|protein_coding|+|5A|100A>G,intron|G2||lincRNA"
    )
    table, worst = parse([("A", "C,G,<*>", value)], "BCSQ", BCSQ)
    assert table.select("alt_index", "terms").rows() == [
        (1, ["missense_variant"]), (1, ["intron_variant"]), (2, ["synonymous_variant"]), (2, ["intron_variant"]),
    ]  # fmt: skip
    assert worst["consequence"].to_list() == ["missense_variant", "synonymous_variant", None]


def test_a_reference_to_another_record_is_kept_but_is_no_consequence() -> None:
    table, worst = parse([("A", "C", "@4711")], "BCSQ", BCSQ)
    assert table.select("terms", "impact").row(0) == (["@4711"], None)
    assert worst["consequence"].to_list() == [None]


def test_the_most_severe_term_wins_whatever_the_order() -> None:
    value = "C|intron_variant&NMD_transcript_variant|MODIFIER|G1|||||,C|splice_region_variant&stop_gained|HIGH|G2|||||"
    _, worst = parse([("A", "C", value)])
    assert worst.select("consequence", "impact", "gene").row(0) == ("stop_gained", "HIGH", "G2")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["T1|protein_coding||", "T2|lincRNA||YES"], "T2"),
        (["T1|lincRNA||", "T2|protein_coding||"], "T2"),
        (["T1|lincRNA||", "T2|lincRNA||"], "T1"),
    ],
)
def test_ties_go_to_the_chosen_then_the_coding_then_the_first_transcript(entries: list[str], expected: str) -> None:
    pieces = [entry.split("|") for entry in entries]
    value = ",".join(f"C|missense_variant||G||{t}|{biotype}|||{canonical}" for t, biotype, _, canonical in pieces)
    assert parse([("A", "C", value)])[1]["transcript"].to_list() == [expected]


def test_an_unknown_term_ranks_by_the_impact_that_the_file_gives() -> None:
    value = "C|new_term|HIGH|G1|||||,C|missense_variant|MODERATE|G2|||||"
    _, worst = parse([("A", "C", value)])
    assert worst.select("consequence", "impact", "gene").row(0) == ("new_term", "HIGH", "G1")


def test_escapes_in_hgvs_are_decoded() -> None:
    _, worst = parse([("A", "C", "C|synonymous_variant|LOW|G||T|protein_coding|c.3A>C|p.Ala1%3D|")])
    assert worst["hgvs_p"].to_list() == ["p.Ala1="]


def test_features_that_are_no_transcripts_are_not_called_so() -> None:
    typed = VEP.format("Allele|Consequence|Feature_type|Feature")
    value = "C|regulatory_region_variant|RegulatoryFeature|ENSR1,C|intron_variant|Transcript|ENST1"
    table, _ = parse([("A", "C", value)], description=typed)
    assert table["transcript"].to_list() == [None, "ENST1"]


def test_the_largest_population_frequency_counts_of_whatever_the_fields_hold() -> None:
    fields = "Allele|Consequence|AF|EUR_AF|gnomADe_AF|gnomAD_AF_raw|MAX_AF_POPS|GMAF|AFR_MAF"
    values = {
        "C|intron_variant|0.1|0.2&0.05|0.02|0.9|0.8||": 0.2,
        "C|intron_variant|T:0.7|C:0.01|||||": 0.01,
        "C|intron_variant|1.5|12%|text||||": None,
        "C|intron_variant||||||C:0.3|G:0.6&C:0.4": 0.4,
        "C|intron_variant||||||0.3|": None,
        "C|intron_variant|0|||||||": 0.0,
    }
    _, worst = parse([("A", "C", value) for value in values], description=VEP.format(fields))
    assert worst["consequence_af"].to_list() == pytest.approx(list(values.values()))


def test_clinical_words_are_collected_once_in_order() -> None:
    described = VEP.format("Allele|Consequence|CLIN_SIG")
    value = "C|intron_variant|pathogenic&likely_benign,C|intron_variant|pathogenic/risk_factor,C|intron_variant|"
    _, worst = parse([("A", "C", value), ("A", "C", "C|intron_variant|")], description=described)
    assert worst["consequence_clin_sig"].to_list() == [["pathogenic", "likely_benign", "risk_factor"], None]


def test_two_annotations_of_one_file_compete_for_the_worst() -> None:
    both = header(CSQ=SHORT, ANN=SNPEFF_ANN)
    alleles = pl.DataFrame({"record_no": [0], "alt_index": [1], "pos": [5], "ref": ["A"], "alt": ["C"], "n_alts": [1]})
    texts = {
        "CSQ": pl.Series(["C|intron_variant|MODIFIER|G1|||||"]),
        "ANN": pl.Series(["C|stop_gained|HIGH|G2|ENSG|transcript|T2|protein_coding|||||"]),
    }
    table, worst = parse_consequences(alleles, texts, consequence_fields(both))
    assert table["source"].to_list() == ["CSQ", "ANN"]
    assert worst["gene"].to_list() == ["G2"]


def test_every_term_has_one_rank_and_impacts_never_mix() -> None:
    impacts = [so_terms.IMPACT[term] for term in so_terms.RANK]
    assert impacts == sorted(impacts, key=so_terms.IMPACTS.index)
    assert {*so_terms.CLASSIC.values(), *so_terms.SHORT.values()} <= set(so_terms.RANK)
