"""Rows of a source come out sorted, whole and once, in whatever order and however many they came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vcf_pipeline.adapters.sources import SourceTables
from vcf_pipeline.domain.errors import PermanentError, StoreUnavailable


def rows(contig: str, positions: list[int], text: str = "x") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "contig": [contig] * len(positions),
            "key_pos": positions,
            "variant_key": [f"{contig}-{at}-A-C" for at in positions],
            "field_T": [text] * len(positions),
        }
    )


def written(tables: SourceTables, *frames: pl.DataFrame, reduced=lambda frame: frame) -> str:
    with tables.writer(
        "default", "s", "v1", sort_by=("key_pos", "variant_key"), last="key_pos", reduced=reduced
    ) as writer:
        for frame in frames:
            writer.write(frame)
        writer.finish()
        writer.keep()
    return writer.path


def read(tables: SourceTables, path: str) -> pl.DataFrame:
    with tables.open(path, "key_pos") as source:
        return pl.concat([source.empty(), *(source.read(group) for group in source.groups)])


@pytest.mark.parametrize("run_bytes", [1, 20_000, 1 << 30])
def test_rows_in_any_order_come_out_sorted_whether_in_one_run_or_many(tmp_path: Path, run_bytes: int) -> None:
    tables = SourceTables(tmp_path, run_bytes=run_bytes, group_rows=100)
    rng = np.random.default_rng(7)
    drawn = {contig: rng.integers(1, 900, 1000).tolist() for contig in ("2", "10", "X")}
    pieces = [
        rows(contig, positions[at : at + 130]) for at in range(0, 1000, 130) for contig, positions in drawn.items()
    ]
    path = written(tables, *(pieces[at] for at in rng.permutation(len(pieces))))
    found = read(tables, path)
    assert found.height == 3000
    for contig, positions in drawn.items():
        mine = found.filter(pl.col("contig") == contig)["key_pos"]
        assert mine.to_list() == sorted(positions)
    with tables.open(path, "key_pos") as source:
        assert all(group.rows <= 100 for group in source.groups)
        contigs = [group.contig for group in source.groups]
        assert contigs == sorted(contigs, key=contigs.index)
    assert sorted(path.name for path in (tmp_path / path).iterdir()) == ["rows.parquet"]


def test_all_rows_of_one_place_are_reduced_together_whatever_runs_they_came_in(tmp_path: Path) -> None:
    tables = SourceTables(tmp_path, run_bytes=1, group_rows=2)
    seen: list[set[int]] = []

    def reduced(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append(set(frame["key_pos"]))
        return frame.unique("variant_key", keep="first", maintain_order=True)

    path = written(tables, rows("1", [5, 9, 9]), rows("1", [9, 2]), rows("1", [9, 5]), reduced=reduced)
    assert read(tables, path)["key_pos"].to_list() == [2, 5, 9]
    assert sum(len(places) for places in seen) == len(set().union(*seen))


def test_a_frame_touches_only_the_groups_its_places_lie_in(tmp_path: Path) -> None:
    tables = SourceTables(tmp_path, group_rows=10)
    path = written(tables, rows("1", list(range(1, 101))), rows("2", list(range(1, 101))))
    with tables.open(path, "key_pos") as source:

        def touched(contig: str, *places: int) -> list[tuple[int, int]]:
            at = np.array(places, dtype=np.int64)
            return [(group.first, group.last) for group in source.touched(contig, at, at)]

        assert touched("1", 95, 3) == [(1, 10), (91, 100)]
        assert touched("2", 10, 11) == [(1, 10), (11, 20)]
        assert touched("1", 500) == touched("3", 5) == touched("1") == []
        wide = list(source.touched("1", np.array([15]), np.array([35])))
        assert [group.first for group in wide] == [11, 21, 31]


def test_a_source_without_rows_has_its_columns(tmp_path: Path) -> None:
    tables = SourceTables(tmp_path)
    path = written(tables, rows("1", []))
    assert read(tables, path).columns == ["contig", "key_pos", "variant_key", "field_T"]


def test_a_writer_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    tables = SourceTables(tmp_path, run_bytes=1)
    with (
        pytest.raises(ZeroDivisionError),
        tables.writer("default", "s", "v1", sort_by=("key_pos",), last="key_pos", reduced=lambda f: f) as writer,
    ):
        writer.write(rows("1", [1]))
        raise ZeroDivisionError
    assert list(tables.folder("default", "s").iterdir()) == []


def test_whoever_has_it_open_reads_on_when_it_is_swept_and_a_newcomer_is_told(tmp_path: Path) -> None:
    tables = SourceTables(tmp_path)
    path = written(tables, rows("1", [1, 2]))
    with tables.open(path, "key_pos") as source:
        tables.sweep("default", "s", None)
        assert source.read(source.groups[0]).height == 2
    with pytest.raises(StoreUnavailable) as caught:
        tables.open(path, "key_pos")
    assert caught.value.code == "SOURCE_GONE"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    tables = SourceTables(tmp_path)
    path = written(tables, rows("1", [1]))
    (tmp_path / path / "rows.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(PermanentError, match="SOURCE_DAMAGED"):
        tables.open(path, "key_pos")
