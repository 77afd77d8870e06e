"""The one idea, proved: what comes through the stream equals, row for row, what comes through batch."""

from __future__ import annotations

from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from uuid_utils import uuid7

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.journeys.conftest import Running
from vcf_pipeline_tests.programs import answered, is_explained, states, vcf_pipeline, wait_until

TABLES = ("variants", "genotypes", "consequences", "rejects")
PARITY_FILES = [
    "annotated/scout__643594.clinical.vcf.gz",
    "annotated/slivar__ashk-trio.vcf.gz",
    "multisample/hail__sample2_split.vcf.bgz",
    "mito/bio2zarr__chr_m_indels.vcf.gz",
    "sv/vcf2maf__test_delly.vcf",
]


def new_id() -> str:
    return str(uuid7())


def parse_by_stream(control: Control, file: Path) -> PartitionKey:
    from vcf_pipeline.stages.parse import parse_callset
    from vcf_pipeline.stages.publish import publish_callset
    from vcf_pipeline.stages.receive import open_received

    report = publish_callset(
        str(file),
        tenant="default",
        label=None,
        settings=ReaderSettings(),
        coordinator=control.coordinator,
        state_dir=control.home / "publish",
        receipts=control.ledger,
        now=lambda: "2026-01-01T00:00:00+00:00",
        new_id=new_id,
    )
    key = PartitionKey.parse(report.partition)
    announced = control.ledger.announcement(key)
    callset = control.ledger.callset(key)
    assert announced is not None
    assert callset is not None
    with (
        control.ledger.lease(f"parsed_variants/{key}", wait_seconds=1) as lease,
        open_received(announced, control.coordinator) as source,
    ):
        parse_callset(
            source,
            callset=callset,
            tables=control.tables,
            ledger_lease=lease,
            announced_digest=announced.digest,
        )
    return key


def parse_by_batch(control: Control, file: Path, settings: ReaderSettings | None = None) -> PartitionKey:
    from vcf_pipeline.adapters.vcf_files.reader import open_reader
    from vcf_pipeline.stages.parse import parse_callset
    from vcf_pipeline.stages.register import register_callset

    settings = settings or ReaderSettings()
    callset, _ = register_callset(
        str(file), tenant="default", label=None, settings=settings, ledger=control.ledger, new_id=new_id
    )
    with (
        control.ledger.lease(f"parsed_variants/{callset.key}", wait_seconds=1) as lease,
        open_reader(str(file), settings) as source,
    ):
        parse_callset(source, callset=callset, tables=control.tables, ledger_lease=lease)
    return callset.key


@pytest.mark.parametrize("name", PARITY_FILES)
def test_stream_and_batch_write_equal_tables(name: str, corpus: Path, tmp_path: Path) -> None:
    with (
        Control(load_settings({}, home=tmp_path / "stream")) as streamed,
        Control(load_settings({}, home=tmp_path / "batch")) as batched,
    ):
        key = parse_by_stream(streamed, corpus / name)
        assert parse_by_batch(batched, corpus / name) == key
        ours = streamed.tables.manifest(key.tenant, key.callset_id, "parsed_variants")
        theirs = batched.tables.manifest(key.tenant, key.callset_id, "parsed_variants")
        assert ours is not None
        assert theirs is not None
        assert ours.digest == theirs.digest
        for table in TABLES:
            if table not in theirs.schemas:
                assert table not in ours.schemas
                continue
            where = (key.tenant, key.callset_id, "parsed_variants", table)
            assert_frame_equal(streamed.tables.read(*where), batched.tables.read(*where))


def test_any_block_size_gives_the_same_digest(corpus: Path, tmp_path: Path) -> None:
    digests = set()
    for block_bytes in (1 << 14, 1 << 18, 4 << 20):
        with Control(load_settings({}, home=tmp_path / str(block_bytes))) as control:
            file = corpus / "annotated/scout__643594.clinical.vcf.gz"
            key = parse_by_batch(control, file, ReaderSettings(block_bytes=block_bytes))
            manifest = control.tables.manifest(key.tenant, key.callset_id, "parsed_variants")
            assert manifest is not None
            digests.add(manifest.digest)
    assert len(digests) == 1


def test_a_daemons_sensors_take_a_published_callset_to_both_stores_and_explain_it(
    daemon: Running, clinvar: Path, tmp_path: Path
) -> None:
    mine = ("--tenant", "streamed")
    published = vcf_pipeline(daemon.home, "publish", clinvar, *mine, "--json").records[0]
    partition = published["partition"]
    wait_until(
        lambda: states(daemon.home, "streamed") == {partition: "done"},
        f"the published callset done; see {daemon.log}",
    )
    home = tmp_path / "batch"
    batch = vcf_pipeline(home, "run", clinvar, "--annotate", *mine, "--json").records[0]
    (done,) = answered(daemon.home, "callsets", "list", *mine)
    assert done["digest"] == batch["digest"] == published["digest"]
    found = answered(daemon.home, "query", "variants", "--tier", "3", "--limit", "100", *mine)
    assert len(found) == batch["tiers"]["3"] > 0
    wait_until(lambda: is_explained(daemon.home, partition), f"what was published explained; see {daemon.log}")
    streamed, batched = (
        answered(one, "query", "text", "congenital myasthenic syndrome", *mine) for one in (daemon.home, home)
    )
    assert streamed == batched != []
    assert (batch["annotations"]["annotated"], batch["annotations"]["calls"]) == (5, 0)
