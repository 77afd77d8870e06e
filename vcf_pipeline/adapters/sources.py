"""Rows of registered sources: sorted Parquet below DATA/<tenant>/_sources/<name>/, read row group by row group.

Rows are sorted as they come, whatever the file's order: full buffers become sorted runs, and the runs are merged, so
that memory is bounded. A folder counts only once the ledger names it; whoever has its file open can read on when it
is replaced. Not here: what the columns mean (domain/sources), which version is current (ledger/sources.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vcf_pipeline.adapters.objects import flush_file, flush_folder, make_private_dir, unavailable
from vcf_pipeline.domain.errors import PermanentError, StoreUnavailable

ROWS = "rows.parquet"
GROUP_ROWS = 100_000
RUN_BYTES = 96 << 20
RUN_GROUP_ROWS = 25_000


@dataclass(frozen=True)
class Group:
    """A row group: of one contig, its least and greatest position."""

    at: int
    contig: str
    first: int
    last: int
    rows: int


class SourceTables:
    """The rows of every source of every tenant below one folder."""

    def __init__(self, root: Path, *, run_bytes: int = RUN_BYTES, group_rows: int = GROUP_ROWS) -> None:
        """run_bytes: what is sorted at once. group_rows: of one contig, what a join holds of a source at once."""
        self.root = root
        self._run_bytes, self._group_rows = run_bytes, group_rows

    def folder(self, tenant: str, name: str) -> Path:
        return self.root / tenant / "_sources" / name

    def writer(
        self,
        tenant: str,
        name: str,
        version: str,
        *,
        sort_by: tuple[str, ...],
        last: str,
        reduced: Callable[[pl.DataFrame], pl.DataFrame],
    ) -> SourceWriter:
        """For whoever holds the source's lease; see SourceWriter."""
        folder = self.folder(tenant, name) / f"{version}-{uuid4().hex[:8]}"
        return SourceWriter(
            self.root,
            folder,
            sort_by=sort_by,
            last=last,
            reduced=reduced,
            run_bytes=self._run_bytes,
            group_rows=self._group_rows,
        )

    def open(self, path: str, last: str) -> SourceRows:
        """The rows in a folder that the ledger names. last: the column of a row's last position.

        Raises StoreUnavailable where they are gone: replaced since, look into the ledger again.
        """
        return SourceRows(self.root / path / ROWS, last)

    def sweep(self, tenant: str, name: str, keep: str | None) -> None:
        """Remove every folder of the source but that one; only for the holder of its lease."""
        folder = self.folder(tenant, name)
        for found in folder.iterdir() if folder.is_dir() else ():
            if keep is None or found != self.root / keep:
                shutil.rmtree(found, ignore_errors=True)
        if keep is None and folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


class SourceRows:
    """An open source. Its file stays readable when it is replaced meanwhile."""

    def __init__(self, path: Path, last: str) -> None:
        try:
            self._file = pq.ParquetFile(path, memory_map=False)
        except FileNotFoundError as error:
            raise StoreUnavailable(
                where=str(path),
                expected="the rows of the source",
                got="none",
                repair="It was replaced or removed meanwhile: do the same again. If it stays so, add the source again.",
                code="SOURCE_GONE",
            ) from error
        except OSError as error:
            raise unavailable(path, error) from error
        except pa.ArrowInvalid as error:
            raise PermanentError(
                where=str(path),
                expected="a whole Parquet file",
                got=str(error)[:200],
                repair="Add the source again: its rows are written anew.",
                code="SOURCE_DAMAGED",
            ) from error
        self.columns = list(self._file.schema_arrow.names)
        self.groups = [self._group(at, last) for at in range(self._file.num_row_groups)]
        self._by_contig: dict[str, list[Group]] = {}
        for group in self.groups:
            self._by_contig.setdefault(group.contig, []).append(group)
        self.groups_read = 0

    def _group(self, at: int, last: str) -> Group:
        meta = self._file.metadata.row_group(at)
        found = {
            meta.column(number).path_in_schema: meta.column(number).statistics
            for number in range(meta.num_columns)
            if meta.column(number).path_in_schema in ("contig", "key_pos", "start", last)
        }
        first = found["key_pos"] if "key_pos" in found else found["start"]
        return Group(at, str(found["contig"].min), int(first.min), int(found[last].max), meta.num_rows)

    def read(self, group: Group, columns: list[str] | None = None) -> pl.DataFrame:
        """The rows of one row group."""
        self.groups_read += columns is None or len(columns) > 1
        frame = pl.from_arrow(self._file.read_row_group(group.at, columns=columns))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table is one
        return frame

    def empty(self) -> pl.DataFrame:
        """No rows, with the columns and dtypes of all."""
        frame = pl.from_arrow(self._file.schema_arrow.empty_table())
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table is one
        return frame

    def touched(self, contig: str, first: np.ndarray, last: np.ndarray) -> Iterator[Group]:
        """Row groups of the contig in which some [first, last] may lie, in order. first, last: int64, 1-based."""
        mine = self._by_contig.get(contig, [])
        if not mine or not len(first):
            return
        begun = np.searchsorted(np.sort(first), [group.last for group in mine], side="right")
        over = np.searchsorted(np.sort(last), [group.first for group in mine], side="left")
        for at in np.flatnonzero(begun > over):
            yield mine[at]

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _RunGroup:
    """A row group of a sorted run."""

    contig: str
    first: int
    last: int
    run: int
    at: int


class SourceWriter:
    """Rows in any order → one sorted file. A `with` that fails leaves nothing.

    sort_by: columns; the first is the position. last: the column whose maximum each row group must tell. reduced: all
    rows at one position, sorted, → those to keep. Memory: run_bytes and what they take to be sorted, then a row group
    of each run that overlaps another.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        *,
        sort_by: tuple[str, ...],
        last: str,
        reduced: Callable[[pl.DataFrame], pl.DataFrame],
        run_bytes: int,
        group_rows: int,
    ) -> None:
        self._root, self._folder, self._sort_by, self._reduced = root, make_private_dir(folder), sort_by, reduced
        self._run_bytes, self._group_rows = run_bytes, group_rows
        self._last = last
        self._waiting: list[pl.DataFrame] = []
        self._waiting_bytes = 0
        self._order: dict[str, int] = {}
        self._run_groups: list[_RunGroup] = []
        self._runs: list[Path] = []
        self._sink: pq.ParquetWriter | None = None
        self._is_kept = False
        self.rows = 0
        self.rows_in = 0

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def path(self) -> str:
        """The folder, below DATA: for the ledger."""
        return self._folder.relative_to(self._root).as_posix()

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows. Every frame has the same columns."""
        for contig in frame["contig"].unique(maintain_order=True):
            self._order.setdefault(contig, len(self._order))
        self._waiting.append(frame)
        self.rows_in += frame.height
        self._waiting_bytes += int(frame.estimated_size()) + 16 * frame.width * frame.height
        if self._waiting_bytes >= self._run_bytes:
            self._write_run()

    def finish(self) -> None:
        """Sort what is left, merge, flush. What the ledger then names is whole."""
        try:
            if self._runs:
                self._write_run()
                self._merge()
            else:
                rows = self._sorted_waiting()
                for _, part in rows.group_by("contig", maintain_order=True) if rows.height else ():
                    self._write_groups(self._reduced(part))
                if self._sink is None:
                    self._write_table(rows)
            assert self._sink is not None  # noqa: S101 - at least an empty table was written
            self._sink.close()
            flush_file(self._folder / ROWS)
            for run in self._runs:
                run.unlink()
            flush_folder(self._folder)
            flush_folder(self._folder.parent)
        except OSError as error:
            raise unavailable(self._folder, error) from error

    def keep(self) -> None:
        """The ledger names it now."""
        self._is_kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _sorted_waiting(self) -> pl.DataFrame:
        rows = pl.concat(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        order = pl.col("contig").replace_strict(
            list(self._order), list(self._order.values()), default=None, return_dtype=pl.Int64
        )
        return rows.sort(order, *self._sort_by, maintain_order=True)

    def _write_run(self) -> None:
        if not self._waiting:
            return
        rows = self._sorted_waiting()
        path = self._folder / f"run-{len(self._runs)}.parquet"
        try:
            with pq.ParquetWriter(path, _arrow(rows).schema, compression="zstd", compression_level=1) as sink:
                at = 0
                for _, part in rows.group_by("contig", maintain_order=True):
                    for start in range(0, part.height, RUN_GROUP_ROWS):
                        piece = part.slice(start, RUN_GROUP_ROWS)
                        sink.write_table(_arrow(piece), row_group_size=piece.height)
                        positions = piece[self._sort_by[0]]
                        self._run_groups.append(
                            _RunGroup(piece["contig"][0], positions[0], positions[-1], len(self._runs), at)
                        )
                        at += 1
        except OSError as error:
            raise unavailable(path, error) from error
        self._runs.append(path)
        pa.default_memory_pool().release_unused()

    def _merge(self) -> None:
        files = [pq.ParquetFile(path, memory_map=False) for path in self._runs]
        try:
            for contig in self._order:
                mine = sorted(
                    (group for group in self._run_groups if group.contig == contig),
                    key=lambda group: (group.first, group.run, group.at),
                )
                self._merge_contig(mine, files)
        finally:
            for file in files:
                file.close()

    def _merge_contig(self, groups: list[_RunGroup], files: list[pq.ParquetFile]) -> None:
        """Rows before the next group's first position are whole: no group to come has one of them."""
        position = self._sort_by[0]
        pending: list[pl.DataFrame] = []
        ready: list[pl.DataFrame] = []
        for number, group in enumerate(groups):
            read = pl.from_arrow(files[group.run].read_row_group(group.at))
            assert isinstance(read, pl.DataFrame)  # noqa: S101 - a table is one
            pending.append(read)
            following = groups[number + 1].first if number + 1 < len(groups) else None
            waiting = pl.concat(pending)
            whole = waiting if following is None else waiting.filter(pl.col(position) < following)
            pending = [] if following is None else [waiting.filter(pl.col(position) >= following)]
            if whole.height:
                ready.append(self._reduced(whole.sort(*self._sort_by, maintain_order=True)))
            if sum(frame.height for frame in ready) >= self._group_rows:
                rows = pl.concat(ready)
                whole_groups = rows.height // self._group_rows * self._group_rows
                self._write_groups(rows.head(whole_groups))
                ready = [rows.slice(whole_groups)]
        if ready:
            self._write_groups(pl.concat(ready))

    def _write_groups(self, rows: pl.DataFrame) -> None:
        """rows: of one contig, sorted."""
        for start in range(0, rows.height, self._group_rows):
            self._write_table(rows.slice(start, self._group_rows))

    def _write_table(self, rows: pl.DataFrame) -> None:
        table = _arrow(rows)
        if self._sink is None:
            self._sink = pq.ParquetWriter(
                self._folder / ROWS,
                table.schema,
                compression="zstd",
                compression_level=1,
                write_statistics=[name for name in ("contig", self._sort_by[0], self._last) if name in rows.columns],
            )
        if rows.height:
            self._sink.write_table(table, row_group_size=rows.height)
        self.rows += rows.height


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
