"""Tables on disk: Parquet parts, the manifest last, orphans swept. A reader trusts only what a manifest names.

DATA/<tenant>/<callset_id>/<asset>/manifest.json, parts under <fence>/ beside it. A version that was replaced stays until
the next writer sweeps, so that whoever is reading it can end. Not here: what the columns are (domain/tables/schemas.py),
who may write (ledger/leases.py).
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from vcf_pipeline.adapters.objects import flush_file, flush_folder, make_private_dir, put_atomically, unavailable
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.identity import CALLSET_ID_PATTERN, PartitionKey, check_tenant
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.tables.dtypes import Schema, conformed, dtype_text, parse_dtype, union_schema
from vcf_pipeline.domain.tables.manifest import FORMAT_VERSION, Manifest, Part

MANIFEST = "manifest.json"
HEADER = "header.txt"
PART_BYTES = 256 << 20
ROW_GROUP_BYTES = 32 << 20  # in memory; what `frames` hands out at once
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_COMPRESSION = {"compression": "zstd", "compression_level": 1}
_LOOKS = 3  # a version may be replaced, and the one before it swept, while a reader opens its parts

Guard = Callable[[Callable[[], None]], None]


class Tables:
    """All tables below one folder. Reading needs nothing else; writing needs a fence number from the ledger."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest_path(self, tenant: str, callset_id: str, asset: str) -> Path:
        return self._folder(tenant, callset_id, asset) / MANIFEST

    def manifest(self, tenant: str, callset_id: str, asset: str) -> Manifest | None:
        """The asset's manifest, None where nothing was ever committed. Raises StoreUnavailable."""
        path = self.manifest_path(tenant, callset_id, asset)
        try:
            return Manifest.from_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(path, error) from error

    def schema(self, tenant: str, callset_id: str, asset: str, table: str) -> Schema:
        """Column → dtype over all parts. Raises StoreUnavailable where there is no such table."""
        return _schema_of(self._existing(tenant, callset_id, asset), table)

    def scan(self, tenant: str, callset_id: str, asset: str, table: str) -> pl.LazyFrame:
        """All rows at the union schema, in written order, read when collected. Raises StoreUnavailable.

        Parts stay on disk after one replacement, not after a second or a `remove`: a plan is to be collected soon.
        """
        manifest = self._existing(tenant, callset_id, asset)
        schema = _schema_of(manifest, table)
        folder = self._folder(tenant, callset_id, asset)
        parts = [_scanned(folder / part.path, schema) for part in manifest.parts if part.table == table]
        return pl.concat(parts) if parts else pl.LazyFrame(schema=schema)

    def read(
        self, tenant: str, callset_id: str, asset: str, table: str, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """All rows of one version, at the union schema. Raises StoreUnavailable."""
        frames = list(self.frames(tenant, callset_id, asset, table, columns))
        if frames:
            return pl.concat(frames)
        schema = self.schema(tenant, callset_id, asset, table)
        return pl.DataFrame(schema={name: schema[name] for name in columns or schema})

    def frames(
        self, tenant: str, callset_id: str, asset: str, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Row group by row group, in written order, at the union schema, all of one version.

        Every part is opened before the first frame: what a writer then replaces or sweeps is still read to its end.
        columns: in the order wanted; None for all. Raises StoreUnavailable.
        """
        with ExitStack() as stack:
            schema, files = self._opened(stack, tenant, callset_id, asset, table)
            wanted = {name: schema[name] for name in columns or schema}
            # gt is padded per sample, and `phased` says how many there are
            needed = {*wanted, "phased"} if "gt" in wanted else set(wanted)
            for file in files:
                with _disk_errors(self._folder(tenant, callset_id, asset)):
                    parquet = pq.ParquetFile(file)
                    present = [name for name in parquet.schema_arrow.names if name in needed]
                    for number in range(parquet.num_row_groups):
                        rows = parquet.metadata.row_group(number).num_rows
                        group = parquet.read_row_group(number, columns=present)
                        frame = pl.from_arrow(group) if present else pl.DataFrame(height=rows)
                        yield conformed(frame, wanted)  # type: ignore[arg-type]  # a table gives a frame

    def header_text(self, tenant: str, callset_id: str) -> str:
        """The VCF's header, verbatim. Raises StoreUnavailable."""
        for look in range(_LOOKS):
            manifest = self._existing(tenant, callset_id, "parsed_variants")
            folder = self._folder(tenant, callset_id, "parsed_variants")
            for part in manifest.parts:
                if not part.table and part.path.endswith(HEADER):
                    try:
                        return (folder / part.path).read_text(encoding="utf-8", errors="surrogateescape")
                    except FileNotFoundError:
                        if look + 1 == _LOOKS:
                            raise _missing_part(folder / part.path) from None
        raise _missing_part(self.manifest_path(tenant, callset_id, "parsed_variants").with_name(HEADER))

    def writer(self, key: PartitionKey, asset: str, *, fence: int) -> TableWriter:
        """For a `with`. Needs the lease of this asset and callset: it sweeps what no manifest names."""
        return TableWriter(self, key, asset, fence)

    def remove(self, tenant: str, callset_id: str) -> bool:
        """Everything of a callset. Manifests first, so that no reader starts on what is being removed. True if any."""
        folder = self._folder(tenant, callset_id)
        if not folder.is_dir():
            return False
        for manifest in folder.glob(f"*/{MANIFEST}"):
            manifest.unlink(missing_ok=True)
        with _disk_errors(folder):
            shutil.rmtree(folder)
        return True

    def sweep(self, tenant: str, callset_id: str, asset: str) -> list[Path]:
        """Remove what no manifest names; the paths. Only for a holder of the asset's lease: others may be writing."""
        folder = self._folder(tenant, callset_id, asset)
        if not folder.is_dir():
            return []
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

    def _folder(self, tenant: str, callset_id: str, asset: str | None = None) -> Path:
        if not CALLSET_ID_PATTERN.fullmatch(callset_id) or (asset is not None and not _NAME.fullmatch(asset)):
            raise ValueError(f"no name of a table's folder: {callset_id!r}, {asset!r}")
        folder = self.root / check_tenant(tenant) / callset_id
        return folder / asset if asset is not None else folder

    def _existing(self, tenant: str, callset_id: str, asset: str) -> Manifest:
        manifest = self.manifest(tenant, callset_id, asset)
        if manifest is None:
            raise StoreUnavailable(
                where=f"{asset} of {tenant}/{callset_id}",
                expected="a manifest",
                got="none",
                repair="Materialise the asset first.",
                code="NO_TABLE",
            )
        return manifest

    def _opened(
        self, stack: ExitStack, tenant: str, callset_id: str, asset: str, table: str
    ) -> tuple[Schema, list[BinaryIO]]:
        """Every part of one version, open. Where one vanished the manifest is looked at once more."""
        folder = self._folder(tenant, callset_id, asset)
        for look in range(_LOOKS):
            manifest = self._existing(tenant, callset_id, asset)
            paths = [folder / part.path for part in manifest.parts if part.table == table]
            with ExitStack() as attempt:
                try:
                    files = [attempt.enter_context(path.open("rb")) for path in paths]
                except FileNotFoundError as error:
                    if look + 1 == _LOOKS:
                        raise _missing_part(Path(error.filename)) from None
                    continue
                stack.push(attempt.pop_all())
                return _schema_of(manifest, table), files
        raise AssertionError("the last look returns or raises")


class TableWriter:
    """Writes one version of an asset's tables; `commit` makes it the one that readers see, or nobody ever sees it.

    `digest` is of every row written so far. With an exception, and without a commit, what was written is removed.
    """

    def __init__(self, tables: Tables, key: PartitionKey, asset: str, fence: int) -> None:
        self.digest = TableDigest()
        self._tables, self._key, self._asset = tables, key, asset
        self._folder = tables.manifest_path(key.tenant, key.callset_id, asset).parent
        self._place = f"{fence}"
        self._open: dict[str, _PartWriter] = {}
        self._schemas: dict[str, Schema] = {}
        self._rows: dict[str, int] = {}
        self._parts: list[Part] = []
        self._is_committed = False

    def __enter__(self) -> Self:
        self._tables.sweep(self._key.tenant, self._key.callset_id, self._asset)
        make_private_dir(self._folder.parent.parent)
        make_private_dir(self._folder / self._place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._open.values():
            part.abandon()
        if not self._is_committed:
            shutil.rmtree(self._folder / self._place, ignore_errors=True)

    def write(self, table: str, frame: pl.DataFrame) -> None:
        """Append rows. A frame without rows still tells the table's columns. Raises StoreUnavailable."""
        needed = dict(frame.schema)
        self._schemas[table] = union_schema(self._schemas.get(table, {}), needed)
        if not frame.height:
            return
        part = self._open.get(table)
        schema = union_schema(part.schema, needed) if part is not None else needed
        if part is not None and (part.schema != schema or part.size_bytes >= PART_BYTES):
            self._close(table)
            part = None
        with _disk_errors(self._folder):
            if part is None:
                part = self._open[table] = _PartWriter(self._new_path(f"{table}.parquet"), schema)
            rows = conformed(frame, part.schema).to_arrow(compat_level=pl.CompatLevel.oldest())
            self.digest.add_arrow(table, rows)
            part.write(rows)
        self._rows[table] = self._rows.get(table, 0) + frame.height

    def put_text(self, name: str, text: str) -> None:
        """A text beside the tables, such as the header; the manifest names it too."""
        content = text.encode("utf-8", errors="surrogateescape")
        path = self._new_path(name)
        with _disk_errors(path):
            path.write_bytes(content)
        checksum = hashlib.sha256(content).hexdigest()
        self._parts.append(Part("", self._below(path), 0, len(content), checksum))

    def rows(self, table: str) -> int:
        return self._rows.get(table, 0)

    def commit(self, manifest_fields: Mapping[str, Any], guard: Guard) -> Manifest:
        """Flush the parts, then replace the manifest inside `guard`, which verifies the fence.

        manifest_fields: those of Manifest that the writer does not know by itself; a `digest` or `created_at` given
        here wins. Raises what the guard raises (Superseded), StoreUnavailable; then nothing changed for readers.
        """
        for table in list(self._open):
            self._close(table)
        with _disk_errors(self._folder):
            for part in self._parts:
                flush_file(self._folder / part.path)
            flush_folder(self._folder / self._place)
            flush_folder(self._folder)
        manifest = Manifest(
            **{
                "format_version": FORMAT_VERSION,
                "asset": self._asset,
                "tenant": self._key.tenant,
                "callset_id": self._key.callset_id,
                "digest": self.digest.value(),
                "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "schemas": {
                    table: {name: dtype_text(dtype) for name, dtype in schema.items()}
                    for table, schema in self._schemas.items()
                },
                "parts": self._parts,
                **manifest_fields,
            }
        )
        content = manifest.to_json().encode("utf-8", errors="surrogateescape")

        def replace() -> None:
            put_atomically(self._folder / MANIFEST, content)
            self._is_committed = True

        guard(replace)
        return manifest

    def _new_path(self, name: str) -> Path:
        return self._folder / self._place / f"{uuid4().hex[:12]}-{name}"

    def _below(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _close(self, table: str) -> None:
        part = self._open.pop(table)
        with _disk_errors(part.path):
            size_bytes, checksum = part.close()
        self._parts.append(Part(table, self._below(part.path), part.rows, size_bytes, checksum))


class _PartWriter:
    """One Parquet file on its way to the disk."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._sink = _Sink(path)
        self._writer: pq.ParquetWriter | None = None

    @property
    def size_bytes(self) -> int:
        return self._sink.size_bytes

    def write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), rows.schema, **_COMPRESSION)
        groups = max(1, -(-rows.nbytes // ROW_GROUP_BYTES))
        self._writer.write_table(rows, row_group_size=max(1, -(-rows.num_rows // groups)))
        self.rows += rows.num_rows

    def close(self) -> tuple[int, str]:
        """(size in bytes, sha256) of the whole file."""
        if self._writer is not None:
            self._writer.close()
        self._sink.close()
        return self._sink.size_bytes, self._sink.sha256.hexdigest()

    def abandon(self) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        except (OSError, ValueError, pa.ArrowException):
            pass  # its file is removed next, and the first error is the one to tell
        finally:
            self._sink.close()


class _Sink:
    """What pyarrow writes to. Parquet is written from front to end, so the checksum needs no second reading."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self.sha256, self.size_bytes = hashlib.sha256(), 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        self.size_bytes += len(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _schema_of(manifest: Manifest, table: str) -> Schema:
    columns = manifest.schemas.get(table)
    if columns is None:
        raise StoreUnavailable(
            where=f"{manifest.asset} of {manifest.key}",
            expected=f"a table {table}",
            got=", ".join(manifest.schemas) or "no table",
            repair="A file without samples has no genotypes.",
            code="NO_TABLE",
        )
    return {name: parse_dtype(text) for name, text in columns.items()}


def _scanned(path: Path, schema: Schema) -> pl.LazyFrame:
    """A part at the union schema."""
    part = pl.scan_parquet(path)
    present = part.collect_schema()
    if present == pl.Schema(schema):
        return part
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


def _missing_part(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        where=str(path),
        expected="a file that the manifest names",
        got="none",
        repair="Materialise the asset again with --force.",
        code="MISSING_PART",
    )


class _disk_errors:  # noqa: N801 - reads as what it is used for
    """A `with` in which the disk's refusals become StoreUnavailable. It never sees a generator's consumer."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise unavailable(self.path, error) from error
        if isinstance(error, pa.ArrowInvalid):
            raise StoreUnavailable(
                where=str(self.path),
                expected="a Parquet file",
                got=str(error)[:200],
                repair="Materialise the asset again with --force.",
                code="BROKEN_PART",
            ) from error
