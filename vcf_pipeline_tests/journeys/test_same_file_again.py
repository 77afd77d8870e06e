"""The same file again: three times, as a copy, twice at once, after a forget, and forgotten while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline_tests.journeys.conftest import Running
from vcf_pipeline_tests.programs import Ended, start, vcf_pipeline, wait_until


class Tenant:
    """One tenant of the shared daemon."""

    def __init__(self, daemon: Running, name: str) -> None:
        self.home, self.log, self.name = daemon.home, daemon.log, name

    def __call__(self, *words: str | Path, check: bool = True) -> Ended:
        return vcf_pipeline(self.home, *words, "--tenant", self.name, "--json", check=check)

    def only(self) -> dict[str, Any]:
        (record,) = self("callsets", "list").records
        return record

    def done(self) -> dict[str, Any]:
        """The tenant's one callset, once it is searchable."""
        record = wait_until(
            lambda: next((one for one in self("callsets", "list").records if one["state"] == "done"), None),
            f"{self.name}: done; see {self.log}",
        )
        assert record == self.only()
        return self("callsets", "show", record["partition"]).records[0]

    def rows(self) -> int:
        return len(self("query", "variants", "--limit", "100000").records)


def test_published_three_times_and_as_a_copy_it_is_one_callset_until_it_is_forgotten(
    daemon: Running, clinvar: Path, tmp_path: Path
):
    tenant = Tenant(daemon, "again")
    copy = tmp_path / "another-name.vcf.gz"
    shutil.copyfile(clinvar, copy)
    first = tenant("publish", clinvar).records[0]
    repeats = [tenant("publish", file) for file in (clinvar, clinvar, copy)]
    assert first["already_published"] is False
    for repeat in repeats:
        (record,) = repeat.records
        assert record["already_published"] is True
        assert record["partition"] == first["partition"]
        assert record["chunks"] == 0
    said = vcf_pipeline(tenant.home, "publish", copy, "--tenant", "again").out
    assert "already published as" in said
    done = tenant.done()
    assert done["stores"] == dict.fromkeys(("lancedb", "kuzu"), first["alleles"])
    assert tenant.rows() == first["alleles"]

    tenant("callsets", "forget", first["partition"], "--yes")
    assert tenant("callsets", "list").records == []
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
    alleles = tenant.done()["alleles"]
    assert tenant.rows() == alleles > 0
    assert tenant.done()["stores"] == {"lancedb": alleles, "kuzu": alleles}


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
    process = start(home, "run", trio, "--json")
    record = wait_until(
        lambda: next(
            (one for one in vcf_pipeline(home, "callsets", "list", "--json").records if one["state"] == "running"), None
        ),
        "a running callset",
    )
    vcf_pipeline(home, "callsets", "forget", record["partition"], "--yes")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "SUPERSEDED" in said or "UNKNOWN_PARTITION" in said
    assert "Traceback" not in said
    assert vcf_pipeline(home, "callsets", "list", "--json").records == []
    assert vcf_pipeline(home, "query", "variants", "--limit", "10", "--json").records == []
    assert [path for path in (home / "data" / record["partition"]).rglob("*") if path.is_file()] == []
    again = vcf_pipeline(home, "run", trio, "--json").records[0]
    assert again["stores"] == {"lancedb": again["alleles"], "kuzu": again["alleles"]}
