"""Vectors by a model: over real HTTP, within the budget, each call in the books, and errors in our words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vcf_pipeline.adapters.embedders.hashing import HashingEmbedder
from vcf_pipeline.adapters.embedders.model import SUBJECT, TEXTS_A_CALL
from vcf_pipeline.domain.errors import BadAnswer, BudgetSpent, ProviderRefused, ProviderUnavailable, UnknownPrice
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.load_annotations import load_lancedb_annotations
from vcf_pipeline.testing.fake_providers import Act, FakeProviders
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.stages.made_control import MadeControl

TENANT = "default"


@pytest.fixture
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as started:
        yield started


def control(fake: FakeProviders, home: Path, name: str = "openai", **settings: Any) -> Control:
    environment = {**fake.settings(name), "VCF_PIPELINE_EMBEDDER__NAME": name}
    environment |= {f"VCF_PIPELINE_{key}": str(value) for key, value in settings.items()}
    return Control(load_settings(environment, home=home))


@pytest.mark.parametrize("name", ["openai", "ollama"])
def test_each_text_has_its_vector_and_each_call_is_in_the_books(fake: FakeProviders, tmp_path: Path, name: str) -> None:
    with control(fake, tmp_path, name) as made:
        embedder = made.embedder(TENANT)
        texts = [f"text {number}" for number in range(TEXTS_A_CALL + 3)]
        vectors = embedder.embed(texts)
        again = embedder.embed(texts[:2])
        assert vectors.dtype == np.float32
        assert len(vectors) == len(texts)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
        assert np.array_equal(vectors[:2], again)
        assert embedder.name.startswith(f"{name}/")
        assert not embedder.is_lexical
        assert [len(json.loads(call.body)["input"]) for call in fake.calls(name)] == [TEXTS_A_CALL, 3, 2]
        spent = made.ledger.spent_today(TENANT)
        assert (spent > 0) == (name == "openai")  # a model of one's own machine costs nothing
        assert SUBJECT == "embedding"


@pytest.mark.parametrize(("name", "budget"), [("openai", "0.000001"), ("openai", "0"), ("ollama", "0")])
def test_no_call_is_made_beyond_the_budget(fake: FakeProviders, tmp_path: Path, name: str, budget: str) -> None:
    text = "text " * 100
    with control(fake, tmp_path, name, AI__BUDGET_USD_PER_DAY=budget) as made, pytest.raises(BudgetSpent) as caught:
        made.embedder(TENANT).embed([text])
    assert ("a budget above 0" in str(caught.value)) == (budget == "0")
    assert fake.calls() == []


def test_a_tenant_whose_texts_may_not_be_seen_is_embedded_by_words(fake: FakeProviders, tmp_path: Path) -> None:
    with control(fake, tmp_path, AI__TENANT_PROVIDERS="acme=ollama") as made:
        assert isinstance(made.embedder("acme"), HashingEmbedder)
        assert made.embedder(TENANT).name == "openai/text-embedding-3-small"


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (Act(status=401), ProviderRefused),
        (Act(status=500), ProviderUnavailable),
        (Act(status=429, retry_after="7"), ProviderUnavailable),
        (Act(reset=True), ProviderUnavailable),
        (Act(raw="not JSON"), ProviderUnavailable),
        (Act(raw=json.dumps({"data": [{"index": 0, "embedding": []}], "usage": {}})), BadAnswer),
        (Act(raw=json.dumps({"data": [{"index": 0, "embedding": [float("nan")]}]})), BadAnswer),
    ],
)
def test_what_goes_wrong_is_one_of_our_errors(
    fake: FakeProviders, tmp_path: Path, act: Act, kind: type[Exception]
) -> None:
    fake.script("openai", always=act)
    with control(fake, tmp_path) as made, pytest.raises(kind):
        made.embedder(TENANT).embed(["text"])
    assert len(fake.calls()) == 1


def test_a_model_of_unknown_price_is_not_asked(fake: FakeProviders, tmp_path: Path) -> None:
    with control(fake, tmp_path, OPENAI__EMBEDDING_MODEL="new-model") as made, pytest.raises(UnknownPrice):
        made.embedder(TENANT)
    with control(
        fake, tmp_path, OPENAI__EMBEDDING_MODEL="new-model", OPENAI__USD_PER_MTOK_IN=1, OPENAI__USD_PER_MTOK_OUT=0
    ) as made:
        assert made.embedder(TENANT).embed(["text"]).shape[0] == 1


def test_nothing_but_facts_of_variants_leaves(fake: FakeProviders, tmp_path: Path) -> None:
    """Every byte that was sent: no sample, label, callset or tenant is in it, and every explained gene is."""
    made = MadeControl(tmp_path)
    key = made.put("a", 20, label="Zebulon Quirk")
    made.explain(key)
    with control(fake, tmp_path) as configured:
        report = load_lancedb_annotations(
            key=key,
            tables=made.tables,
            ledger=made.ledger,
            store=made.annotations,
            embedder=configured.embedder(TENANT),
        )
    made.close()
    assert report.rows == 7
    sent = b"".join(call.head + call.body for call in fake.calls())
    assert b"BRCA1" in sent
    for secret in ("anna", "bert", "Zebulon", "Quirk", key.callset_id, f'"{TENANT}"', str(tmp_path)):
        assert secret.encode() not in sent
