"""Every byte that providers are sent: no sample, genotype, file, tenant, label, host or source's own name is in it."""

from __future__ import annotations

import socket
from pathlib import Path

from vcf_pipeline.domain.annotation.brief import ALLOWED
from vcf_pipeline.testing.fake_providers import FakeProviders
from vcf_pipeline_tests.stages.annotating import PATHOGENIC, Annotating, vcf
from vcf_pipeline_tests.stages.test_triage import KEY
from vcf_pipeline_tests.vcf_text import record

SAMPLES = ("Wilhelmina_Quux_1987", "Zebedee-Plugh")
TENANT = "xyzzy-clinic"
FILE = "Wilhelmina-Quux-tumour.vcf"
NOTE, IDENTIFIER, FILTER, LAB = "casefile4711", "frobnicate99", "GrueFilter", "KEY_OF_THE_LAB"
GENOTYPES = ("0/1:83,79:162:99", "1|1:0,41:41:77")


def test_nothing_of_the_callset_leaves_but_the_variant_and_its_evidence(tmp_path: Path) -> None:
    info = f"{PATHOGENIC};gnomAD_AF=0.00012;CLNDN=Breast_cancer;NOTE={NOTE};{LAB}=1"
    records = [
        record("C", info, "GT:AD:DP:GQ", *GENOTYPES, pos=100 + at, id=IDENTIFIER, filter=FILTER, qual="4321.5")
        for at in range(20)
    ]
    path = vcf(tmp_path, *records, samples=SAMPLES, name=FILE)
    with FakeProviders() as fake, Annotating(tmp_path, path, fake.settings()) as made:
        report = made.annotate(TENANT)
        calls = fake.calls()
    assert report.rows["annotated"] == len(calls) == 20
    sent = b"".join(call.head + call.body for call in calls)
    assert b"1-100-A-C" in sent, "the test looks at what was sent"
    secrets = [
        *SAMPLES,
        *(part for sample in SAMPLES for part in sample.replace("-", "_").split("_")),
        *GENOTYPES,
        *(part for genotype in GENOTYPES for part in genotype.split(":")[:2]),
        *(TENANT, "xyzzy", FILE, Path(FILE).stem, NOTE, IDENTIFIER, FILTER, LAB, "4321"),
        *(KEY.callset_id, KEY.tenant, str(tmp_path), tmp_path.name, socket.gethostname()),
    ]
    assert [secret for secret in secrets if secret.lower().encode() in sent.lower()] == []
    assert b"filter_not_pass" not in sent


def test_the_list_of_what_leaves_names_nothing_of_a_callset() -> None:
    assert not {"sample", "genotype", "tenant", "callset", "tier", "qual", "filter", "id"} & set(ALLOWED)
