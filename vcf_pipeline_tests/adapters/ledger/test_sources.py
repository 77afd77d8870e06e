"""Which version of a source is current, and who may change it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vcf_pipeline.adapters.ledger.ledger import open_ledger
from vcf_pipeline.adapters.ledger.sources import Source, source_lease
from vcf_pipeline.domain.errors import Superseded, UnknownSource

SOURCE = Source("default", "clinvar", "vcf", "clinvar", "GRCh38", "1" * 32, "/clinvar.vcf", "p/1", 3, {"fields": ["A"]})


@pytest.fixture
def ledger(tmp_path):
    with_tables = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield with_tables
    with_tables.close()


def put(ledger, source: Source) -> Source | None:
    with ledger.lease(source_lease(source.tenant, source.name), wait_seconds=5) as lease:
        return ledger.put_source(source, lease)


def test_a_source_comes_back_as_it_was_put_and_the_next_takes_its_place(ledger):
    assert put(ledger, SOURCE) is None
    found = ledger.source("default", "clinvar")
    assert replace(found, created_at=0.0, updated_at=0.0) == SOURCE
    assert found.fields == ("A",)
    newer = replace(SOURCE, version="2" * 32, rows=4)
    before = put(ledger, newer)
    assert before is not None
    assert before.version == "1" * 32
    again = ledger.source("default", "clinvar")
    assert (again.version, again.created_at) == ("2" * 32, found.created_at)


def test_sources_are_listed_by_name_of_one_tenant_alone(ledger):
    for tenant, name in (("default", "gnomad"), ("default", "clinvar"), ("other", "clinvar")):
        put(ledger, replace(SOURCE, tenant=tenant, name=name))
    assert [source.name for source in ledger.sources("default")] == ["clinvar", "gnomad"]
    assert [source.tenant for source in ledger.sources("other")] == ["other"]


def test_one_that_is_not_there_is_told_with_those_that_are(ledger):
    with pytest.raises(UnknownSource, match="of which there is none"):
        ledger.source("default", "clinvar")
    put(ledger, SOURCE)
    with pytest.raises(UnknownSource, match="a registered source: clinvar"):
        ledger.source("default", "clinva")


def test_a_lease_that_was_lost_changes_nothing(ledger):
    put(ledger, SOURCE)
    with ledger.lease(source_lease("default", "clinvar"), wait_seconds=5) as lost:
        pass
    with pytest.raises(Superseded):
        ledger.put_source(replace(SOURCE, version="2" * 32), lost)
    with pytest.raises(Superseded):
        ledger.drop_source("default", "clinvar", lost)
    assert ledger.source("default", "clinvar").version == "1" * 32


def test_a_source_named_like_a_callset_has_a_lease_of_its_own(ledger):
    name = "abcdef0123456789"
    put(ledger, replace(SOURCE, name=name))
    assert not source_lease("default", name).endswith(f"/default/{name}")
