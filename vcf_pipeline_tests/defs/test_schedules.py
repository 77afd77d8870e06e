"""inbox_schedule and backfill_schedule on a real instance."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from pathlib import Path

import pytest

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.query import VariantQuery
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages import register
from vcf_pipeline.stages.query import query_variants
from vcf_pipeline.stages.sources import SourceRequest, add_source
from vcf_pipeline_tests.defs.conftest import Desk
from vcf_pipeline_tests.stages.lab import CLINVAR_INFO, ONE_STAR, claim
from vcf_pipeline_tests.vcf_text import header_text, record

NOW = time.time()


@pytest.fixture
def desk(disk_desk: Desk) -> Desk:
    return disk_desk


def put(desk: Desk, name: str, source: str | bytes, age: float = 60) -> Path:
    inbox = desk.folder / "home" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    path = inbox / name
    if isinstance(source, bytes):
        path.write_bytes(source)
    else:
        shutil.copyfile(source, path)
    os.utime(path, (NOW - age, NOW - age))
    return path


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read for their checksum."""
    seen: list[str] = []
    real = register.content_sha256

    def content_sha256(uri, progress=None):
        seen.append(Path(uri).name)
        return real(uri, progress)

    monkeypatch.setattr(register, "content_sha256", content_sha256)
    return seen


def test_a_settled_file_of_the_inbox_becomes_a_callset_and_a_run_once(desk: Desk, readings: list[str]):
    put(desk, "a.vcf", desk.made(2))
    put(desk, "fresh.vcf", desk.made(3), age=5)
    put(desk, ".unfinished.vcf", desk.made(4))
    put(desk, "notes.txt", b"hello")
    (request,) = desk.scheduled("inbox_schedule", NOW)
    assert request.partition_key in desk.instance.get_dynamic_partitions("callsets")
    assert request.tags["vcf_pipeline/path"] == "batch"
    assert desk.run(request, "vcf_batch").success
    assert desk.state(str(request.partition_key)) == "done"
    assert desk.scheduled("inbox_schedule", NOW) == []
    assert readings == ["a.vcf"]
    assert len(desk.scheduled("inbox_schedule", NOW + 60)) == 1
    assert readings == ["a.vcf", "fresh.vcf"]


def test_a_refused_file_is_refused_once_until_it_changes(desk: Desk, readings: list[str]):
    put(desk, "bad.vcf", b"no vcf at all\n")
    put(desk, "bad.vcf.gz", gzip.compress(b"no vcf either\n"))
    for _ in range(2):
        assert desk.scheduled("inbox_schedule", NOW) == []
    assert sorted(readings) == ["bad.vcf", "bad.vcf.gz"]
    put(desk, "bad.vcf", desk.made(2))
    assert len(desk.scheduled("inbox_schedule", NOW)) == 1


def test_copies_are_one_callset_and_do_not_take_turns(desk: Desk, readings: list[str]):
    put(desk, "a.vcf", desk.made(2))
    put(desk, "b.vcf", desk.made(2))
    requests = desk.scheduled("inbox_schedule", NOW)
    assert len({request.run_key for request in requests}) == 1
    assert desk.scheduled("inbox_schedule", NOW) == []
    assert sorted(readings) == ["a.vcf", "b.vcf"]


def test_what_was_forgotten_does_not_come_back_from_the_inbox_by_itself(desk: Desk):
    put(desk, "a.vcf", desk.made(2))
    (request,) = desk.scheduled("inbox_schedule", NOW)
    desk.control.ledger.forget(PartitionKey.parse(str(request.partition_key)))
    assert desk.scheduled("inbox_schedule", NOW + 60) == []


def test_without_an_inbox_there_is_nothing_to_do(desk: Desk):
    assert desk.scheduled("inbox_schedule", NOW) == []


def test_the_backfill_asks_for_what_misses_an_asset_and_for_what_is_stale(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    done, never, final = desk.publish(2), desk.publish(3), desk.publish(4)
    requests = {str(one.partition_key): one for one in desk.tick("callset_sensor").run_requests}
    desk.control.ledger.mark_failed(PartitionKey.parse(final), "no cure", "X", permanent=True, generation=0)
    assert desk.run(requests[done]).success
    (asked,) = desk.scheduled("backfill_schedule", NOW)
    assert asked.partition_key == never
    assert desk.run(asked, "vcf_batch").success
    assert desk.scheduled("backfill_schedule", NOW) == []

    shutil.rmtree(desk.control.tables.root / done / "triaged_variants")
    (asked,) = desk.scheduled("backfill_schedule", NOW)
    assert asked.partition_key == done
    assert desk.run(asked, "vcf_batch").success

    monkeypatch.setattr("vcf_pipeline.stages.parse.CODE_VERSION", "next")
    assert {one.partition_key for one in desk.scheduled("backfill_schedule", NOW)} == {done, never}
    monkeypatch.undo()
    desk.control.settings = load_settings({}, home=desk.folder / "home", triage={"rare_af": 0.5})
    assert {one.partition_key for one in desk.scheduled("backfill_schedule", NOW)} == {done, never}


def test_the_backfill_refreshes_what_a_changed_source_made_stale_and_the_stores_follow(desk: Desk):
    control = desk.control

    def vcf(name: str, info: str = ".") -> str:
        path = desk.folder / name
        header = header_text(lines=("##reference=GRCh38",), info=CLINVAR_INFO)
        path.write_text(header + record("T", info, pos=5, ref="C"))
        return str(path)

    def registered(info: str, *, replaces: bool) -> None:
        add_source(
            vcf("clinvar.vcf", info),
            tenant="default",
            name="clinvar",
            request=SourceRequest(),
            ledger=control.ledger,
            tables=control.source_tables,
            replaces=replaces,
        )

    register.register_callset(
        vcf("calls.vcf"),
        tenant="default",
        label=None,
        settings=control.settings.reader.to_reader_settings(),
        ledger=control.ledger,
        new_id=lambda: "id",
    )
    for info, tier in (("", None), (claim("Benign", ONE_STAR), 3), (claim("Pathogenic"), 1)):
        if info:
            registered(info, replaces=tier == 1)
        (asked,) = desk.scheduled("backfill_schedule", NOW)
        assert desk.run(asked, "vcf_batch").success
        assert desk.scheduled("backfill_schedule", NOW) == []
        query = VariantQuery.parse()
        found = query_variants(query, tables=control.tables, ledger=control.ledger, store=control.lancedb)
        assert found.frame["tier"].to_list() == [tier]
