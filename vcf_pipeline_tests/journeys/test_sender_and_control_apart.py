"""A sender in a home of its own, a real broker between, and a daemon whose sensors hear it: rows can be found.

Not here: what an adapter promises (adapters/broker/contract.py); brokers that fail (chaos/).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from vcf_pipeline_tests.adapters.broker.real_brokers import Between
from vcf_pipeline_tests.programs import answered, dagster_daemon, states, vcf_pipeline, wait_until


@pytest.fixture(params=[pytest.param("iggy", marks=pytest.mark.acceptance), "kafka"])
def between(request: pytest.FixtureRequest, real: Callable[[str], Between]) -> Between:
    """One real broker; skips with what to start."""
    broker: Between = real(request.param)
    return broker


def test_what_a_sender_publishes_is_found_by_a_query_of_control(between: Between, trio: Path, tmp_path: Path) -> None:
    sender, control = tmp_path / "sender" / "home", tmp_path / "control" / "home"
    for home in (sender, control):
        home.parent.mkdir()
    with dagster_daemon(control, tmp_path / "daemon.log", **between.settings):
        (published,) = vcf_pipeline(sender, "publish", trio, "--json", **between.settings).records
        assert {segment["broker"] for segment in published["segments"]} == {between.name}
        key = published["partition"]
        wait_until(lambda: states(control).get(key) == "done", f"{key} done; see {tmp_path / 'daemon.log'}")
    assert not (sender / "ledger.sqlite").exists() or states(sender).get(key) != "done"
    (batch,) = vcf_pipeline(tmp_path / "batch", "run", trio, "--json").records
    found = answered(control, "query", "variants", "--tier", "3", "--limit", "10000")
    assert published["digest"] == batch["digest"]
    assert len(found) == batch["tiers"]["3"] > 0


@pytest.mark.acceptance
def test_two_senders_and_two_daemons_make_one_result(between: Between, clinvar: Path, tmp_path: Path) -> None:
    """Each control has its own ledger, so each has one result; nobody's row is doubled."""
    senders = [tmp_path / f"sender-{number}" / "home" for number in range(2)]
    controls = [tmp_path / f"control-{number}" / "home" for number in range(2)]
    for home in (*senders, *controls):
        home.parent.mkdir()
    with ExitStack() as daemons:
        for home in controls:
            daemons.enter_context(dagster_daemon(home, home.parent / "daemon.log", **between.settings))
        records = [vcf_pipeline(home, "publish", clinvar, "--json", **between.settings).records[0] for home in senders]
        assert len({record["partition"] for record in records}) == 1
        key = records[0]["partition"]
        for home in controls:
            wait_until(lambda home=home: states(home).get(key) == "done", f"{key} done; see {home.parent}")
    for home in controls:
        found = answered(home, "query", "variants", "--callset", key, "--limit", "10000")
        assert len(found) == records[0]["alleles"]
