"""A callset's tables → a store, under a lease; a store without the callset.

Not here: what rows, nodes and edges are (domain/projections), how a store keeps them (adapters/stores).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph, Written
from vcf_pipeline.adapters.stores.lancedb_variants import LanceVariants
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import PermanentError, StoreUnavailable, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections import graph_rows, search_rows
from vcf_pipeline.domain.tables.manifest import Manifest
from vcf_pipeline.stages.explanations import Explanations, current_explanations

Progress = Callable[[int, int], None]
"""Called with (alleles done, of how many)."""

LEASE_WAIT_SECONDS = 600.0
PARSED, TRIAGED = "parsed_variants", "triaged_variants"


@dataclass(frozen=True)
class LoadReport:
    """rows: of the callset in the store now. expected_rows: by its tables. scope: "all" or "linked".

    reused: the store had this very load already, or another loader of the tenant took the callset along.
    """

    rows: int
    expected_rows: int
    digest: str
    seconds: float
    reused: bool
    scope: str


@dataclass(frozen=True)
class _Inputs:
    """What a load is made from."""

    parsed: Manifest
    triaged: Manifest

    def digest(self, scope: str, projection_version: str) -> str:
        return "/".join([self.parsed.digest, self.triaged.digest, scope, projection_version])


def is_load_of(load_digest: str, parsed_digest: str, triaged_digest: str) -> bool:
    """Whether a load was made from these two tables, whatever its scope."""
    return load_digest.startswith(f"{parsed_digest}/{triaged_digest}/")


def load_lancedb(
    *,
    key: PartitionKey,
    tables: Tables,
    ledger: Ledger,
    store: LanceVariants,
    progress: Progress | None = None,
) -> LoadReport:
    """The callset's allele rows in the tenant's search table, once, as the tables are now.

    Readers see the load before this one until this one is whole. A killed load is removed by the next.
    Raises PermanentError (NO_TABLES, TABLES_DISAGREE), LeaseHeld, StoreUnavailable, Superseded.
    """
    started = time.monotonic()
    with ledger.lease(f"lancedb/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        inputs = _inputs(tables, key)
        digest = inputs.digest("all", search_rows.PROJECTION_VERSION)
        n_alleles = inputs.parsed.alleles
        dead = ledger.abandon_stale_loads(lease, "lancedb", key)
        current = ledger.current_load("lancedb", key)
        is_reused = (
            current is not None
            and current.digest == digest
            and store.count(key.tenant, current.load_id) == current.rows == n_alleles
        )
        if not is_reused:
            load_id = ledger.begin_load(lease, "lancedb", key, digest)
            rows = search_rows.search_rows(
                key.callset_id,
                _watched(_variants(tables, key, search_rows.VARIANT_COLUMNS), n_alleles, progress, lease.check),
                tables.frames(key.tenant, key.callset_id, TRIAGED, "triaged", search_rows.TRIAGE_COLUMNS),
            )
            n_added = store.add(key.tenant, load_id, rows)
            n_there = store.count(key.tenant, load_id)
            if not n_added == n_there == n_alleles:
                raise StoreUnavailable(
                    where=f"LanceDB, {key}",
                    expected=f"{n_alleles:,} rows",
                    got=f"{n_there:,} of {n_added:,} sent",
                    repair="Try again.",
                )
            try:
                dead = ledger.finish_load(lease, load_id, n_there)
            except Superseded:
                # a forget came in between and has swept already: nobody else would look for these rows
                store.remove(key.tenant, [load_id])
                raise
        if dead:
            store.remove(key.tenant, dead)
            ledger.drop_loads("lancedb", dead)
        if not is_reused:
            store.settle(key.tenant)
    return LoadReport(n_alleles, n_alleles, digest, time.monotonic() - started, is_reused, "all")


def unload_lancedb(key: PartitionKey, *, ledger: Ledger, store: LanceVariants) -> int:
    """Remove the rows of every load that is not current; the number of such loads. For a `forget`."""
    with ledger.lease(f"lancedb/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        dead = ledger.abandon_stale_loads(lease, "lancedb", key)
        store.remove(key.tenant, dead)
        ledger.drop_loads("lancedb", dead)
    return len(dead)


def load_kuzu(
    *, key: PartitionKey, tables: Tables, ledger: Ledger, store: KuzuGraph, progress: Progress | None = None
) -> LoadReport:
    """The callset in the tenant's graph, with every other callset that is queued, as one new version of it.

    Raises PermanentError (NO_TABLES, TABLES_DISAGREE), LeaseHeld, StoreUnavailable, Superseded.
    """
    started = time.monotonic()
    due = _graph_due(tables, key, store)
    ledger.queue_graph_load(key, due.digest)
    with ledger.lease(f"kuzu/{key.tenant}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        due = _graph_due(tables, key, store)
        current = ledger.current_load("kuzu", key)
        version = ledger.graph_version(key.tenant)
        is_reused = (
            current is not None
            and current.digest == due.digest
            and version is not None
            and store.path(version.path).is_file()
        )
        if current is None or not is_reused:
            _write_graph(due, tables=tables, ledger=ledger, store=store, lease=lease, progress=progress)
            current = ledger.current_load("kuzu", key)
        remove_old_versions(key.tenant, ledger, store, keep=2)
        if current is None or current.digest != due.digest:
            raise StoreUnavailable(where=f"Kuzu, {key}", expected="the version just published", got="another one")
    expected = due.n_alleles if due.scope == "all" else current.rows
    return LoadReport(current.rows, expected, due.digest, time.monotonic() - started, is_reused, due.scope)


def unload_kuzu(key: PartitionKey, *, ledger: Ledger, store: KuzuGraph) -> bool:
    """A new version of the tenant's graph without the callset; False where there is none. For a `forget`."""
    with ledger.lease(f"kuzu/{key.tenant}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        version = ledger.graph_version(key.tenant)
        if version is None:
            return False
        path = version.path
        is_there = store.path(path).is_file()
        kept = ledger.graph_loads(key.tenant).keys()
        if is_there and not store.callsets(path) <= kept:
            path = store.write_version(
                key.tenant,
                name=version_name(version.version + 1),
                base=version.path,
                kept=kept,
                callsets=(),
                check=lease.check,
            ).path
            ledger.publish_graph(lease, key.tenant, version.version, path, {})
        # the versions before may still have the callset, so they go at once
        remove_old_versions(key.tenant, ledger, store, keep=1)
        for name in ("kuzu", "kuzu_annotations"):
            ledger.drop_loads(name, ledger.dead_loads(name, key))
    return is_there


@dataclass(frozen=True)
class _GraphDue:
    """A callset as the graph ought to have it. key: of the callset. explanations: what goes along."""

    key: PartitionKey
    inputs: _Inputs
    scope: graph_rows.Scope
    n_alleles: int
    digest: str
    explanations: Explanations | None


def _graph_due(tables: Tables, key: PartitionKey, store: KuzuGraph) -> _GraphDue:
    inputs = _inputs(tables, key)
    scope = graph_rows.scope_of(inputs.parsed.alleles, store.all_up_to_alleles)
    digest = inputs.digest(scope, graph_rows.GRAPH_VERSION)
    return _GraphDue(key, inputs, scope, inputs.parsed.alleles, digest, current_explanations(tables, key))


def _write_graph(
    own: _GraphDue,
    *,
    tables: Tables,
    ledger: Ledger,
    store: KuzuGraph,
    lease: Lease,
    progress: Progress | None,
) -> None:
    """One pass over everything that is queued, published by compare-and-swap."""
    tenant = own.key.tenant
    version = ledger.graph_version(tenant)
    base = version.path if version is not None and store.path(version.path).is_file() else None
    due = [own, *_others_due(own, tables, ledger, store, is_rebuilt=base is None)]

    def written(due: list[_GraphDue]) -> Written:
        return store.write_version(
            tenant,
            name=version_name(version.version + 1 if version is not None else 1),
            base=base,
            kept=ledger.graph_loads(tenant).keys() - {found.key.callset_id for found in due},
            callsets=_graph_rows_of(due, tables, progress, lease.check),
            check=lease.check,
        )

    try:
        version_made = written(due)
    except StoreUnavailable:
        if base is None or len(due) == 1:
            raise
        # one that the store cannot take fails its own load alone: what waits in the queue is left to theirs
        due = [own]
        version_made = written(due)
    rows, explained = version_made.alleles, version_made.explained
    there = [found for found in due if found.key.callset_id in rows]
    ledger.publish_graph(
        lease,
        tenant,
        version.version if version is not None else 0,
        version_made.path,
        {found.key.callset_id: (found.digest, rows[found.key.callset_id]) for found in there},
        {
            found.key.callset_id: (found.explanations.graph_digest, explained[found.key.callset_id])
            for found in there
            if found.explanations is not None
        },
    )


def remove_old_versions(tenant: str, ledger: Ledger, store: KuzuGraph, *, keep: int) -> None:
    """All but the last `keep`, and what a killed writer left. Needs the graph lease."""
    for old in ledger.old_graph_versions(tenant, keep=keep):
        store.discard(old.path)
        ledger.drop_graph_version(tenant, old.version)
    store.sweep(tenant, [kept.path for kept in ledger.old_graph_versions(tenant, keep=0)])


def _others_due(
    own: _GraphDue, tables: Tables, ledger: Ledger, store: KuzuGraph, *, is_rebuilt: bool
) -> list[_GraphDue]:
    """What else is queued and still stands as it was queued; where the graph is gone, what it held too."""
    tenant = own.key.tenant
    there = {callset_id: load.digest for callset_id, load in ledger.graph_loads(tenant).items()}
    queue = dict(ledger.graph_queue(tenant))
    wanted = there | queue if is_rebuilt else dict(queue.items() - there.items())
    found = []
    for callset_id, digest in wanted.items():
        key = PartitionKey(tenant, callset_id)
        if key == own.key:
            continue
        try:
            due = _graph_due(tables, key, store)
        except PermanentError:
            continue  # its own load says why
        if due.digest == digest:
            found.append(due)
    return found


def _graph_rows_of(
    due: list[_GraphDue], tables: Tables, progress: Progress | None, check: Callable[[], None]
) -> Iterator[graph_rows.GraphRows]:
    """Callset by callset. What is wrong with another one than the first stops its own load, not this one."""
    for position, found in enumerate(due):
        key, parsed = found.key, found.inputs.parsed
        told = progress if position == 0 else None
        has_calls = "gt" in parsed.schemas.get("genotypes", {})
        try:
            yield graph_rows.graph_rows(
                tenant=key.tenant,
                callset_id=key.callset_id,
                label=parsed.label,
                assembly=parsed.assembly,
                samples=parsed.samples,
                scope=found.scope,
                variants=_watched(_variants(tables, key, graph_rows.VARIANT_COLUMNS), found.n_alleles, told, check),
                triaged=tables.frames(key.tenant, key.callset_id, TRIAGED, "triaged", graph_rows.TRIAGE_COLUMNS),
                genotypes=tables.frames(key.tenant, key.callset_id, PARSED, "genotypes", graph_rows.GENOTYPE_COLUMNS)
                if has_calls
                else iter(()),
                answered=None
                if found.explanations is None
                else found.explanations.read(tables, graph_rows.ANSWER_COLUMNS),
            )
        except PermanentError:
            if position == 0:
                raise


def version_name(number: int) -> str:
    return f"v{number:06d}-{uuid.uuid4().hex[:12]}"


def _variants(tables: Tables, key: PartitionKey, columns: list[str]) -> Iterator[pl.DataFrame]:
    present = tables.schema(key.tenant, key.callset_id, PARSED, "variants")
    wanted = [name for name in columns if name in present]
    return tables.frames(key.tenant, key.callset_id, PARSED, "variants", wanted)


def _watched(
    frames: Iterator[pl.DataFrame], n_alleles: int, progress: Progress | None, check: Callable[[], None]
) -> Iterator[pl.DataFrame]:
    """The frames themselves; between them the lease is checked and progress told."""
    done = 0
    for frame in frames:
        check()
        yield frame
        done += frame.height
        if progress is not None:
            progress(done, n_alleles)


def _inputs(tables: Tables, key: PartitionKey) -> _Inputs:
    parsed = tables.manifest(key.tenant, key.callset_id, PARSED)
    triaged = tables.manifest(key.tenant, key.callset_id, TRIAGED)
    if parsed is None or triaged is None:
        missing = PARSED if parsed is None else TRIAGED
        raise PermanentError(
            code="NO_TABLES",
            where=str(key),
            expected=f"its table {missing}",
            got="none",
            repair="Materialise it first: `vcf-pipeline run` does.",
        )
    return _Inputs(parsed, triaged)
