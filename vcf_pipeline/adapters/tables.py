"""Parquet parts and, written last, the manifest that makes them true; orphans swept.

DATA/<tenant>/<callset_id>/<asset>/manifest.json names parts under <fence>/. A reader trusts only what it names. A
killed writer leaves files that nothing names, which the next writer removes. The parts of the manifest before the last
stay until then too, so that whoever reads them can end. Not here: what a manifest says (domain/tables/manifest.py), who
may write (ledger/leases.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vcf_pipeline.adapters.objects import (
    content_sha256,
    flush_file,
    flush_folder,
    make_private_dir,
    put_atomically,
    unavailable,
)
from vcf_pipeline.domain.errors import NotFound, PermanentError, PipelineError, StoreUnavailable
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.tables.dtypes import Schema, conformed, dtype_text, parse_dtype, union_schema
from vcf_pipeline.domain.tables.manifest import FORMAT_VERSION, Manifest, Part

MANIFEST = "manifest.json"
HEADER = "header.vcf"
# A row group is what a reader holds at once: small enough for a laptop, large enough to compress.
ROW_GROUP_BYTES = 16 << 20
PART_BYTES = 256 << 20
_TEXT = ""


class Tables:
    """Every table of every callset below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, tenant: str, callset_id: str, asset: str) -> Path:
        return self.root / tenant / callset_id / asset

    def manifest_path(self, tenant: str, callset_id: str, asset: str) -> Path:
        return self.folder(tenant, callset_id, asset) / MANIFEST

    def manifest(self, tenant: str, callset_id: str, asset: str) -> Manifest | None:
        """What readers may trust; None where nothing is written. Raises StoreUnavailable for a broken one."""
        path = self.manifest_path(tenant, callset_id, asset)
        try:
            return Manifest.from_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unavailable(path, error) from error

    def schema(self, tenant: str, callset_id: str, asset: str, table: str) -> Schema:
        """Columns and dtypes over all parts; empty where the callset has no such table."""
        return _schema(self._whole(tenant, callset_id, asset), table)

    def frames(
        self, tenant: str, callset_id: str, asset: str, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Row groups in written order, cast to the table's schema; columns: in that order, all by default.

        Memory: one row group. Raises StoreUnavailable when parts are replaced under the reader, and PermanentError
        where the manifest names what is not there.
        """
        for _ in range(2):
            manifest = self._whole(tenant, callset_id, asset)
            schema = _schema(manifest, table)
            has_begun = False
            try:
                for part in (part for part in manifest.parts if part.table == table):
                    path = self.folder(tenant, callset_id, asset) / part.path
                    for frame in _row_groups(path, schema, columns):
                        has_begun = True
                        yield frame
                return
            except FileNotFoundError as error:
                # Replaced twice, or forgotten, since the manifest was read: the next one says what is true now.
                gone = self._gone(tenant, callset_id, asset, path)
                if has_begun or isinstance(gone, PermanentError):
                    raise gone from error
        raise gone

    def scan(self, tenant: str, callset_id: str, asset: str, table: str) -> pl.LazyFrame:
        """Lazily, every part cast to the table's schema; a narrower `gt` is padded as it is read."""
        manifest = self._whole(tenant, callset_id, asset)
        schema = _schema(manifest, table)
        folder = self.folder(tenant, callset_id, asset)
        paths = [folder / part.path for part in manifest.parts if part.table == table]
        try:
            parts = [(path, pl.read_parquet_schema(path)) for path in paths]
        except FileNotFoundError as error:
            missing = next((path for path in paths if not path.exists()), folder)
            raise self._gone(tenant, callset_id, asset, missing) from error
        if parts and all(present == schema for _, present in parts):
            return pl.scan_parquet(paths)
        scans = [_scanned(path, present, schema) for path, present in parts]
        return pl.concat(scans) if scans else pl.LazyFrame(schema=schema)

    def read(
        self, tenant: str, callset_id: str, asset: str, table: str, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The whole table in memory."""
        frames = list(self.frames(tenant, callset_id, asset, table, columns))
        if frames:
            return pl.concat(frames)
        schema = self.schema(tenant, callset_id, asset, table)
        return pl.DataFrame(schema={name: schema[name] for name in columns or schema})

    def header_text(self, tenant: str, callset_id: str) -> str:
        """The file's header, verbatim."""
        manifest = self._whole(tenant, callset_id, "parsed_variants")
        for part in manifest.parts:
            if part.table == _TEXT and part.path.endswith(HEADER):
                path = self.folder(tenant, callset_id, "parsed_variants") / part.path
                try:
                    return path.read_bytes().decode()
                except FileNotFoundError as error:
                    raise self._gone(tenant, callset_id, "parsed_variants", path) from error
                except OSError as error:
                    raise unavailable(path, error) from error
        return ""

    def writer(self, key: PartitionKey, asset: str, *, fence: int) -> TableWriter:
        """For whoever holds the lease with this fence. Sweeps first."""
        self.sweep(key.tenant, key.callset_id, asset)
        return TableWriter(self, key, asset, fence)

    def remove(self, tenant: str, callset_id: str) -> None:
        """All tables of the callset; its manifests first, so that no reader finds half of it."""
        folder = self.root / tenant / callset_id
        for path in folder.glob(f"*/{MANIFEST}"):
            path.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, tenant: str, callset_id: str, asset: str) -> list[Path]:
        """Remove what no manifest names; only for the lease's holder, since another writer's parts are such too."""
        folder = self.folder(tenant, callset_id, asset)
        manifest = self.manifest(tenant, callset_id, asset)
        named = {folder / part.path for part in manifest.parts} if manifest is not None else set()
        removed = []
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in named and path != folder / MANIFEST:
                path.unlink(missing_ok=True)
                removed.append(path)
        return removed

    def _gone(self, tenant: str, callset_id: str, asset: str, path: Path) -> PipelineError:
        """Why a part cannot be read: no rerun finds one that the manifest still names, and one replaced is no loss."""
        manifest = self._whole(tenant, callset_id, asset)
        folder = self.folder(tenant, callset_id, asset)
        if any(folder / part.path == path for part in manifest.parts) and not path.exists():
            return PermanentError(
                where=str(path),
                expected="a part that its manifest names",
                got="none",
                repair="Run the file again with --force: its tables are written anew.",
                code="TABLE_DAMAGED",
            )
        return StoreUnavailable(
            where=str(path),
            expected="the parts of the table as its manifest was",
            got="a newer table",
            repair="The table was replaced while it was read: read again.",
        )

    def _whole(self, tenant: str, callset_id: str, asset: str) -> Manifest:
        manifest = self.manifest(tenant, callset_id, asset)
        if manifest is None:
            raise NotFound(
                where=f"{tenant}/{callset_id}",
                expected=f"the tables of {asset}",
                got="none",
                repair="Materialise the asset, or `vcf-pipeline run` the file.",
            )
        return manifest


@dataclass
class _OpenPart:
    """A part being written, and the rows that wait for the next row group."""

    path: Path
    schema: Schema
    sink: pq.ParquetWriter | None = None
    waiting: list[pl.DataFrame] = field(default_factory=list)
    waiting_bytes: int = 0
    written_bytes: int = 0
    rows: int = 0


class TableWriter:
    """Writes the tables of one asset; nothing is seen of it before `commit`. A `with` that fails leaves nothing."""

    def __init__(self, tables: Tables, key: PartitionKey, asset: str, fence: int) -> None:
        self._tables, self._key, self._asset = tables, key, asset
        self._folder = tables.folder(key.tenant, key.callset_id, asset)
        self._fence = str(fence)
        self._open: dict[str, _OpenPart] = {}
        self._schemas: dict[str, Schema] = {}
        self._parts: list[Part] = []
        self._rows: dict[str, int] = {}
        self._is_committed = False
        self.digest = TableDigest()

    def write(self, table: str, frame: pl.DataFrame, *, in_digest: bool = True) -> None:
        """Append rows. Columns and dtypes may differ from the frames before as domain/tables/dtypes.py allows.

        in_digest: False for a table that tells how the others came to be, such as a history: two assets with the same
        rows have the same digest, whatever came before them.
        """
        schema: Schema = dict(frame.schema)
        before = self._schemas.get(table)
        self._schemas[table] = schema if before is None else union_schema(before, schema)
        if frame.is_empty():
            return
        if in_digest:
            self.digest.add(table, frame)
        self._rows[table] = self._rows.get(table, 0) + frame.height
        part = self._part_for(table)
        frame = conformed(frame, part.schema)
        part.waiting.append(frame)
        part.waiting_bytes += _held_bytes(frame)
        if part.waiting_bytes >= ROW_GROUP_BYTES:
            self._write_row_group(part)
        if part.written_bytes >= PART_BYTES:
            self._close_part(table)

    def put_text(self, name: str, text: str) -> None:
        """A file beside the tables."""
        path = self._new_path(name)
        put_atomically(path, text.encode())
        self._note(_TEXT, path, 0)

    def rows(self, table: str) -> int:
        return self._rows.get(table, 0)

    def commit(self, manifest_fields: Mapping[str, Any], guard: Callable[[Callable[[], None]], None]) -> Manifest:
        """Close the parts, then replace the manifest inside `guard`, which verifies that this may be.

        manifest_fields: what `Manifest` has, without what the writer knows. Raises what guard raises.
        """
        for table, schema in self._schemas.items():
            if table not in self._open and not self.rows(table):
                self._open[table] = _OpenPart(self._new_path(f"{table}.parquet"), schema)
            if table in self._open:
                self._close_part(table)
        flush_folder(self._folder / self._fence)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            asset=self._asset,
            tenant=self._key.tenant,
            callset_id=self._key.callset_id,
            digest=self.digest.value(),
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            schemas={
                table: {name: dtype_text(dtype) for name, dtype in schema.items()}
                for table, schema in self._schemas.items()
            },
            parts=self._parts,
            **manifest_fields,
        )
        guard(lambda: put_atomically(self._folder / MANIFEST, manifest.to_json().encode()))
        self._is_committed = True
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_committed:
            return
        for part in self._open.values():
            if part.sink is not None:
                with suppress(OSError):  # a full disk does not take the footer either
                    part.sink.close()
            with suppress(OSError):  # Arrow keeps such a file open, and its room would stay taken with the name gone
                os.truncate(part.path, 0)
            part.path.unlink(missing_ok=True)
        for written in self._parts:
            (self._folder / written.path).unlink(missing_ok=True)
        with suppress(OSError):  # a folder that holds something else stays
            for folder in (self._folder / self._fence, self._folder, self._folder.parent):
                folder.rmdir()

    def _part_for(self, table: str) -> _OpenPart:
        """The open part, or a new one where the rows need a wider schema."""
        schema = self._schemas[table]
        part = self._open.get(table)
        if part is not None and part.schema != schema:
            self._close_part(table)
            part = None
        if part is None:
            part = self._open[table] = _OpenPart(self._new_path(f"{table}.parquet"), schema)
        return part

    def _write_row_group(self, part: _OpenPart) -> None:
        rows = (pl.concat(part.waiting) if part.waiting else pl.DataFrame(schema=part.schema)).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        part.written_bytes += part.waiting_bytes
        part.waiting, part.waiting_bytes = [], 0
        try:
            if part.sink is None:
                # minima of lists help no reader, and finding them halves the rate at 2,504 samples
                flat = [item.name for item in rows.schema if not pa.types.is_nested(item.type)]
                part.sink = pq.ParquetWriter(
                    part.path, rows.schema, compression="zstd", compression_level=1, write_statistics=flat
                )
            part.sink.write_table(rows, row_group_size=max(1, rows.num_rows))
        except OSError as error:
            raise unavailable(part.path, error) from error
        part.rows += rows.num_rows
        del rows
        # Arrow's pool keeps what each table needed most, and the tables of a run add up.
        pa.default_memory_pool().release_unused()

    def _close_part(self, table: str) -> None:
        part = self._open[table]  # open until it is whole: what fails here is removed with the others
        if part.waiting or part.sink is None:
            self._write_row_group(part)
        assert part.sink is not None  # noqa: S101 - a row group has been written
        try:
            part.sink.close()
            flush_file(part.path)
        except OSError as error:
            raise unavailable(part.path, error) from error
        self._note(table, part.path, part.rows)
        del self._open[table]

    def _note(self, table: str, path: Path, rows: int) -> None:
        checksum, size_bytes = content_sha256(str(path))
        self._parts.append(Part(table, str(path.relative_to(self._folder)), rows, size_bytes, checksum))

    def _new_path(self, name: str) -> Path:
        return make_private_dir(self._folder / self._fence) / f"{uuid4().hex[:12]}-{name}"


def _held_bytes(frame: pl.DataFrame) -> int:
    """What the rows hold in memory, with the 16 bytes of each text's view, which polars' estimate leaves out."""
    n_views = sum(dtype in (pl.String, pl.Binary, pl.List(pl.String)) for dtype in frame.dtypes)
    return int(frame.estimated_size()) + 16 * n_views * frame.height


def _schema(manifest: Manifest, table: str) -> Schema:
    return {name: parse_dtype(text) for name, text in manifest.schemas.get(table, {}).items()}


def _scanned(path: Path, present: Mapping[str, pl.DataType], schema: Schema) -> pl.LazyFrame:
    """One part at the table's schema."""
    part = pl.scan_parquet(path)
    if "gt" in present and present["gt"] != schema["gt"]:
        return part.map_batches(
            lambda frame: conformed(frame, schema),
            schema=pl.Schema(schema),
            predicate_pushdown=False,
            projection_pushdown=False,
            slice_pushdown=False,
        )
    return part.select(
        pl.col(name).cast(dtype) if name in present else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
    )


def _row_groups(path: Path, schema: Schema, columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
    wanted = schema if columns is None else {name: schema[name] for name in columns}
    # `phased` says how many samples there are, by which a narrower `gt` is widened.
    read = [*wanted, "phased"] if "gt" in wanted and "phased" not in wanted else list(wanted)
    with pq.ParquetFile(path, memory_map=False) as file:
        present = [name for name in read if name in file.schema_arrow.names]
        for number in range(file.num_row_groups):
            group: pa.Table = file.read_row_group(number, columns=present)
            if not group.num_columns:
                frame = pl.DataFrame({"": [None] * file.metadata.row_group(number).num_rows})
            else:
                arrived = pl.from_arrow(group)
                assert isinstance(arrived, pl.DataFrame)  # noqa: S101 - a table is one
                frame = arrived
            yield conformed(frame, {name: schema[name] for name in read}).select(list(wanted))
