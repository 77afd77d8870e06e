"""The same file again: three times, as a copy, twice at once, after a forget, and forgotten while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.forget import forget_callset
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.journeys.conftest import Running
from vcf_pipeline_tests.programs import Ended, answered, start, states, vcf_pipeline, wait_until


class Tenant:
    """One tenant of the shared daemon."""

    def __init__(self, daemon: Running, name: str) -> None:
        self.home, self.log, self.name = daemon.home, daemon.log, name

    def __call__(self, *words: str | Path, check: bool = True) -> Ended:
        return vcf_pipeline(self.home, *words, "--tenant", self.name, "--json", check=check)

    def asked(self, *words: str | Path) -> list[dict[str, Any]]:
        return answered(self.home, *words, "--tenant", self.name)

    def done(self) -> dict[str, Any]:
        """The tenant's one callset, once it is searchable."""
        wait_until(lambda: "done" in states(self.home, self.name).values(), f"{self.name}: done; see {self.log}")
        (partition,) = states(self.home, self.name)
        record: dict[str, Any] = self.asked("callsets", "show", partition)[0]
        return record

    def rows(self) -> int:
        return len(self.asked("query", "variants", "--limit", "100000"))


def test_published_three_times_and_as_a_copy_it_is_one_callset_until_it_is_forgotten(
    daemon: Running, trio: Path, tmp_path: Path
):
    tenant = Tenant(daemon, "again")
    copy = tmp_path / "another-name.vcf.gz"
    shutil.copyfile(trio, copy)
    first = tenant("publish", trio).records[0]
    repeats = tenant("publish", trio, trio, copy).records
    assert first["already_published"] is False
    assert len(repeats) == 3
    for record in repeats:
        assert record["already_published"] is True
        assert record["partition"] == first["partition"]
    said = vcf_pipeline(tenant.home, "publish", copy, "--tenant", "again").out
    assert "already published as" in said
    done = tenant.done()
    assert done["stores"] == dict.fromkeys(("lancedb", "kuzu"), first["alleles"])
    assert tenant.rows() == first["alleles"]

    tenant("callsets", "forget", first["partition"], "--yes")
    assert states(daemon.home, "again") == {}
    assert tenant.rows() == 0
    assert not (daemon.home / "data" / first["partition"]).exists()
    back = tenant("publish", copy).records[0]
    assert (back["partition"], back["already_published"]) == (first["partition"], False)
    again = tenant.done()
    assert again["generation"] == done["generation"] + 1
    assert again["digest"] == done["digest"]
    assert again["parsed_variants"]["created_at"] > done["parsed_variants"]["created_at"]
    assert tenant.rows() == first["alleles"]


def publish_at_once(daemon: Running, name: str, files: list[Path]) -> None:
    tenant = Tenant(daemon, name)
    rivals = [start(daemon.home, "publish", file, "--tenant", name, "--json") for file in files]
    ended = [(rival.communicate(timeout=120), rival.returncode) for rival in rivals]
    assert [code for _, code in ended] == [0] * len(files), ended
    records = [Ended(code, out, err).records[0] for (out, err), code in ended]
    assert len({record["partition"] for record in records}) == 1
    assert sorted(record["already_published"] for record in records) == [False] + [True] * (len(files) - 1)
    done = tenant.done()
    assert tenant.rows() == done["alleles"] > 0
    assert done["stores"] == dict.fromkeys(("lancedb", "kuzu"), done["alleles"])


def test_published_twice_at_once_one_wins_and_the_other_says_so(daemon: Running, trio: Path, tmp_path: Path):
    copy = tmp_path / "copy.vcf.gz"
    shutil.copyfile(trio, copy)
    publish_at_once(daemon, "at-once", [trio, copy])


@pytest.mark.acceptance
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(5))
def test_published_four_times_at_once_one_wins(daemon: Running, trio: Path, number: int):
    publish_at_once(daemon, f"at-once-{number}", [trio] * 4)


def test_forgotten_while_it_runs_the_run_ends_and_nothing_is_left(home: Path, trio: Path):
    with Control(load_settings({}, home=home)) as control:
        # opened before the run is started, since a command of its own could come when the run has ended
        opened = {name: getattr(control, name) for name in ("ledger", "tables", "lancedb", "kuzu")}
        process = start(home, "run", trio, "--json")
        wait_until(lambda: "running" in states(home).values(), "a running callset")
        (partition,) = states(home)
        forget_callset(PartitionKey.parse(partition), **opened)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "SUPERSEDED" in said or "UNKNOWN_PARTITION" in said
    assert "Traceback" not in said
    assert states(home) == {}
    assert answered(home, "query", "variants", "--limit", "10") == []
    assert [path for path in (home / "data" / partition).rglob("*") if path.is_file()] == []
    again = vcf_pipeline(home, "run", trio, "--json").records[0]
    assert again["stores"] == {"lancedb": again["alleles"], "kuzu": again["alleles"]}
