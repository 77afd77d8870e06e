"""Names of things: what is one, and what two of them share."""

from __future__ import annotations

import hashlib

import pytest

from vcf_pipeline.domain.errors import BadTenantName, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey, announcement_id, callset_id, check_tenant, event_id


@pytest.mark.parametrize("name", ["default", "a", "lab-7", "a" * 39])
def test_a_tenants_name_is_lower_case_letters_digits_and_hyphens(name: str) -> None:
    assert check_tenant(name) == name


@pytest.mark.parametrize("name", ["", "A", "7lab", "-a", "a" * 40, "a_b", "a/b", "..", "a\n", "é"])
def test_another_is_refused_as_a_wrong_call(name: str) -> None:
    with pytest.raises(BadTenantName) as found:
        check_tenant(name)
    assert found.value.exit_code == 2


def test_a_callset_is_named_by_its_bytes_and_an_assembly_that_was_given() -> None:
    sha256 = hashlib.sha256(b"x").hexdigest()
    assert callset_id(sha256) == callset_id(sha256, None) == callset_id(sha256.upper())
    assert len({callset_id(sha256), callset_id(sha256, "GRCh37"), callset_id(sha256, "GRCh38")}) == 3
    assert len(callset_id(sha256)) == 16


def test_a_partition_key_is_read_back() -> None:
    key = PartitionKey("default", "0123456789abcdef")
    assert PartitionKey.parse(str(key)) == key


@pytest.mark.parametrize(
    "text", ["", "default", "default/", "/0123456789abcdef", "default/0123456789ABCDEF", "default/0123456789abcdef\n"]
)
def test_what_is_no_key_is_an_unknown_partition(text: str) -> None:
    with pytest.raises(UnknownPartition) as found:
        PartitionKey.parse(text)
    assert found.value.exit_code == 2


def test_a_resend_has_the_same_event_id_and_a_new_result_another() -> None:
    first = event_id("t", "c", 0, "parsed", "d1:a")
    assert first == event_id("t", "c", 0, "parsed", "d1:a")
    others = {event_id("t", "c", 1, "parsed", "d1:a"), event_id("t", "c", 0, "parsed", "d1:b")}
    assert len({first, *others, announcement_id("t", "c", "p")}) == 4
