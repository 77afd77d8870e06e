"""`annotate VARIANT` on the command line, and the same through Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vcf_pipeline
from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
from vcf_pipeline.stages.load import load_lancedb
from vcf_pipeline.testing.fake_providers import Act, FakeProviders
from vcf_pipeline_tests.stages.lab import CLINVAR_INFO, Lab, claim
from vcf_pipeline_tests.vcf_text import record

CSQ = ("CSQ,.,String",)


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    """ClinVar knows one allele."""
    home.mkdir()
    made = Lab(home)
    made.add("clinvar", made.clinvar("c.vcf", record("T", claim("Pathogenic") + ";RS=7", pos=5, ref="C")))
    yield made
    made.close()


def test_evidence_tier_reasons_and_words_of_one_variant(cli, lab):
    done = cli("annotate", "chr1:5", "C>T")
    assert done.code == 0
    for said in ("1-5-C-T  (GRCh38)", "tier 1", "clinvar_pathogenic", "ClinVar lists", "CLNSIG", "by rules"):
        assert said in done.out
    assert "not a diagnosis" in done.err
    told = json.loads(cli("annotate", "rs7", "--json").out)
    assert (told["variant_key"], told["tier"], told["explanation"]["provider"]) == ("1-5-C-T", 1, "rules")
    assert told["views"][0]["evidence"][0]["source"] == "clinvar"
    with vcf_pipeline.open() as control:
        (answer,) = vcf_pipeline.annotate_variant(control, "1-5-C-T")
    assert answer.chosen is not None
    assert answer.chosen.tier == 1


def test_what_a_model_was_paid_is_said_once(cli, lab, monkeypatch):
    with FakeProviders() as fake:
        for name, value in fake.settings("openai").items():
            monkeypatch.setenv(name, value)
        fake.script("openai", Act(lie="citation"))
        first = cli("annotate", "1-5-C-T").out
        again = cli("annotate", "1-5-C-T").out
        assert len(fake.calls()) == 2
    assert re.search(r"^  2 calls · 0\.000\d USD$", first, re.MULTILINE)
    assert "by openai gpt-6-luna" in again
    assert "USD" not in again


def test_a_lie_about_one_variant_becomes_a_dead_letter(cli, lab, monkeypatch):
    with FakeProviders() as fake:
        for name, value in fake.settings("openai").items():
            monkeypatch.setenv(name, value)
        fake.script("openai", always=Act(lie="citation"))
        assert "by rules" in cli("annotate", "1-5-C-T").out
    (letter,) = cli("dlq", "list", "--reason", "BAD_ANSWER", "--json").records
    assert (letter["tenant"], letter["origin"]) == ("default", "annotate 1-5-C-T")
    assert letter["reason"].startswith("openai: ")


def test_what_is_unknown_is_said_and_is_no_failure(cli, lab):
    done = cli("annotate", "1-6-C-T")
    assert (done.code, "Unknown is not benign" in done.out) == (0, True)
    told = json.loads(cli("annotate", "1-5-C-T", "--assembly", "hg19", "--json").out)
    assert (told["tier"], list(told["not_used"])) == (None, ["clinvar"])


def test_what_cannot_be_asked_ends_with_two_and_says_what_can(cli, lab):
    bad = cli("annotate", "BRCA1")
    assert (bad.code, "17-43093464-C-T" in bad.err) == (2, True)
    for words in ([], ["1-5-C-T", "--callset", "x"], ["1-5-C-T", "--estimate"], ["rs999"], ["--callset", "nobody"]):
        assert cli("annotate", *words).code == 2


def test_that_nobody_was_heard_who_claims_anything_is_said(cli, lab):
    path = lab.vcf("hg19.vcf", record("T", "CSQ=T|stop_gained|HIGH|NOC2L", pos=5, ref="C"), assembly="GRCh37", info=CSQ)
    path.write_text(path.read_text().replace('"CSQ"', '"Format: Allele|Consequence|IMPACT|SYMBOL"'))
    callset = lab.parse(path)
    lab.triage(callset.key)
    load_lancedb(key=callset.key, tables=lab.tables, ledger=lab.ledger, store=LanceVariants(lab.root / "data"))
    done = cli("annotate", "1-5-C-T", "--assembly", "GRCh37")
    assert "No claim about this stop gained variant in NOC2L is in the evidence at hand" in done.out.replace("\n ", "")
    assert "nobody was heard who claims anything" in done.out
    assert "clinvar was not asked" in done.out
    (told,) = cli("annotate", "1-5-C-T", "--assembly", "GRCh37", "--json").records
    assert told["hears_claims"] is False
    (told,) = cli("annotate", "1-5-C-T", "--assembly", "GRCh38", "--json").records
    assert told["hears_claims"] is True


def test_a_claim_without_a_review_status_is_not_called_one_without_a_star(cli, lab):
    path = lab.vcf("own.vcf", record("G", "CLNSIG=Pathogenic", pos=9, ref="A"), info=CLINVAR_INFO)
    callset = lab.parse(path)
    lab.triage(callset.key)
    load_lancedb(key=callset.key, tables=lab.tables, ledger=lab.ledger, store=LanceVariants(lab.root / "data"))
    done = cli("annotate", "1-9-A-G")
    assert "tier 2" in done.out
    assert "claims: pathogenic, review status unknown" in done.out
    assert "star" not in done.out
    (told,) = cli("annotate", "1-9-A-G", "--json").records
    assert [view["stars"] for view in told["views"]] == [None, None]


def test_doubts_about_the_call_are_said_behind_a_models_text_and_do_not_leave(cli, lab, monkeypatch):
    info = claim("Pathogenic", "reviewed_by_expert_panel")
    path = lab.vcf("own.vcf", record("G", info, pos=9, ref="A", qual="5", filter="LowMQ"), info=CLINVAR_INFO)
    callset = lab.parse(path)
    lab.triage(callset.key)
    load_lancedb(key=callset.key, tables=lab.tables, ledger=lab.ledger, store=LanceVariants(lab.root / "data"))
    said = "Doubts about the call hold it in tier 2, where its evidence alone gives tier 1"
    assert said in cli("annotate", "1-9-A-G").out
    with FakeProviders() as fake:
        for name, value in fake.settings("openai").items():
            monkeypatch.setenv(name, value)
        done = cli("annotate", "1-9-A-G")
        assert "by openai" in done.out
        assert said in done.out
        (call,) = fake.calls()
        assert b"1-9-A-G" in call.body
        assert not any(word in call.head + call.body for word in (b"LowMQ", b"Doubts", b"filter_not", b"low_quality"))
    (told,) = cli("annotate", "1-9-A-G", "--json").records
    assert told["held_back"].startswith(said)
    assert cli("annotate", "1-5-C-T", "--json").records[0]["held_back"] is None


def test_an_unknown_allele_is_never_sent_to_a_model(cli, lab, monkeypatch):
    (lab.root / "genes.gtf").write_text('#!genome-build GRCh38\n1\tx\tgene\t1\t90\t.\t+\t.\tgene_name "MAGE";\n')
    lab.add("genes", lab.root / "genes.gtf")
    with FakeProviders() as fake:
        for name, value in fake.settings("openai").items():
            monkeypatch.setenv(name, value)
        told = json.loads(cli("annotate", "1-7-C-T", "--json").out)
        assert (told["tier"], told["reasons"]) == (None, ["no_evidence"])
        assert told["views"][0]["gene"] == "MAGE"
        assert (told["explanation"]["provider"], told["explanation"]["calls"]) == ("rules", 0)
        assert fake.calls() == []
        known = json.loads(cli("annotate", "1-5-C-T", "--json").out)
        assert known["explanation"]["provider"] == "openai"
        assert len(fake.calls()) == 1
