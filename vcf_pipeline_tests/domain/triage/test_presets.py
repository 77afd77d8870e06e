"""What a file is taken for by its header, and what is read of it."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.triage.presets import ALLELE_KINDS, KINDS, PRESETS, guessed_preset
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline_tests.vcf_text import header_text


def guess(*info: str, lines: tuple[str, ...] = (), samples: tuple[str, ...] = ()) -> str | None:
    header = parse_header(header_text(info=tuple(f"{key},1,String" for key in info), lines=lines, samples=samples))
    found = guessed_preset("vcf", header)
    return found[0] if found else None


def test_a_header_tells_what_the_file_is():
    assert guess("CLNSIG", "CLNREVSTAT", "RS", lines=("##source=ClinVar",)) == "clinvar"
    assert guess("AF", "AN", "AC", "nhomalt") == "gnomad"
    assert guess("AF", "AN", "AC", lines=("##source=gnomAD v2",)) == "gnomad"
    assert guess("RS", "SAO", lines=("##source=dbSNP",)) == "dbsnp"
    assert guess("AF", "AN", "AC") == "cohort"
    assert guess(samples=("anna",)) == "cohort"
    assert guess("DP") is None
    assert guess("CLNSIG") is None


@pytest.mark.parametrize(("kind", "preset"), [("gff3", "genes"), ("gtf", "genes"), ("bed", "custom"), ("tsv", None)])
def test_other_kinds_tell_it_themselves_or_ask(kind, preset):
    found = guessed_preset(kind, None)
    assert (found[0] if found else None) == preset


def test_fields_are_each_read_once_with_the_alleles_that_were_counted():
    assert PRESETS["gnomad"].fields(("AF", "SCORE")) == (
        *("AF", "AF_popmax", "AF_POPMAX", "AF_grpmax", "AN", "AN_popmax", "AN_POPMAX", "AN_grpmax"),
        *("rsid", "nhomalt", "SCORE"),
    )


def test_every_preset_is_of_a_known_kind_and_says_what_is_read():
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.read_as
        assert set(preset.kinds) <= set(KINDS)
        if preset.frequencies or preset.claim:
            assert set(preset.kinds) <= set(ALLELE_KINDS)
