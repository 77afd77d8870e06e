"""Explaining that is killed, or done by two at a time: no answer is bought twice, and the budget's books are right."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.testing.fake_providers import Act, FakeProviders
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.adapters.providers.explaining import control_of, start_explaining, tasks
from vcf_pipeline_tests.programs import ROOT, environment, kill_group, wait_until

COMPLETE_S = 240.0
BREAKING = """
import contextlib, sys
from pathlib import Path
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline_tests.adapters.providers.explaining import control_of, tasks
whole, left = Database.writing, int(sys.argv[2])

@contextlib.contextmanager
def writing(database):
    global left
    with whole(database) as connection:
        yield connection
        left -= 1
        if left < 0:
            raise StoreUnavailable(where="ledger", expected="room", got="a full disk")

with control_of(Path(sys.argv[1]), dict(named.split("=", 1) for named in sys.argv[4:])) as control:
    control.ledger.usage()
    Database.writing = writing
    said = 0
    try:
        for one in control.explainer.explain("default", "0" * 16, tasks(int(sys.argv[3]))):
            said += 1
    except StoreUnavailable as error:
        print(said, error.code, flush=True)
"""


def bought(control: Control) -> tuple[Counter[str], list[sa.Row]]:
    """How many settled calls each subject has, and all calls."""
    with control.ledger.database.reading() as connection:
        calls = list(connection.execute(sa.select(schema.ai_calls)))
        days = list(connection.execute(sa.select(schema.ai_days)))
    settled = [call for call in calls if call.state == "settled"]
    unknown = [call for call in calls if call.state == "unknown"]
    gone = sum(call.cost_microusd for call in settled) + sum(call.reserved_microusd for call in unknown)
    assert sum(day.gone_microusd for day in days) == gone
    assert sum(day.open_microusd for day in days) == 0
    assert {call.state for call in calls} <= {"settled", "unknown", "free"}
    return Counter(call.subject for call in settled), calls


@pytest.mark.parametrize(
    ("kills", "variants"), [(3, 40), pytest.param(30, 300, marks=pytest.mark.acceptance)], ids=["few", "thirty"]
)
def test_killed_at_any_moment_no_completed_answer_is_bought_again(tmp_path: Path, kills: int, variants: int) -> None:
    chance = random.Random(6)
    home, told = tmp_path / "home", Counter()
    with FakeProviders() as fake:
        act = Act(latency_s=0.03)
        settings = fake.settings("openai") | {"VCF_PIPELINE_OPENAI__CONCURRENCY": "3"}
        for number in range(kills):
            more = chance.randint(1, max(variants // kills - 2, 1))
            enough = fake.answers() + more
            # the calls after a few more wait at the provider, so that no kill comes too late on a busy machine
            fake.script(
                "openai",
                *[act] * min(more + chance.randint(0, 3), variants - 1 - fake.answers()),
                always=Act(hang=True),
            )
            child = start_explaining(home, 1, variants, settings)
            wait_until(lambda least=enough: fake.answers() >= least, "answers", COMPLETE_S)
            time.sleep(chance.uniform(0, 0.05))
            kill_group(child)
            assert child.stdout is not None
            told.update(line.split()[0] for line in child.stdout if line.endswith("\n") and "annotated" in line)
            assert fake.answers() < variants, f"kill {number} came too late"
        fake.script("openai", always=act)
        killed_at = time.time()
        child = start_explaining(home, 1, variants, settings)
        out, _ = child.communicate(timeout=COMPLETE_S)
        assert child.returncode == 0
        assert len(out.splitlines()) == variants
        asked_again = {received.variant for received in fake.calls() if received.at > killed_at}
        with control_of(home, settings) as control:
            control.ledger.usage()
            settled, calls = bought(control)
    # what somebody has heard of was not asked for again
    assert not asked_again & set(told)
    assert settled == Counter({task.brief.subject: 1 for task in tasks(variants)})
    unknown = [call for call in calls if call.state == "unknown"]
    assert len(unknown) <= 3 * kills
    # every answer that left the provider is either paid for in the books or counted as perhaps paid
    assert variants <= fake.answers() <= variants + len(unknown)


@pytest.mark.parametrize("commits", [0, 8])
def test_with_books_that_break_nothing_more_is_asked_and_what_they_hold_is_not_bought_again(
    tmp_path: Path, commits: int
) -> None:
    home, variants, at_a_time = tmp_path / "home", 40, 3
    with FakeProviders() as fake:
        fake.script("openai", always=Act(latency_s=0.02))
        settings = fake.settings("openai") | {"VCF_PIPELINE_OPENAI__CONCURRENCY": str(at_a_time)}
        words = [home, commits, variants, *(f"{name}={value}" for name, value in settings.items())]
        ended = subprocess.run(
            [sys.executable, "-c", BREAKING, *map(str, words)],
            cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=COMPLETE_S, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        said, code = ended.stdout.split()
        assert code == "STORE_UNAVAILABLE"
        before = fake.answers()
        assert before <= int(said) + at_a_time < variants
        child = start_explaining(home, 1, variants, settings)
        out, _ = child.communicate(timeout=COMPLETE_S)
        assert Counter(line.split()[1] for line in out.splitlines()) == {"annotated": variants}
        with control_of(home, settings) as control:
            control.ledger.usage()
            settled, calls = bought(control)
    assert settled == Counter({task.brief.subject: 1 for task in tasks(variants)})
    unknown = [call for call in calls if call.state == "unknown"]
    assert variants <= fake.answers() <= variants + len(unknown)
    assert len(unknown) <= at_a_time


@pytest.mark.parametrize(
    ("processes", "variants"), [(2, 30), pytest.param(8, 400, marks=pytest.mark.acceptance)], ids=["two", "eight"]
)
def test_at_the_same_variants_each_call_is_made_once(tmp_path: Path, processes: int, variants: int) -> None:
    home = tmp_path / "home"
    with FakeProviders() as fake:
        fake.script("openai", always=Act(latency_s=0.1))
        settings = fake.settings("openai") | {"VCF_PIPELINE_OPENAI__CONCURRENCY": "4"}
        with control_of(home, settings) as control:
            control.ledger.usage()
        children = [start_explaining(home, 1, variants, settings) for _ in range(processes)]
        for child in children:
            out, _ = child.communicate(timeout=COMPLETE_S)
            assert child.returncode == 0
            assert Counter(line.split()[1] for line in out.splitlines()) == {"annotated": variants}
        assert len(fake.received) == fake.answers() == variants
        assert fake.most_open("openai") <= 4
        with control_of(home, settings) as control:
            assert bought(control)[0] == Counter({task.brief.subject: 1 for task in tasks(variants)})


@pytest.mark.acceptance
def test_eight_processes_never_pass_the_budget(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with FakeProviders() as fake:
        fake.script("openai", always=Act(latency_s=0.02))
        settings = fake.settings("openai") | {"VCF_PIPELINE_AI__BUDGET_USD_PER_DAY": "0.01"}
        children = [start_explaining(home, 1000 * at, 200, settings) for at in range(8)]
        for child in children:
            out, _ = child.communicate(timeout=COMPLETE_S)
            assert child.returncode == 0
            assert set(Counter(line.split()[1] for line in out.splitlines())) <= {"annotated", "skipped"}
        with control_of(home, settings) as control:
            (usage,) = control.ledger.usage()
        assert 9_000 < usage.cost_microusd + usage.unknown_microusd <= 10_000
        assert usage.settled == fake.answers()
