"""One variant, however it is written: what sources and callsets know of it, its tier by the same rules, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
from vcf_pipeline.domain.annotation.explained import Explained, Given
from vcf_pipeline.domain.annotation.sentences import RULES_VERSION, summarise
from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.explain_variant import Known, explain_variant
from vcf_pipeline.stages.load import load_lancedb
from vcf_pipeline_tests.stages.lab import TENANT, Lab, claim
from vcf_pipeline_tests.vcf_text import record


class ByRules:
    """Explains by rules alone, and remembers what left."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def explain(
        self, tenant: str, callset_id: str, tasks: Iterable[Task], *, correlation_id: str = ""
    ) -> Iterator[Explained]:
        for task in tasks:
            self.asked.append(task.brief.to_json())
            answer = summarise(task.brief)
            given = () if answer is None else (Given(answer, "rules", "rules", RULES_VERSION),)
            yield Explained(task.brief.subject, "annotated", given=given)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """ClinVar knows 17-5-C-T (rs7, pathogenic) and 17-9-A-G; a callset has 17-5-C-T and 17-20-GA-G."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    clinvar = made.clinvar(
        "clinvar.vcf",
        record("T", claim("Pathogenic") + ";RS=7", contig="17", pos=5, ref="C"),
        record("G", claim("Benign"), contig="17", pos=9, ref="A"),
    )
    made.add("clinvar", clinvar)
    patient = made.vcf(
        "patient.vcf",
        record("T", contig="chr17", pos=5, ref="C"),
        record("G", contig="chr17", pos=20, ref="GA"),
    )
    callset = made.parse(patient)
    made.triage(callset.key)
    load_lancedb(key=callset.key, tables=made.tables, ledger=made.ledger, store=LanceVariants(made.root / "data"))
    yield made
    made.close()


def known(lab: Lab, **other: Any) -> Known:
    given: dict[str, Any] = {
        "tenant": TENANT,
        "ledger": lab.ledger,
        "tables": lab.tables,
        "store": LanceVariants(lab.root / "data"),
        "registered": lab.registered,
        "thresholds": TriageThresholds(),
        "explainer": ByRules(),
        "presets": {"clinvar": "clinvar"},
    }
    return Known(**given | other)


@pytest.mark.parametrize(
    "text", ["17-5-C-T", "chr17:5 C>T", "17:5:C:T", "NC_000017.11:g.5C>T", "rs7", "RS7", "17-5-CAA-TAA"]
)
def test_every_spelling_finds_the_source_and_the_callset(lab: Lab, text: str) -> None:
    (answer,) = explain_variant(text, known=known(lab))
    assert (answer.variant_key, answer.assembly) == ("17-5-C-T", "GRCh38")
    assert [view.origin for view in answer.views] == ["sources", "patient"]
    assert [view.tier for view in answer.views] == [1, 1]
    assert answer.chosen is answer.views[0]
    assert answer.explained is not None
    assert "pathogenic" in answer.explained.given[0].answer.summary
    (fact,) = [fact for fact in answer.views[0].judged["evidence"] if fact["key"] == "CLNSIG"]
    assert (fact["source"], fact["value"]) == ("clinvar", "Pathogenic")


def test_what_a_source_alone_knows_needs_no_callset(lab: Lab) -> None:
    (answer,) = explain_variant("17-9-A-G", known=known(lab))
    assert (answer.chosen is not None and answer.chosen.tier, len(answer.views)) == (4, 1)


def test_what_nobody_knows_is_unknown_and_not_explained(lab: Lab) -> None:
    by_rules = ByRules()
    (answer,) = explain_variant("17-5-C-G", known=known(lab, explainer=by_rules))
    assert (answer.chosen, answer.explained, by_rules.asked) == (None, None, [])
    assert answer.near == ("17-5-C-T",)
    with pytest.raises(UsageError, match="UNKNOWN_VARIANT"):
        explain_variant("rs123456", known=known(lab))


def test_an_assembly_that_is_named_is_the_only_one_that_is_looked_at(lab: Lab) -> None:
    assert explain_variant("17-5-C-T", known=known(lab), assembly="hg38")[0].chosen is not None
    (other,) = explain_variant("17-5-C-T", known=known(lab), assembly="GRCh37")
    assert (other.assembly, other.chosen) == ("GRCh37", None)
    assert "clinvar" in other.not_used


def test_an_accession_is_of_one_assembly(lab: Lab) -> None:
    (other,) = explain_variant("NC_000017.10:g.5C>T", known=known(lab))
    assert (other.variant_key, other.assembly, other.chosen) == ("17-5-C-T", "GRCh37", None)
    assert other.not_used == {"clinvar": "it is of GRCh38, not of GRCh37"}
    with pytest.raises(UsageError, match="an accession of GRCh37"):
        explain_variant("NC_000017.10:g.5C>T", known=known(lab), assembly="GRCh38")


def test_a_callset_that_names_its_contigs_by_accession_is_found(tmp_path: Path) -> None:
    made = Lab(tmp_path)
    callset = made.parse(made.vcf("dbsnp_like.vcf", record("T", contig="NC_000017.11", pos=5, ref="C")))
    made.triage(callset.key)
    load_lancedb(key=callset.key, tables=made.tables, ledger=made.ledger, store=LanceVariants(made.root / "data"))
    for text in ("17-5-C-T", "NC_000017.11:g.5C>T"):
        (answer,) = explain_variant(text, known=known(made))
        assert (answer.variant_key, [view.origin for view in answer.views]) == ("17-5-C-T", ["dbsnp_like"])
    made.close()


def test_an_allele_above_50_bases_is_asked_of_sources_as_it_was_typed_and_by_its_rsid(tmp_path: Path) -> None:
    made = Lab(tmp_path)
    long = "G" + "ACGT" * 15
    made.add("clinvar", made.clinvar("c.vcf", record("G", claim("Pathogenic") + ";RS=8", contig="1", pos=7, ref=long)))
    for text in (f"1-7-{long}-G", "rs8"):
        (answer,) = explain_variant(text, known=known(made))
        assert answer.variant_key.startswith("1-7-61:")
        assert [(view.origin, view.tier) for view in answer.views] == [("sources", 1)]
    made.close()


def test_what_is_unknown_is_answered_for_each_assembly_that_was_asked(tmp_path: Path) -> None:
    made = Lab(tmp_path)
    for assembly in ("GRCh37", "GRCh38"):
        records = record("T", claim("Benign"), pos=5, ref="C")
        made.add(f"of-{assembly.lower()}", made.clinvar(f"{assembly}.vcf", records, assembly=assembly))
    answers = explain_variant("1-6-C-T", known=known(made))
    assert [(answer.assembly, answer.not_used) for answer in answers] == [("GRCh37", {}), ("GRCh38", {})]
    made.close()


def test_a_contig_that_nobody_has_is_a_slip_and_one_that_somebody_has_is_not(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="UNKNOWN_CONTIG"):
        explain_variant("chr99:5 C>T", known=known(lab))
    assert explain_variant("chr99:5 C>T", known=known(lab), assembly="mm39")[0].chosen is None
    made = Lab(tmp_path)
    made.add("clinvar", made.clinvar("c.vcf", record("T", claim("Benign"), contig="contig_99", pos=5, ref="C")))
    (answer,) = explain_variant("contig_99:6 C>T", known=known(made))
    assert (answer.assembly, answer.chosen) == ("GRCh38", None)
    made.close()


def test_another_tenant_knows_nothing_of_it(lab: Lab) -> None:
    (answer,) = explain_variant("17-5-C-T", known=known(lab, tenant="other"))
    assert (answer.views, answer.near) == ((), ())


def test_nothing_of_a_callset_leaves_but_its_variant(lab: Lab, tmp_path: Path) -> None:
    by_rules = ByRules()
    explain_variant("17-5-C-T", known=known(lab, explainer=by_rules))
    assert len(by_rules.asked) == 1
    assert "patient" not in by_rules.asked[0]
    assert TENANT not in by_rules.asked[0]


def test_what_sources_say_now_wins_over_what_a_callset_was_judged_by(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.add("clinvar", lab.clinvar("old.vcf", record("T", claim("Pathogenic"), pos=5, ref="C")))
    callset = lab.parse(lab.vcf("patient.vcf", record("T", pos=5, ref="C")))
    lab.triage(callset.key)
    load_lancedb(key=callset.key, tables=lab.tables, ledger=lab.ledger, store=LanceVariants(lab.root / "data"))
    lab.add("clinvar", lab.clinvar("new.vcf", record("T", claim("Benign"), pos=5, ref="C")), replaces=True)
    (answer,) = explain_variant("1-5-C-T", known=known(lab))
    assert answer.chosen is not None
    assert (answer.chosen.tier, answer.chosen.judged["significance"]) == (4, "benign")
    assert [view.tier for view in answer.views] == [4, 4]
    ours = answer.views[1]
    assert ours.stored is not None
    assert (ours.stored["tier"], ours.stored["significance"]) == (1, "pathogenic")
    assert ours.stale is not None
    assert ours.stale.names == ("clinvar",)
    assert answer.explained is not None
    assert "as benign" in answer.explained.given[0].answer.summary

    lab.triage(callset.key)
    (again,) = explain_variant("1-5-C-T", known=known(lab))
    assert [(view.stale, view.stored) for view in again.views] == [(None, None)] * 2
    lab.close()
