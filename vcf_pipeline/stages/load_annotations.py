"""Explanations of a callset → both stores, under a lease; the stores without them.

Not here: which explanations count (explanations.py), the callset itself (load.py), rows and edges
(domain/projections), how stores keep them (adapters/stores).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vcf_pipeline.adapters.embedders.port import Embedder
from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
from vcf_pipeline.adapters.stores.lancedb_annotations import LanceAnnotations, table_name
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import PermanentError, ProviderError, ProviderUnavailable, StoreUnavailable, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections import annotation_rows, graph_rows
from vcf_pipeline.stages.explanations import ASSET, Explanations, current_explanations
from vcf_pipeline.stages.load import (
    LEASE_WAIT_SECONDS,
    PARSED,
    TRIAGED,
    LoadReport,
    is_load_of,
    load_kuzu,
    remove_old_versions,
    version_name,
)

SEARCH, GRAPH = "lancedb_annotations", "kuzu_annotations"
"""The names of the loads in the ledger, and of the assets."""
TEXTS_AT_ONCE = 512
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchLoad:
    """What a load of explanations was made from and with, as the ledger keeps it. dimensions: 0 where no row is."""

    ai: str
    triaged: str
    version: str
    dimensions: int
    embedder: str

    @classmethod
    def parse(cls, digest: str) -> SearchLoad:
        # an embedder's name may hold a slash, and is last for that
        ai, triaged, version, dimensions, embedder = digest.split("/", 4)
        return cls(ai, triaged, version, int(dimensions), embedder)

    @property
    def digest(self) -> str:
        return f"{self.ai}/{self.triaged}/{self.version}/{self.dimensions}/{self.embedder}"

    @property
    def table(self) -> str | None:
        return table_name(self.embedder, self.dimensions) if self.dimensions else None

    def is_made_like(self, other: SearchLoad) -> bool:
        """Whether the other one, however wide its vectors came out, has the same rows by the same embedder."""
        mine = (self.ai, self.triaged, self.version, self.embedder)
        return mine == (other.ai, other.triaged, other.version, other.embedder)


def load_lancedb_annotations(
    *,
    key: PartitionKey,
    tables: Tables,
    ledger: Ledger,
    store: LanceAnnotations,
    embedder: Embedder,
    stand_in: Embedder | None = None,
) -> LoadReport:
    """The callset's explanations, searchable by words and by likeness, as its tables are now.

    Readers see the ones before until these are whole. A text that this embedder made a vector of is not embedded
    again. stand_in: makes the vectors where the embedder cannot (no budget, no answer); the load is stale then.
    Raises PermanentError (NO_TABLES, TABLES_DISAGREE), ProviderError, LeaseHeld, StoreUnavailable, Superseded.
    """
    started = time.monotonic()
    with ledger.lease(f"{SEARCH}/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        explanations = _explanations(tables, key)
        due = _search_due(explanations, embedder.name)
        ledger.drop_loads(SEARCH, ledger.abandon_stale_loads(lease, SEARCH, key))
        current = ledger.current_load(SEARCH, key)
        if current is not None and _holds(current.digest, due, current.rows, key=key, store=store):
            return LoadReport(
                current.rows, current.rows, current.digest, time.monotonic() - started, reused=True, scope="all"
            )
        rows = annotation_rows.annotation_rows(
            key.callset_id,
            explanations.read(tables, annotation_rows.ANSWER_COLUMNS),
            _frames(tables, key, PARSED, "variants", annotation_rows.VARIANT_COLUMNS),
            _frames(tables, key, TRIAGED, "triaged", annotation_rows.TRIAGE_COLUMNS),
        )
        try:
            vectors = _vectors(rows, embedder, key.tenant, store, lease)
        except (ProviderError, ProviderUnavailable) as problem:
            if stand_in is None:
                raise
            log.warning("%s stands in for %s: %s", stand_in.name, embedder.name, problem)
            embedder, vectors = stand_in, _vectors(rows, stand_in, key.tenant, store, lease)
        width = vectors.shape[1] if rows.height else 0
        due = SearchLoad(due.ai, due.triaged, due.version, width, embedder.name)
        load_id = ledger.begin_load(lease, SEARCH, key, due.digest)
        n_there = 0
        if due.table is not None:
            store.replace(key.tenant, due.table, key.callset_id, rows, vectors)
            n_there = store.count(key.tenant, due.table, key.callset_id)
        if n_there != rows.height:
            raise StoreUnavailable(
                where=f"LanceDB, {key}",
                expected=f"{rows.height:,} explanations",
                got=f"{n_there:,}",
                repair="Try again.",
            )
        try:
            dead = ledger.finish_load(lease, load_id, n_there)
        except Superseded:
            # a forget came in between and has swept already: nobody else would look for these rows
            store.remove(key.tenant, key.callset_id)
            raise
        ledger.drop_loads(SEARCH, dead)
        store.remove(key.tenant, key.callset_id, but=[due.table] if due.table else [])
        if due.table is not None:
            store.settle(key.tenant, due.table)
    return LoadReport(n_there, rows.height, due.digest, time.monotonic() - started, reused=False, scope="all")


def unload_lancedb_annotations(key: PartitionKey, *, ledger: Ledger, store: LanceAnnotations) -> None:
    """Remove the callset's explanations, whoever embedded them. For a `forget`."""
    with ledger.lease(f"{SEARCH}/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        dead = ledger.abandon_stale_loads(lease, SEARCH, key)
        store.remove(key.tenant, key.callset_id)
        ledger.drop_loads(SEARCH, dead)


def load_kuzu_annotations(*, key: PartitionKey, tables: Tables, ledger: Ledger, store: KuzuGraph) -> LoadReport:
    """The callset's explanations on edges of the tenant's graph, with those of others that wait, as one new version.

    A callset that the graph has not, or has as older tables were, is loaded first and takes its explanations along.
    Raises PermanentError (NO_TABLES, TABLES_DISAGREE), LeaseHeld, StoreUnavailable, Superseded.
    """
    started = time.monotonic()
    with ledger.lease(f"{GRAPH}/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        due = _explanations(tables, key)
        ledger.drop_loads(GRAPH, ledger.abandon_stale_loads(lease, GRAPH, key))
        is_reused = _graph_holds(due, tables=tables, ledger=ledger, store=store)
        if not is_reused:
            ledger.begin_load(lease, GRAPH, key, due.graph_digest)
            if not _graph_has_callset(due, tables=tables, ledger=ledger, store=store):
                load_kuzu(key=key, tables=tables, ledger=ledger, store=store)
            with ledger.lease(f"kuzu/{key.tenant}", wait_seconds=LEASE_WAIT_SECONDS) as graph_lease:
                if not _graph_holds(due, tables=tables, ledger=ledger, store=store):
                    _write_explanations(due, tables=tables, ledger=ledger, store=store, lease=graph_lease)
                    remove_old_versions(key.tenant, ledger, store, keep=2)
        current = ledger.current_load(GRAPH, key)
        if current is None or current.digest != due.graph_digest:
            raise StoreUnavailable(where=f"Kuzu, {key}", expected="the version just published", got="another one")
    seconds = time.monotonic() - started
    graph = ledger.current_load("kuzu", key)
    scope = "linked" if graph is not None and "/linked/" in graph.digest else "all"
    n_answered = due.read(tables, ["record_no"]).height
    # in a linked graph an answer of tier 4 may have no variant; the store has counted what it wrote
    expected = n_answered if scope == "all" else current.rows
    return LoadReport(current.rows, expected, current.digest, seconds, is_reused, scope)


def stale_annotation_loads(key: PartitionKey, *, ledger: Ledger, tables: Tables, embedder_name: str) -> list[str]:
    """Which of the two loads of explanations other explanations, code or embedder made; none where none are due."""
    explanations = current_explanations(tables, key)
    if explanations is None:
        return []
    search, graph = ledger.current_load(SEARCH, key), ledger.current_load(GRAPH, key)
    due = _search_due(explanations, embedder_name)
    stale = []
    if search is None or not due.is_made_like(SearchLoad.parse(search.digest)):
        stale.append(SEARCH)
    if graph is None or graph.digest != explanations.graph_digest:
        stale.append(GRAPH)
    return stale


def _search_due(explanations: Explanations, embedder_name: str) -> SearchLoad:
    return SearchLoad(
        explanations.ai.digest, explanations.triaged.digest, annotation_rows.ANNOTATION_VERSION, 0, embedder_name
    )


def _holds(digest: str, due: SearchLoad, n_rows: int, *, key: PartitionKey, store: LanceAnnotations) -> bool:
    load = SearchLoad.parse(digest)
    if not due.is_made_like(load):
        return False
    return load.table is None or store.count(key.tenant, load.table, key.callset_id) == n_rows


def _vectors(
    rows: pl.DataFrame, embedder: Embedder, tenant: str, store: LanceAnnotations, lease: Lease
) -> NDArray[np.float32]:
    """A vector for each row, taken from the store where it has the text's; each distinct text is embedded once."""
    texts = dict(zip(rows["meaning_id"].to_list(), rows["meaning"].to_list(), strict=True))
    known: dict[str, NDArray[np.float32]] = {}
    for name in store.tables(tenant):
        if name.startswith(table_name(embedder.name, 0)[:-1]):
            known |= store.vectors(tenant, name, list(texts))
    widths = {len(vector) for vector in known.values()}
    if len(widths) > 1:
        known = {}  # a model that changed its width under its name: nothing of it is as it was
    wanted = [name for name in texts if name not in known]
    for start in range(0, len(wanted), TEXTS_AT_ONCE):
        lease.check()
        part = wanted[start : start + TEXTS_AT_ONCE]
        known.update(zip(part, embedder.embed([texts[name] for name in part]), strict=True))
        if len({len(vector) for vector in known.values()}) > 1:
            known = dict(zip(texts, embedder.embed(list(texts.values())), strict=True))
            break
    if not rows.height:
        return np.zeros((0, 0), dtype=np.float32)
    return np.stack([known[name] for name in rows["meaning_id"].to_list()])


def _graph_holds(due: Explanations, *, tables: Tables, ledger: Ledger, store: KuzuGraph) -> bool:
    current = ledger.current_load(GRAPH, due.key)
    is_current = current is not None and current.digest == due.graph_digest
    return is_current and _graph_has_callset(due, tables=tables, ledger=ledger, store=store)


def _graph_has_callset(due: Explanations, *, tables: Tables, ledger: Ledger, store: KuzuGraph) -> bool:
    """The published version is on the disk and has the callset as its tables are."""
    load, version = ledger.current_load("kuzu", due.key), ledger.graph_version(due.key.tenant)
    parsed = tables.manifest(due.key.tenant, due.key.callset_id, PARSED)
    if load is None or version is None or parsed is None:
        return False
    is_of_these = is_load_of(load.digest, parsed.digest, due.triaged.digest)
    is_of_this_code = load.digest.endswith(f"/{graph_rows.GRAPH_VERSION}")
    return is_of_these and is_of_this_code and store.path(version.path).is_file()


def _write_explanations(own: Explanations, *, tables: Tables, ledger: Ledger, store: KuzuGraph, lease: Lease) -> None:
    """A copy of the published version with the explanations of this callset, and of those that wait, replaced."""
    tenant = own.key.tenant
    version = ledger.graph_version(tenant)
    if version is None or own.key.callset_id not in ledger.graph_loads(tenant):
        raise StoreUnavailable(
            where=f"graph of {tenant}", expected="the callset in it", got="none", repair="Try again."
        )
    others = _others_waiting(own, tables=tables, ledger=ledger, store=store)
    due = {found.key.callset_id: found for found in [own, *others]}

    written = store.write_version(
        tenant,
        name=version_name(version.version + 1),
        base=version.path,
        kept=ledger.graph_loads(tenant).keys(),
        callsets=(),
        answered={callset_id: found.read(tables, graph_rows.ANSWER_COLUMNS) for callset_id, found in due.items()},
        check=lease.check,
    )
    explained = {callset_id: (found.graph_digest, written.explained[callset_id]) for callset_id, found in due.items()}
    ledger.publish_graph(lease, tenant, version.version, written.path, {}, explained)


def _others_waiting(own: Explanations, *, tables: Tables, ledger: Ledger, store: KuzuGraph) -> list[Explanations]:
    """Explanations of other callsets of the graph that wait for a version, and still stand as they were asked for."""
    found = []
    for callset_id, digest in ledger.pending_loads(GRAPH, own.key.tenant).items():
        other = PartitionKey(own.key.tenant, callset_id)
        waiting = None if other == own.key else current_explanations(tables, other)
        if (
            waiting is not None
            and waiting.graph_digest == digest
            and _graph_has_callset(waiting, tables=tables, ledger=ledger, store=store)
        ):
            found.append(waiting)
    return found


def _explanations(tables: Tables, key: PartitionKey) -> Explanations:
    found = current_explanations(tables, key)
    if found is None:
        raise PermanentError(
            code="NO_TABLES",
            where=str(key),
            expected=f"its table {ASSET}, of the triage as it is now",
            got="none",
            repair="Materialise it first: `vcf-pipeline run --annotate` does.",
        )
    return found


def _frames(tables: Tables, key: PartitionKey, asset: str, table: str, columns: list[str]) -> Iterator[pl.DataFrame]:
    present = tables.schema(key.tenant, key.callset_id, asset, table)
    return tables.frames(key.tenant, key.callset_id, asset, table, [name for name in columns if name in present])
