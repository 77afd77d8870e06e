"""A fresh ledger for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline_tests.adapters.ledger.made_ledger import address


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(address(tmp_path))
    yield opened
    opened.close()
