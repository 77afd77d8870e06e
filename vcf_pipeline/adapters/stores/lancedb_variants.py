"""LanceDB's table `variants` of each tenant: append-only by load.

Not here: which load is current (ledger), what a row says (domain/projections/search_rows.py), what a person
may ask (domain/query.py). A merge joins on every key of the table: its time and memory grow with the table;
adding under a new load_id and deleting the old one does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vcf_pipeline.adapters.objects import make_private_dir
from vcf_pipeline.adapters.stores.lance import (
    FOLDER,
    OLD_VERSIONS_KEPT,
    connect,
    literal,
    mapped,
    open_or_none,
    retried,
)
from vcf_pipeline.domain.errors import PermanentError, PipelineError, StoreUnavailable
from vcf_pipeline.domain.identity import check_tenant
from vcf_pipeline.domain.projections.search_rows import SEARCH_ROWS
from vcf_pipeline.domain.query import Condition

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "variants"
ROW_ADDRESS = "_rowid"
"""Where a row lies in one snapshot; another snapshot may have it elsewhere."""
ROWS_WORTH_AN_INDEX = 100_000
FRAGMENTS_WORTH_A_MERGE = 16
_INDEXES = {
    "callset_id": "BITMAP",
    "load_id": "BITMAP",
    "contig_bare": "BITMAP",
    "pos": "BTREE",
    "gene": "BTREE",
    "tier": "BTREE",
}
_BATCH_ROWS = 16_384
_OPERATORS = {"=": "=", "<=": "<=", ">=": ">="}


class LanceSnapshot:
    """One version of a tenant's table: what is added or removed later does not show."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def count(self, conditions: Sequence[Condition] = (), hidden: Sequence[str] = ()) -> int:
        """Rows that meet all conditions and belong to no hidden load."""
        with mapped():
            return int(self._table.count_rows(where_clause(conditions, hidden) or None))

    def scan(
        self, columns: Sequence[str], conditions: Sequence[Condition] = (), hidden: Sequence[str] = ()
    ) -> Iterator[pl.DataFrame]:
        """Frames of the columns and ROW_ADDRESS, in no order; memory is one batch."""
        clause = where_clause(conditions, hidden)
        with mapped():
            asked = self._table.search().select(list(columns)).with_row_id(True)
            batches = (asked.where(clause) if clause else asked).to_batches(_BATCH_ROWS)
        while True:
            with mapped():
                batch = next(batches, None)
            if batch is None:
                return
            yield pl.DataFrame(batch)

    def take(self, addresses: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
        """The rows at these addresses of this snapshot, in the addresses' order."""
        if not addresses:
            return pl.DataFrame(schema={name: SEARCH_ROWS[name] for name in columns})
        with mapped():
            taken = self._table.take_row_ids(list(addresses)).select(list(columns)).with_row_id().to_arrow()
        frame = pl.DataFrame(taken)
        order = pl.DataFrame({ROW_ADDRESS: pl.Series(addresses, dtype=pl.UInt64)})
        return order.join(frame, on=ROW_ADDRESS, how="left", maintain_order="left").drop(ROW_ADDRESS)


class LanceVariants:
    """All tenants' tables, in root/TENANT/_lancedb. Any number of processes may write at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, tenant: str, load_id: str, frames: Iterator[pl.DataFrame]) -> int:
        """One commit of every row under `load_id`; the number of rows. frames: columns of SEARCH_ROWS.

        Raises StoreUnavailable, or what `frames` raises: then nothing was added.
        """
        import pyarrow as pa

        schema = _arrow_schema()
        feed = _Feed(frames, load_id, schema)
        table = self._table_made(tenant)
        try:
            with mapped():
                table.add(pa.RecordBatchReader.from_batches(schema, feed.batches()))
        except PipelineError:
            # the vendor tells an error of the rows as a text of its own
            if feed.error is not None:
                raise feed.error from None
            raise
        return feed.rows

    def count(self, tenant: str, load_id: str) -> int:
        """Rows of a load; 0 for an unknown one."""
        snapshot = self.snapshot(tenant)
        return 0 if snapshot is None else snapshot.count([Condition("load_id", "=", load_id)])

    def remove(self, tenant: str, load_ids: Sequence[str]) -> None:
        """Delete every row of these loads. The bytes go when `optimize` next runs."""
        table = self._table_or_none(tenant)
        if table is None or not load_ids:
            return
        clause = where_clause([Condition("load_id", "in", tuple(load_ids))], ())

        def delete() -> None:
            table.checkout_latest()
            table.delete(clause)

        retried(delete)

    def snapshot(self, tenant: str) -> LanceSnapshot | None:
        """The table as it is now; None where nothing was ever loaded."""
        table = self._table_or_none(tenant)
        return None if table is None else LanceSnapshot(table)

    def search(
        self,
        tenant: str,
        conditions: Sequence[Condition],
        hidden: Sequence[str],
        columns: Sequence[str],
        limit: int,
    ) -> pl.DataFrame:
        """The first `limit` matching rows by contig, pos and alt_index. By tier: stages/query.py."""
        snapshot = self.snapshot(tenant)
        if snapshot is None:
            return pl.DataFrame(schema={name: SEARCH_ROWS[name] for name in columns})
        order = ["contig_bare", "pos", "alt_index", "callset_id", "record_no"]
        best = best_rows(snapshot.scan(order, conditions, hidden), order, limit)
        return snapshot.take(best[ROW_ADDRESS].to_list(), columns)

    def count_where(self, tenant: str, conditions: Sequence[Condition], hidden: Sequence[str]) -> int:
        """How many rows meet all conditions."""
        snapshot = self.snapshot(tenant)
        return 0 if snapshot is None else snapshot.count(conditions, hidden)

    def settle(self, tenant: str) -> bool:
        """`optimize`, where the table has grown enough small fragments for it to pay; True when it ran."""
        table = self._table_or_none(tenant)
        if table is None:
            return False
        with mapped():
            fragments = table.stats()["fragment_stats"]["num_small_fragments"]
        return fragments >= FRAGMENTS_WORTH_A_MERGE and self.optimize(tenant)

    def optimize(self, tenant: str, *, keep_versions: timedelta = OLD_VERSIONS_KEPT) -> bool:
        """Merge small fragments, index rows, drop old versions. False where writers were always faster.

        Unindexed rows slow every query, and a table below ROWS_WORTH_AN_INDEX is read faster whole.
        """
        table = self._table_or_none(tenant)
        if table is None:
            return False

        def merge() -> None:
            table.checkout_latest()
            table.optimize(cleanup_older_than=keep_versions)

        def index(column: str, kind: str) -> None:
            from lancedb.index import Bitmap, BTree

            table.checkout_latest()
            if column not in {name for found in table.list_indices() for name in found.columns}:
                table.create_index(column, config=Bitmap() if kind == "BITMAP" else BTree())

        try:
            with mapped():
                n_rows = table.count_rows()
            for column, kind in _INDEXES.items() if n_rows >= ROWS_WORTH_AN_INDEX else ():
                retried(lambda column=column, kind=kind: index(column, kind))  # type: ignore[misc]
            retried(merge)
        except StoreUnavailable as error:
            if error.data.get("is_conflict"):
                return False
            raise
        return True

    def _folder(self, tenant: str) -> Path:
        return self.root / check_tenant(tenant) / FOLDER

    def _table_or_none(self, tenant: str) -> Any | None:
        return open_or_none(self._folder(tenant), TABLE)

    def _table_made(self, tenant: str) -> Any:
        """The tenant's table, made when it is missing; several may make it at once."""
        found = self._table_or_none(tenant)
        if found is not None:
            return found
        folder = make_private_dir(self._folder(tenant))
        return retried(lambda: connect(folder).create_table(TABLE, schema=_arrow_schema(), exist_ok=True))


class _Feed:
    """Frames → record batches of the table; keeps their count and the error the vendor would swallow."""

    def __init__(self, frames: Iterator[pl.DataFrame], load_id: str, schema: pa.Schema) -> None:
        self._frames, self._load_id, self._schema = frames, load_id, schema
        self.rows = 0
        self.error: BaseException | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for frame in self._frames:
                whole = frame.select(pl.lit(self._load_id).alias("load_id"), *SEARCH_ROWS)
                table = whole.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema)
                self.rows += table.num_rows
                yield from table.to_batches(_BATCH_ROWS)
        except BaseException as error:
            self.error = error
            raise


def where_clause(conditions: Sequence[Condition], hidden: Sequence[str] = ()) -> str:
    """Conditions in LanceDB's SQL, "" for none. Columns are checked against the schema, values are quoted.

    Raises PermanentError for a column that does not exist, and for text with control characters.
    """
    parts = [_worded(condition) for condition in conditions]
    if hidden:
        parts.append(f"load_id NOT IN ({', '.join(map(literal, hidden))})")
    return " AND ".join(parts)


def _worded(condition: Condition) -> str:
    name, value = condition.column, condition.value
    if name not in SEARCH_ROWS and name != "load_id":
        raise PermanentError(where="query", expected="a column of the search rows", got=repr(name))
    column = f"`{name}`"
    if condition.operator in ("in", "in or null"):
        members = value if isinstance(value, tuple) else (value,)
        worded = f"{column} IN ({', '.join(map(literal, members))})" if members else "FALSE"
    elif condition.operator == "has":
        # joined by `;`, which no text of the column holds; equality of texts, so that no character means another
        worded = f"array_has(string_to_array({column}, ';'), {literal(str(value))})"
    elif isinstance(value, tuple):
        raise PermanentError(where=f"query, {name}", expected="one value", got=f"{len(value)} values")
    else:
        worded = f"{column} {_OPERATORS[condition.operator.removesuffix(' or null')]} {literal(value)}"
    return f"({worded} OR {column} IS NULL)" if condition.operator.endswith(" or null") else worded


def best_rows(frames: Iterator[pl.DataFrame], order: Sequence[str], limit: int) -> pl.DataFrame:
    """The first `limit` rows by `order`, nulls last; memory is the limit and one frame."""
    best: pl.DataFrame | None = None
    for frame in frames:
        together = frame if best is None else pl.concat([best, frame])
        best = together.sort(order, nulls_last=True).head(limit)
    return best if best is not None else pl.DataFrame(schema={ROW_ADDRESS: pl.UInt64})


def _arrow_schema() -> pa.Schema:
    import pyarrow as pa

    columns = {"load_id": pl.String, **SEARCH_ROWS}
    empty = pl.DataFrame(schema=columns).to_arrow(compat_level=pl.CompatLevel.oldest())
    narrow = {
        pa.large_string(): pa.string(),
        pa.large_binary(): pa.binary(),
        pa.large_list(pa.large_string()): None,
    }
    fields = []
    for field in empty.schema:
        kind = narrow.get(field.type, field.type) or pa.list_(pa.string())
        fields.append(pa.field(field.name, kind, nullable=field.name not in ("load_id", "row_id", "callset_id")))
    return pa.schema(fields)
