"""ParsedBatches become tables whole or not at all, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.adapters.tables import Tables, TableWriter
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import PermanentError, StreamBroken, Superseded, Truncated
from vcf_pipeline.domain.row_ids import row_ids
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.parse import ParseReport, _Tally, is_current, parse_callset
from vcf_pipeline.stages.register import register_callset
from vcf_pipeline_tests.vcf_text import header_text, record

SETTINGS = ReaderSettings(max_reject_share=0.5, block_bytes=1 << 12)
ASSET = "parsed_variants"


class World:
    """A ledger, tables, and a registered file of 300 records, one of which is set aside."""

    def __init__(self, root: Path) -> None:
        self.file = root / "pair.vcf"
        lines = [
            record(
                "C,G", f"DP={number};AF=0.1,0.2", "GT:DP", "0/1:3", "1|2:.", pos=100 + number, contig=str(number // 200)
            )
            for number in range(299)
        ]
        lines.insert(150, record("C", "DP=1", "GT", "0/1", "0/1", pos="here"))
        text = header_text(
            info=("DP,1,Integer", "AF,A,Float"),
            formats=("GT,1,String", "DP,1,Integer"),
            samples=("anna", "bert"),
        )
        self.header = text
        self.file.write_text(text + "".join(lines))
        self.ledger: Ledger = open_ledger(f"sqlite:///{root / 'ledger.sqlite'}")
        self.tables = Tables(root / "data")
        self.callset = self.register()

    def register(self, settings: ReaderSettings = SETTINGS) -> Callset:
        callset, _ = register_callset(
            str(self.file), tenant="default", label=None, settings=settings, ledger=self.ledger, new_id=lambda: "id-1"
        )
        return callset

    def parse(self, source: Any = None, **given: Any) -> ParseReport:
        callset = given.pop("callset", self.callset)
        settings = ReaderSettings.from_record(callset.reader_settings)
        with (
            self.ledger.lease(f"{ASSET}/{callset.key}", wait_seconds=5) as lease,
            open_reader(str(self.file), settings, sha256=callset.sha256) as reader,
        ):
            return parse_callset(
                source(reader) if source else reader,
                callset=callset,
                tables=self.tables,
                ledger_lease=lease,
                **given,
            )

    def read(self, table: str) -> pl.DataFrame:
        return self.tables.read(self.callset.tenant, self.callset.callset_id, ASSET, table)

    def parts(self) -> list[Path]:
        folder = self.tables.folder(self.callset.tenant, self.callset.callset_id, ASSET)
        return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


class Changed:
    """A reader whose batches go through a function first."""

    def __init__(self, reader: Any, change: Any) -> None:
        self._reader, self._change = reader, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def batches(self) -> Iterator[ParsedBatch]:
        for number, batch in enumerate(self._reader.batches()):
            yield self._change(number, batch)


def test_no_frame_is_in_two_threads_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that ask one frame for different things may wait for each other for good."""
    world = World(tmp_path)
    counted, written = [], []
    add, write = _Tally.add, TableWriter.write

    def noted_batch(tally: _Tally, batch: ParsedBatch) -> None:
        counted.extend([batch.variants, batch.genotypes, batch.consequences, batch.rejects])
        add(tally, batch)

    def noted_rows(writer: TableWriter, table: str, rows: pl.DataFrame) -> None:
        written.append(rows)
        write(writer, table, rows)

    monkeypatch.setattr(_Tally, "add", noted_batch)
    monkeypatch.setattr(TableWriter, "write", noted_rows)
    assert world.parse().manifest.rejected == 1
    assert len(written) == len(counted) > 4
    assert not {id(rows) for rows in written} & {id(rows) for rows in counted}


def test_every_record_is_a_row_or_a_reject_and_the_manifest_says_all(world: World) -> None:
    told: list[tuple[int, int, int]] = []
    report = world.parse(progress=lambda *done: told.append(done))
    assert (report.records, report.alleles, report.rejected, report.reused) == (300, 598, 1, False)
    assert report.per_contig == {"0": 400, "1": 198}
    assert told[-1][2] == 300
    assert len(told) > 3
    variants = world.read("variants")
    assert variants.columns[0] == "row_id"
    key = world.callset.key
    expected = row_ids(key.tenant, key.callset_id, variants["record_no"].to_numpy(), variants["alt_index"].to_numpy())
    assert variants["row_id"].equals(expected)
    assert variants["row_id"].n_unique() == 598
    assert world.read("rejects")["code"].to_list() == ["POS_NOT_INTEGER"]
    assert world.read("genotypes")["gt"].to_list()[0] == [0, 1, 1, 2]
    assert world.tables.header_text(key.tenant, key.callset_id) == world.header
    manifest = report.manifest
    assert (manifest.samples, manifest.vcf_version, manifest.label) == (["anna", "bert"], "VCFv4.3", "pair")
    assert manifest.source["sha256"] == world.callset.sha256
    assert manifest.correlation_id == "id-1"
    assert manifest.defects["POS_NOT_INTEGER"] == 1
    assert {"polars", "pyarrow", "numba"} <= manifest.versions.keys()


def test_the_digest_is_that_of_the_tables_on_disk_at_any_block_size(world: World) -> None:
    digest = TableDigest()
    small = world.parse()
    for table in ("variants", "genotypes", "consequences", "rejects"):
        digest.add(table, world.read(table))
    assert small.digest == digest.value()
    frames = {table: world.read(table) for table in ("variants", "genotypes", "rejects")}
    large = world.parse(callset=world.register(replace(SETTINGS, block_bytes=1 << 20)), force=True)
    assert large.digest == small.digest
    for table, frame in frames.items():
        assert world.read(table).equals(frame)


def test_a_second_time_nothing_is_read_unless_it_is_forced(world: World) -> None:
    def never(_number: int, _batch: ParsedBatch) -> ParsedBatch:
        raise AssertionError("nothing is to be read")

    first = world.parse()
    assert is_current(world.callset, world.tables)
    again = world.parse(lambda reader: Changed(reader, never))
    assert (again.reused, again.digest, again.manifest) == (True, first.digest, first.manifest)
    forced = world.parse(force=True)
    assert (forced.reused, forced.digest) == (False, first.digest)
    assert forced.manifest.created_at > first.manifest.created_at


def test_other_settings_make_the_tables_stale(world: World) -> None:
    world.parse()
    narrower = world.register(replace(SETTINGS, info=("DP",)))
    assert not is_current(narrower, world.tables)
    assert not world.parse(callset=narrower).reused
    assert "info_AF" not in world.read("variants").columns


def test_a_source_that_breaks_leaves_the_old_tables_and_no_file(world: World) -> None:
    def breaks(number: int, batch: ParsedBatch) -> ParsedBatch:
        if number == 3:
            raise Truncated(where="pair.vcf", got="an end")
        return batch

    first = world.parse()
    before = sorted(world.parts())
    with pytest.raises(Truncated):
        world.parse(lambda reader: Changed(reader, breaks), force=True)
    assert sorted(world.parts()) == before
    assert world.read("variants").height == first.alleles


def test_a_lost_record_is_noticed_before_anything_is_seen(world: World) -> None:
    def loses(number: int, batch: ParsedBatch) -> ParsedBatch:
        return replace(batch, variants=batch.variants.tail(-2)) if number == 1 else batch

    with pytest.raises(PermanentError) as found:
        world.parse(lambda reader: Changed(reader, loses))
    assert found.value.code == "RECORDS_LOST"
    assert world.parts() == []


def test_a_stream_that_does_not_add_up_to_what_was_announced_is_broken(world: World) -> None:
    with pytest.raises(StreamBroken):
        world.parse(announced_digest="d1:" + "0" * 32)
    assert world.parts() == []
    assert world.parse().digest == world.parse(announced_digest=world.parse().digest, force=True).digest


def test_a_forget_in_the_middle_wins_and_leaves_no_file(world: World) -> None:
    def forgets(number: int, batch: ParsedBatch) -> ParsedBatch:
        if number == 2:
            world.ledger.forget(world.callset.key)
            world.tables.remove(world.callset.tenant, world.callset.callset_id)
        return batch

    with pytest.raises(Superseded):
        world.parse(lambda reader: Changed(reader, forgets))
    assert world.parts() == []


def test_a_run_that_waited_while_its_callset_was_forgotten_writes_nothing(world: World) -> None:
    world.ledger.forget(world.callset.key)
    with pytest.raises(Superseded):
        world.parse()
    assert world.parts() == []
