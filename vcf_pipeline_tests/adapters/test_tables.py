"""A reader sees the old table whole or the new one whole, whatever becomes of the writer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.adapters import tables as module
from vcf_pipeline.adapters.objects import content_sha256, put_atomically
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import PermanentError, PipelineError, StoreUnavailable, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline_tests.programs import children

KEY = PartitionKey("default", "0123456789abcdef")
WHERE = (KEY.tenant, KEY.callset_id, "parsed_variants")
FIELDS: dict[str, Any] = {"label": "made", "correlation_id": "c", "code_version": "1"}
Replace = Callable[[], None]


def at_once(replace: Replace) -> None:
    replace()


def rows(first: int, n: int, **more: Any) -> pl.DataFrame:
    numbers = range(first, first + n)
    return pl.DataFrame({"record_no": numbers, "contig": ["1"] * n, **more}, schema_overrides={"record_no": pl.Int64})


def put(tables: Tables, *frames: pl.DataFrame, fence: int = 1, table: str = "variants") -> None:
    with tables.writer(KEY, "parsed_variants", fence=fence) as writer:
        for frame in frames:
            writer.write(table, frame)
        writer.put_text("header.vcf", f"##fence={fence}\n")
        writer.commit(FIELDS, at_once)


def files(tables: Tables) -> set[str]:
    return {str(path.relative_to(tables.root)) for path in tables.root.rglob("*") if path.is_file()}


def test_what_is_written_is_read_and_the_manifest_says_so(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    frames = [rows(0, 3), rows(3, 2)]
    put(tables, *frames)
    assert_frame_equal(tables.read(*WHERE, "variants"), pl.concat(frames))
    assert_frame_equal(tables.scan(*WHERE, "variants").collect(), pl.concat(frames))
    assert tables.read(*WHERE, "variants", ["contig"]).columns == ["contig"]
    assert tables.header_text(*WHERE[:2]) == "##fence=1\n"
    manifest = tables.manifest(*WHERE)
    assert manifest is not None
    assert manifest.rows("variants") == 5
    digest = TableDigest()
    digest.add("variants", pl.concat(frames))
    assert manifest.digest == digest.value()
    for part in manifest.parts:
        path = tables.folder(*WHERE) / part.path
        assert content_sha256(str(path)) == (part.checksum, part.size_bytes)


def test_parts_of_other_dtypes_are_read_at_their_union(tmp_path: Path) -> None:
    def calls(values: list[list[int] | None], width: int) -> dict[str, pl.Series]:
        phased = [None if one is None else [False, True] for one in values]
        return {
            "gt": pl.Series(values, dtype=pl.Array(pl.Int8, width)),
            "phased": pl.Series(phased, dtype=pl.Array(pl.Boolean, 2)),
        }

    narrow = rows(0, 2, **calls([[0, 1], None], 2), x=pl.Series([1, None], dtype=pl.Int32))
    wide = rows(2, 1, **calls([[0, 1, 2, 1, -2, -2]], 6), x=[0.5], y=[["a", None]])
    tables = Tables(tmp_path)
    put(tables, narrow, wide, narrow)
    read = tables.read(*WHERE, "variants")
    assert read["gt"].to_list()[:3] == [[0, -2, -2, 1, -2, -2], None, [0, 1, 2, 1, -2, -2]]
    assert read["x"].to_list() == [1.0, None, 0.5, 1.0, None]
    assert read["y"].to_list() == [None, None, ["a", None], None, None]
    assert dict(read.schema) == tables.schema(*WHERE, "variants")
    assert_frame_equal(tables.scan(*WHERE, "variants").collect(), read)
    assert_frame_equal(tables.scan(*WHERE, "variants").select("gt").collect(), read.select("gt"))
    assert tables.read(*WHERE, "variants", ["gt"])["gt"].to_list() == read["gt"].to_list()
    assert tables.scan(*WHERE, "variants").filter(pl.col("x") == 0.5).select("y").collect().height == 1


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 0))
    assert_frame_equal(tables.read(*WHERE, "variants"), rows(0, 0))
    assert_frame_equal(tables.scan(*WHERE, "variants").collect(), rows(0, 0))
    assert sum(frame.height for frame in tables.frames(*WHERE, "variants", ["contig"])) == 0


def test_frames_come_in_bounded_pieces_in_written_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr(module, "PART_BYTES", 3000)
    tables = Tables(tmp_path)
    put(tables, *(rows(first, 50) for first in range(0, 1000, 50)))
    pieces = list(tables.frames(*WHERE, "variants", ["record_no"]))
    assert max(piece.height for piece in pieces) <= 150
    assert pl.concat(pieces)["record_no"].to_list() == list(range(1000))
    manifest = tables.manifest(*WHERE)
    assert manifest is not None
    assert sum(part.table == "variants" for part in manifest.parts) > 2


def test_the_version_before_stays_until_the_next_writer_sweeps(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2), fence=1)
    reading = tables.scan(*WHERE, "variants")
    put(tables, rows(0, 3), fence=2)
    assert reading.collect().height == 2
    put(tables, rows(0, 4), fence=3)
    assert not any("/1/" in path for path in files(tables))
    assert tables.read(*WHERE, "variants").height == 4


def test_a_reader_whose_parts_vanished_looks_at_the_manifest_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2), fence=1)
    old = tables.manifest(*WHERE)
    put(tables, rows(0, 3), fence=2)
    put(tables, rows(0, 4), fence=3)
    looks = iter([old])
    real = Tables.manifest
    monkeypatch.setattr(Tables, "manifest", lambda self, *where: next(looks, None) or real(self, *where))
    assert tables.read(*WHERE, "variants").height == 4


def test_a_part_that_is_gone_for_good_is_a_permanent_error_not_an_empty_table(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    for path in tables.folder(*WHERE).glob("1/*.parquet"):
        path.unlink()
    for read in (tables.read, tables.scan):
        with pytest.raises(PermanentError, match=r"TABLE_DAMAGED.*--force"):
            read(*WHERE, "variants")
    put(tables, rows(0, 3), fence=2)
    assert tables.read(*WHERE, "variants").height == 3


def test_a_reader_whose_parts_are_replaced_in_the_middle_may_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 1)
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 1)
    tables = Tables(tmp_path)
    put(tables, rows(0, 2), rows(2, 2), fence=1)
    frames = tables.frames(*WHERE, "variants")
    assert next(frames).height == 2
    put(tables, rows(0, 3), fence=2)
    put(tables, rows(0, 4), fence=3)
    with pytest.raises(StoreUnavailable):
        list(frames)


def test_a_table_that_was_never_written_is_a_permanent_error(tmp_path: Path) -> None:
    for read in (Tables(tmp_path).read, Tables(tmp_path).scan, lambda *where: list(Tables(tmp_path).frames(*where))):
        with pytest.raises(PermanentError, match="expected the tables of parsed_variants, got none"):
            read(*WHERE, "variants")


def test_a_writer_that_raises_leaves_the_old_table_and_no_file(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    before = files(tables)
    with pytest.raises(KeyError), tables.writer(KEY, "parsed_variants", fence=2) as writer:
        writer.write("variants", rows(0, 9))
        raise KeyError("in the middle")
    assert files(tables) == before


def test_a_first_writer_that_raises_leaves_no_folder(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    with pytest.raises(KeyError), tables.writer(KEY, "parsed_variants", fence=1) as writer:
        writer.write("variants", rows(0, 9))
        raise KeyError("in the middle")
    assert list((tmp_path / KEY.tenant).iterdir()) == []


def test_a_superseded_writer_leaves_the_old_table_and_no_file(tmp_path: Path) -> None:
    def refuse(_replace: Replace) -> None:
        raise Superseded(where="lease", got="another")

    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    before = files(tables)
    with pytest.raises(Superseded), tables.writer(KEY, "parsed_variants", fence=2) as writer:
        writer.write("variants", rows(0, 9))
        writer.commit(FIELDS, refuse)
    assert files(tables) == before
    assert tables.read(*WHERE, "variants").height == 2


MOMENTS = ["written", "in the guard", "replaced"]


def _write_and_die(root: Path, moment: str) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def guard(replace: Replace) -> None:
        if moment == "in the guard":
            module.put_atomically = lambda path, content: (path.with_name(".half").write_bytes(content), die())
        replace()
        die()

    with Tables(root).writer(KEY, "parsed_variants", fence=2) as writer:
        for first in range(0, 4000, 1000):
            writer.write("variants", rows(first, 1000))
        writer.put_text("header.vcf", "##fence=2\n")
        if moment == "written":
            die()
        writer.commit(FIELDS, guard)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_killed_at_any_moment_leaves_the_old_table_or_the_new_one(tmp_path: Path, moment: str) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    child = children().Process(target=_write_and_die, args=(tmp_path, moment))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    expected = 4000 if moment == "replaced" else 2
    assert tables.read(*WHERE, "variants").height == expected
    assert tables.header_text(*WHERE[:2]) == ("##fence=2\n" if moment == "replaced" else "##fence=1\n")
    put(tables, rows(0, 5), fence=3)
    put(tables, rows(0, 6), fence=4)
    manifest = tables.manifest(*WHERE)
    assert manifest is not None
    named = {f"{KEY}/parsed_variants/{part.path}" for part in manifest.parts}
    kept = {path for path in files(tables) if "/3/" in path}
    assert files(tables) == {*named, *kept, f"{KEY}/parsed_variants/manifest.json"}


def test_removing_leaves_nothing_and_reading_then_says_that_there_is_none(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    tables.remove(KEY.tenant, KEY.callset_id)
    tables.remove(KEY.tenant, KEY.callset_id)
    assert files(tables) == set()
    assert tables.manifest(*WHERE) is None
    with pytest.raises(PipelineError, match="parsed_variants"):
        tables.read(*WHERE, "variants")


def test_a_broken_manifest_is_an_error_not_an_absent_one(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    put_atomically(tables.manifest_path(*WHERE), b"{")
    with pytest.raises(StoreUnavailable):
        tables.manifest(*WHERE)


def test_a_writer_whose_disk_is_full_at_the_footer_leaves_the_old_table_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Tables(tmp_path)
    put(tables, rows(0, 2))
    before = files(tables)

    def full(writer: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "close", full)
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        put(tables, rows(0, 9), fence=2)
    assert files(tables) == before
    assert tables.read(*WHERE, "variants").height == 2
