"""LanceDB's tables of explanations of each tenant, one for each embedder: small, merged by row_id, searched by words
and by vectors.

A callset's rows are replaced in one commit: a reader sees the old or the new ones. Not here: what a row says
(domain/projections/annotation_rows.py), who makes vectors (adapters/embedders), which callsets count (ledger).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
from vcf_pipeline.domain.errors import StoreUnavailable
from vcf_pipeline.domain.identity import check_tenant
from vcf_pipeline.domain.projections.annotation_rows import ANNOTATION_ROWS
from vcf_pipeline.domain.text_query import Phrase

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "annotations_"
SCORE, DISTANCE = "_score", "_distance"
MOST_HITS = 10_000
"""More than this of one table is not ranked."""
_TEXT, _VECTOR, _PRIMARY = "text", "vector", "row_id"
_PRIMARY_KEY = {b"lance-schema:unenforced-primary-key:position": b"1"}
"""A part of the schema, so that no table is ever without it: without, two writers at once put the same row in twice."""
_TEXTS_ASKED = 500


def table_name(embedder: str, dimensions: int) -> str:
    """The table of an embedder's vectors of this width; the digest tells names apart that read alike."""
    readable = re.sub(r"[^a-z0-9]+", "-", embedder.lower())[:40].strip("-")
    return f"{PREFIX}{readable}_{hashlib.blake2b(embedder.encode(), digest_size=4).hexdigest()}_{dimensions}"


class LanceAnnotations:
    """All tenants' tables, in root/TENANT/_lancedb. Any number of processes may write at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def replace(
        self, tenant: str, table: str, callset_id: str, rows: pl.DataFrame, vectors: NDArray[np.float32]
    ) -> None:
        """Make `rows` the callset's only rows in the table, in one commit; none is as good as some.

        rows: columns of ANNOTATION_ROWS, all of this callset. vectors: one for each. Raises StoreUnavailable.
        """
        found = self._table_made(tenant, table, vectors.shape[1])
        arrow = _arrow_rows(rows, vectors)
        others = f"callset_id = {literal(callset_id)}"

        def merge() -> None:
            found.checkout_latest()
            # a key index makes merges slower and lets the same row in twice
            (
                found.merge_insert(_PRIMARY)
                .use_index(False)
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .when_not_matched_by_source_delete(others)
                .execute(arrow)
            )

        retried(merge)

    def remove(self, tenant: str, callset_id: str, *, but: Collection[str] = ()) -> None:
        """Delete the callset's rows from every table that is not in `but`."""
        clause = f"callset_id = {literal(callset_id)}"
        for name in self.tables(tenant):
            table = None if name in but else self._table_or_none(tenant, name)
            if table is not None:
                retried(lambda table=table: _deleted(table, clause))  # type: ignore[misc]

    def count(self, tenant: str, table: str, callset_id: str) -> int:
        """Rows of the callset; 0 where there is no such table."""
        found = self._table_or_none(tenant, table)
        with mapped():
            return 0 if found is None else int(found.count_rows(f"callset_id = {literal(callset_id)}"))

    def tables(self, tenant: str) -> list[str]:
        """Names of the tenant's tables."""
        folder = self._folder(tenant)
        return sorted(path.name.removesuffix(".lance") for path in folder.glob(f"{PREFIX}*.lance"))

    def vectors(self, tenant: str, table: str, meaning_ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """meaning_id → the vector of that text, of those that the table has: nobody pays for one twice."""
        found = self._table_or_none(tenant, table)
        known: dict[str, NDArray[np.float32]] = {}
        if found is None:
            return known
        distinct = list(dict.fromkeys(meaning_ids))
        for start in range(0, len(distinct), _TEXTS_ASKED):
            asked = ", ".join(map(literal, distinct[start : start + _TEXTS_ASKED]))
            with mapped():
                rows = found.search().where(f"meaning_id IN ({asked})").select(["meaning_id", _VECTOR]).to_arrow()
            width = rows.schema.field(_VECTOR).type.list_size
            vectors = rows[_VECTOR].combine_chunks().values.to_numpy(zero_copy_only=False).reshape(-1, width)
            known.update(zip(rows["meaning_id"].to_pylist(), vectors, strict=True))
        return known

    def find_words(
        self, tenant: str, table: str, phrases: Sequence[Phrase], callsets: Collection[str], *, all_of: bool
    ) -> pl.DataFrame:
        """Rows with all of the phrases, or any of them, best first: ANNOTATION_ROWS and SCORE (BM25).

        Only rows of these callsets; MOST_HITS at most. Nothing in a phrase is an operator.
        """
        import lancedb.query

        language: Any = lancedb.query  # its defaults are written in a way that type checkers do not see
        found = self._table_or_none(tenant, table)
        if found is None or not phrases or not callsets:
            return _nothing(SCORE)
        occur = language.Occur.MUST if all_of else language.Occur.SHOULD
        wanted = [
            (
                occur,
                language.PhraseQuery(phrase.text, _TEXT)
                if phrase.n_words > 1
                else language.MatchQuery(phrase.text, _TEXT, fuzziness=phrase.slips),
            )
            for phrase in phrases
        ]
        query = wanted[0][1] if len(wanted) == 1 else language.BooleanQuery(wanted)
        with mapped():
            hits = (
                found.search(query, query_type="fts")
                .where(_of_callsets(callsets), prefilter=True)
                .select([*ANNOTATION_ROWS, SCORE])
                .limit(MOST_HITS)
                .to_arrow()
            )
        return _frame(hits, SCORE)

    def find_near(
        self, tenant: str, table: str, vector: NDArray[np.float32], callsets: Collection[str], limit: int
    ) -> pl.DataFrame:
        """The nearest rows of these callsets: ANNOTATION_ROWS and DISTANCE (of cosines, 0–2), nearest first."""
        found = self._table_or_none(tenant, table)
        if found is None or not callsets:
            return _nothing(DISTANCE)
        with mapped():
            near = (
                found.search(vector, vector_column_name=_VECTOR)
                .distance_type("cosine")
                .where(_of_callsets(callsets), prefilter=True)
                .select([*ANNOTATION_ROWS, DISTANCE])
                .limit(limit)
                .to_arrow()
            )
        return _frame(near, DISTANCE)

    def find_rows(self, tenant: str, table: str, column: str, values: Sequence[str]) -> pl.DataFrame:
        """Rows whose column is one of the values: ANNOTATION_ROWS and the vector, MOST_HITS at most."""
        found = self._table_or_none(tenant, table)
        if found is None or not values:
            return _nothing(_VECTOR)
        inside = "array_has_any(ids, [{}])" if column == "ids" else f"{column} IN ({{}})"
        clause = inside.format(", ".join(map(literal, values)))
        with mapped():
            rows = found.search().where(clause).select([*ANNOTATION_ROWS, _VECTOR]).limit(MOST_HITS).to_arrow()
        return pl.DataFrame(rows)

    def settle(self, tenant: str, table: str, *, keep_versions: timedelta = OLD_VERSIONS_KEPT) -> bool:
        """Index what came since and merge fragments. False where writers were always faster: the next load does it.

        Rows that are not in the index are found, but slow every question (24 → 982 ms with 100,000 of them).
        """
        found = self._table_or_none(tenant, table)
        if found is None:
            return False

        def index() -> None:
            found.checkout_latest()
            found.optimize(cleanup_older_than=keep_versions)

        try:
            retried(index)
        except StoreUnavailable as error:
            if error.data.get("is_conflict"):
                return False
            raise
        return True

    def _folder(self, tenant: str) -> Path:
        return self.root / check_tenant(tenant) / FOLDER

    def _table_or_none(self, tenant: str, name: str) -> Any | None:
        return open_or_none(self._folder(tenant), name)

    def _table_made(self, tenant: str, name: str, dimensions: int) -> Any:
        """The table, made when it is missing; several may make it at once."""
        found = self._table_or_none(tenant, name)
        if found is None:
            folder = make_private_dir(self._folder(tenant))
            schema = _arrow_schema(dimensions)
            found = retried(lambda: connect(folder).create_table(name, schema=schema, exist_ok=True))
        retried(lambda: _indexed(found))
        return found


def _indexed(table: Any) -> None:
    """The index of words before the first row: without one, words are compared as they are written."""
    from lancedb.index import FTS

    table.checkout_latest()
    if not any(_TEXT in held.columns for held in table.list_indices()):
        # neither stems nor stop words: symbols of genes and parts of HGVS are words here
        config = FTS(with_position=True, stem=False, remove_stop_words=False, max_token_length=80)
        table.create_index(_TEXT, config=config)


def _deleted(table: Any, clause: str) -> None:
    table.checkout_latest()
    if table.count_rows(clause):
        table.delete(clause)


def _of_callsets(callsets: Collection[str]) -> str:
    return f"callset_id IN ({', '.join(map(literal, sorted(callsets)))})"


def _nothing(further: str) -> pl.DataFrame:
    return pl.DataFrame(schema={**ANNOTATION_ROWS, further: pl.Float32})


def _frame(rows: pa.Table, further: str) -> pl.DataFrame:
    frame = pl.DataFrame(rows)
    return frame.select(
        *(pl.col(name).cast(dtype) for name, dtype in ANNOTATION_ROWS.items()), pl.col(further).cast(pl.Float32)
    ).sort(further, descending=further == SCORE, maintain_order=True)


def _arrow_rows(rows: pl.DataFrame, vectors: NDArray[np.float32]) -> pa.Table:
    import pyarrow as pa

    schema = _arrow_schema(vectors.shape[1])
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    fixed = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = rows.select(ANNOTATION_ROWS.keys()).to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.append_column(_VECTOR, fixed).cast(schema)


def _arrow_schema(dimensions: int) -> pa.Schema:
    import pyarrow as pa

    empty = pl.DataFrame(schema=ANNOTATION_ROWS).to_arrow(compat_level=pl.CompatLevel.oldest())
    narrow: dict[Any, Callable[[], Any]] = {
        pa.large_string(): pa.string,
        pa.large_binary(): pa.binary,
        pa.large_list(pa.large_string()): lambda: pa.list_(pa.string()),
    }
    fields = [
        pa.field(
            field.name,
            narrow[field.type]() if field.type in narrow else field.type,
            nullable=field.name not in (_PRIMARY, "callset_id"),
            metadata=_PRIMARY_KEY if field.name == _PRIMARY else None,
        )
        for field in empty.schema
    ]
    return pa.schema([*fields, pa.field(_VECTOR, pa.list_(pa.float32(), dimensions))])
