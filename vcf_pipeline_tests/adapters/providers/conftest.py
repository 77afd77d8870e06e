"""Fake providers over real HTTP: one server a module, with a fresh script and record for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vcf_pipeline.testing.fake_providers import FakeProviders


@pytest.fixture(scope="module")
def server() -> Iterator[FakeProviders]:
    with FakeProviders() as started:
        yield started


@pytest.fixture
def fake(server: FakeProviders) -> FakeProviders:
    server.forget()
    return server
