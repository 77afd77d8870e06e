"""kill -9 while alleles are explained: no answer that was kept is bought again, nothing is missing, the books say all.

A process of its own explains a callset over HTTP; it is killed again and again, whenever the fake provider has been
asked so many times more. Then it is left alone.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.testing.fake_providers import Act, FakeProviders
from vcf_pipeline_tests.stages.annotating import PATHOGENIC, Annotating, vcf
from vcf_pipeline_tests.stages.test_triage import KEY
from vcf_pipeline_tests.vcf_text import record

SEED = 20261127
COST = ("cost_microusd", "latency_ms", "cache_hit", "input_tokens", "output_tokens")
AT_A_TIME = 4
PROGRAM = """
import sys
from pathlib import Path
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.annotate import annotate_callset
from vcf_pipeline.wiring import Control
from vcf_pipeline.domain.identity import PartitionKey
import json
folder, environ, key = Path(sys.argv[1]), json.loads(sys.argv[2]), PartitionKey.parse(sys.argv[3])
with Control(load_settings(environ, home=folder / "home")) as control:
    with control.ledger.lease(f"ai_annotations/{key}", wait_seconds=30) as lease:
        annotate_callset(
            key=key, tables=Tables(folder / "data"), lease=lease, wanted=control.wanted(key.tenant),
            explainer=control.explainer,
        )
"""


def start(folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), json.dumps(environ), str(KEY)])


def killed_and_repeated(folder: Path, n_kills: int, n_alleles: int) -> None:
    records = [record("C", PATHOGENIC, pos=1000 + number) for number in range(n_alleles)]
    path = vcf(folder, *records)
    chance = random.Random(SEED + n_kills)
    with FakeProviders() as fake, Annotating(folder, path) as made:
        act = Act(latency_s=0.02)
        environ = fake.settings("openai") | {"VCF_PIPELINE_OPENAI__CONCURRENCY": str(AT_A_TIME)}
        for _ in range(n_kills):
            more = chance.randint(1, max(n_alleles // (n_kills + 1), 2))
            until = len(fake.received) + more
            # what is asked beyond waits at the provider, so that no kill comes too late on a busy machine
            fake.script("openai", *[act] * more, always=Act(hang=True))
            child = start(folder, environ)
            deadline = time.monotonic() + 60
            while len(fake.received) < until and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            assert child.poll() is None, "it ended before it was killed"
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert made.tables.manifest(KEY.tenant, KEY.callset_id, "ai_annotations") is None
        bought_before = set(answers(made))
        asked_before = len(fake.received)
        fake.script("openai", always=act)
        last = start(folder, environ)
        assert last.wait(timeout=120) == 0
        asked_at_last = [call.variant for call in fake.received[asked_before:]]
        rows = made.rows()
        assert_complete(rows, n_alleles)
        assert len(set(asked_at_last)) == len(asked_at_last) == n_alleles - len(bought_before)
        assert_books(made, fake, n_kills, n_alleles)
        undisturbed(folder, path, fake, environ, rows)


def answers(made: Annotating) -> list[str]:
    with made.control.ledger.database.reading() as connection:
        return list(connection.execute(sa.select(schema.ai_answers.c.subject)).scalars())


def assert_complete(rows: pl.DataFrame, n_alleles: int) -> None:
    assert rows["record_no"].to_list() == list(range(n_alleles))
    assert set(rows["status"]) == {"annotated"}
    assert set(rows["provider"]) == {"openai"}


def assert_books(made: Annotating, fake: FakeProviders, n_kills: int, n_alleles: int) -> None:
    """One paid answer for each allele; what was under way at a kill is unknown, stays reserved, and nothing is open."""
    with made.control.ledger.database.reading() as connection:
        calls = connection.execute(sa.select(schema.ai_calls)).all()
    kept = Counter(call.subject for call in calls if call.outcome == "answered")
    assert len(kept) == n_alleles
    assert set(kept.values()) == {1}
    states = Counter(call.state for call in calls)
    assert states["settled"] == n_alleles
    assert set(states) <= {"settled", "unknown", "free"}
    assert states["unknown"] <= n_kills * AT_A_TIME
    # whoever was asked stands in the books, from before it was asked
    assert len(fake.received) <= len(calls)
    assert fake.answers("openai") - n_alleles <= states["unknown"]
    assert sum(call.cost_microusd or call.reserved_microusd for call in calls if call.state == "unknown") >= 0
    assert made.control.ledger.spent_today(KEY.tenant) >= sum(
        call.reserved_microusd for call in calls if call.state == "unknown"
    )


def undisturbed(folder: Path, path: Path, fake: FakeProviders, environ: dict[str, str], rows: pl.DataFrame) -> None:
    other = folder / "undisturbed"
    other.mkdir()
    with Annotating(other, path, environ) as made:
        made.annotate()
        assert made.rows().drop(COST).equals(rows.drop(COST))


def test_three_kills_buy_nothing_twice(tmp_path: Path) -> None:
    killed_and_repeated(tmp_path, n_kills=3, n_alleles=40)


@pytest.mark.acceptance
def test_thirty_kills_buy_nothing_twice(tmp_path: Path) -> None:
    killed_and_repeated(tmp_path, n_kills=30, n_alleles=300)
