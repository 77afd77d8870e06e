"""Names and partitions of topics."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.errors import BadTenantName, TopicMissing
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL, TOPOLOGY, Topic, partition_for, variants_topic


def test_the_table_is_the_designs():
    assert {name: rule.partitions for name, rule in TOPOLOGY.items()} == {
        "vcf-callsets": 3,
        "vcf-variants": 10,
        "ai-analysis-requests": 5,
        "ai-analysis-results": 5,
        "database-writes": 3,
        "cache-events": 2,
        "user-notifications": 1,
        "dead-letters": 3,
    }
    assert len(CONTROL) == 7


def test_full_names_come_back_as_topics():
    for topic in (*CONTROL, variants_topic("acme")):
        assert Topic.parse(topic.full_name) == topic


@pytest.mark.parametrize("name", ["nothing", "acme.vcf-callsets", "vcf-variants", "acme.nothing", ""])
def test_a_name_that_is_no_topic_is_refused(name: str):
    with pytest.raises(TopicMissing):
        Topic.parse(name)


def test_a_tenant_that_is_none_is_refused():
    with pytest.raises(BadTenantName):
        Topic.parse("../etc.vcf-variants")


def test_equal_keys_share_a_partition_and_many_keys_use_all():
    assert partition_for(CALLSETS, "a/b") == partition_for(CALLSETS, "a/b")
    assert {partition_for(variants_topic("t"), str(number)) for number in range(200)} == set(range(10))
