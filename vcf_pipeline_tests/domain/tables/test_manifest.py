"""Manifests as JSON, and when stored tables are stale."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.tables.manifest import FORMAT_VERSION, Manifest, Part, stale_reasons

MANIFEST = Manifest(
    format_version=FORMAT_VERSION,
    asset="parsed_variants",
    tenant="default",
    callset_id="0123456789abcdef",
    label="Müller",
    correlation_id="c",
    digest="d1:00",
    code_version="1",
    created_at="2026-01-01T00:00:00.000+00:00",
    parts=[Part("variants", "1/a.parquet", 3, 10, "ab"), Part("variants", "1/b.parquet", 4, 10, "ab")],
    inputs={"sha256": "s", "settings": "f"},
)


def test_what_is_written_is_read_back_and_a_newer_writers_fields_are_passed_over() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    newer = json.dumps({**json.loads(MANIFEST.to_json()), "of_tomorrow": 1})
    assert Manifest.from_json(newer) == MANIFEST
    assert MANIFEST.rows("variants") == 7


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"parts": [{}]}', '{"parts": 3}'])
def test_a_broken_one_is_said_to_be_broken(text: str) -> None:
    with pytest.raises(StoreUnavailable) as found:
        Manifest.from_json(text)
    assert found.value.code == "BROKEN_MANIFEST"


def test_nothing_is_stale_when_all_is_as_it_was() -> None:
    assert stale_reasons(MANIFEST, code_version="1", inputs={"sha256": "s", "settings": "f"}) == []


def test_every_mismatch_is_told_as_stored_against_expected() -> None:
    old = replace(MANIFEST, format_version=0)
    assert stale_reasons(old, code_version="2", inputs={"sha256": "t", "more": "x"}) == [
        f"format_version: stored 0, expected {FORMAT_VERSION}",
        "code_version: stored '1', expected '2'",
        "inputs.more: stored None, expected 'x'",
        "inputs.settings: stored 'f', expected None",
        "inputs.sha256: stored 's', expected 't'",
    ]
    assert stale_reasons(None, code_version="1", inputs={}) == ["there is no manifest"]
