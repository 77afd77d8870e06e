"""`vcf-pipeline demo`, as `make demo` runs it: real daemon, real sensor, both paths, equal results."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from vcf_pipeline_tests.programs import Ended, vcf_pipeline


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    home = tmp_path_factory.mktemp("demo") / "home"
    return home, vcf_pipeline(home, "demo", "--json")


def test_stream_and_batch_agree(demo: tuple[Path, Ended]) -> None:
    (record,) = demo[1].records
    assert record["equal"] is True
    assert record["stream_digest"] == record["batch_digest"]
    assert record["stream_digest"].startswith("d1:")


def test_everything_is_triaged_and_loaded(demo: tuple[Path, Ended]) -> None:
    (record,) = demo[1].records
    assert record["records"] > 0
    assert list(record["tiers"]) == ["1", "2", "3", "4", "unknown"]
    assert sum(record["tiers"].values()) == record["alleles"]
    assert record["stores"] == {"lancedb": record["alleles"], "kuzu": record["alleles"]}


def test_what_the_demo_made_is_searchable_afterwards(demo: tuple[Path, Ended]) -> None:
    (record,) = demo[1].records
    found = vcf_pipeline(Path(record["home"]), "query", "variants", "--callset", "trio", "--limit", "3", "--json")
    assert len(found.records) == 3
    assert {row["callset_id"] for row in found.records} == {record["partition"].split("/")[1]}


def test_no_process_of_the_demo_is_left(demo: tuple[Path, Ended]) -> None:
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VCF_PIPELINE_HOME", "").startswith(str(demo[0])):
                left.append(process.cmdline())
        except psutil.Error:
            continue
    assert left == []
