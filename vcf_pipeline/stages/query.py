"""A question → rows of the stores, as they were between two loads, and what a person should know beside them.

Not here: what may be asked (domain/query.py), the stores' languages (adapters/stores).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.stores.kuzu_graph import KuzuGraph
from vcf_pipeline.adapters.stores.kuzu_reader import (
    MAX_ROWS,
    QUESTIONS,
    TIMEOUT_SECONDS,
    GraphAnswer,
    ask,
    check_cypher,
)
from vcf_pipeline.adapters.stores.lancedb_variants import (
    ROW_ADDRESS,
    LanceSnapshot,
    LanceVariants,
    best_rows,
)
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import StoreUnavailable, UsageError
from vcf_pipeline.domain.identity import DEFAULT_TENANT, PartitionKey
from vcf_pipeline.domain.projections.graph_rows import sample_calls
from vcf_pipeline.domain.projections.search_rows import SEARCH_ROWS
from vcf_pipeline.domain.query import Condition, Region, VariantQuery, near_misses

RESULT_COLUMNS = [name for name in SEARCH_ROWS if name not in ("row_id", "contig_bare")]
_ORDER = ["tier", "contig_bare", "pos", "alt_index", "callset_id", "record_no"]
_LOADING_STATES = ["registered", "announced", "running"]
_ATTEMPTS = 50


@dataclass(frozen=True)
class QueryResult:
    """frame: RESULT_COLUMNS, best tier first, then by place, cut at the limit; with `zygosity` for a sample.

    total: how many match in all. still_loading: partition key → label of callsets that may add to it.
    unknown: what the question named and no callset has, as in 'gene "BRAC1"'; near: what it may have meant.
    """

    frame: pl.DataFrame
    total: int
    still_loading: dict[str, str]
    unknown: str | None = None
    near: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphResult:
    """answer: columns and rows, and what is only partly there. version: of the graph that answered."""

    answer: GraphAnswer
    version: int

    @property
    def linked(self) -> list[str]:
        """Labels of callsets of which the graph holds the linked alleles alone."""
        return self.answer.linked


def query_variants(
    query: VariantQuery,
    *,
    tenant: str = DEFAULT_TENANT,
    tables: Tables,
    ledger: Ledger,
    store: LanceVariants,
) -> QueryResult:
    """What matches, as one moment had it: no half load, no double, no gap.

    query.callset: anything that `ledger.resolve` takes.
    Raises UnknownPartition, AmbiguousCallset, UsageError (UNKNOWN_SAMPLE), StoreUnavailable.
    """
    if query.callset is not None:
        query = replace(query, callset=ledger.resolve(tenant, query.callset).callset_id)
    carried = None if query.sample is None else _callsets_of_sample(query, tenant, tables, ledger)
    loading = {
        str(callset.key): callset.label
        for callset in ledger.callsets(tenant, _LOADING_STATES)
        if query.callset in (None, callset.callset_id)
    }
    snapshot, hidden = settled_variants(tenant, ledger, store)
    if snapshot is None:
        return QueryResult(_empty(query), 0, loading)
    conditions = query.conditions()
    if carried is None:
        total = snapshot.count(conditions, hidden)
        best = best_rows(snapshot.scan(_ORDER, conditions, hidden), _ORDER, query.limit)
        frame = snapshot.take(best[ROW_ADDRESS].to_list(), RESULT_COLUMNS)
    else:
        seen = _Seen()
        best = best_rows(seen.counted(_carried(snapshot, conditions, hidden, carried, tables)), _ORDER, query.limit)
        total = seen.rows
        frame = snapshot.take(best[ROW_ADDRESS].to_list(), RESULT_COLUMNS)
        frame = frame.with_columns(best["zygosity"] if best.height else pl.Series("zygosity", [], dtype=pl.String))
    unknown, near = (None, ()) if total else _unknown_name(query, snapshot, hidden)
    return QueryResult(frame, total, loading, unknown, near)


def ask_graph(
    question: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    tenant: str = DEFAULT_TENANT,
    ledger: Ledger,
    store: KuzuGraph,
    max_rows: int = MAX_ROWS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> GraphResult:
    """Ask the tenant's current graph. question: a name of QUESTIONS, or Cypher that only reads.

    Raises UsageError (NO_GRAPH, MISSING_PARAMETER, CYPHER_REFUSED, QUERY_TOO_HEAVY), StoreUnavailable.
    """
    canned = QUESTIONS.get(question)
    given = dict(parameters or {})
    if canned is not None:
        missing = [name for name in canned.parameters if not given.get(name)]
        if missing:
            raise UsageError(code="MISSING_PARAMETER", where=question, expected=", ".join(missing), got="nothing")
    cypher = canned.cypher if canned is not None else check_cypher(question)
    for is_last in (False, True):
        version = ledger.graph_version(tenant)
        if version is None:
            raise UsageError(
                code="NO_GRAPH",
                where=f"tenant {tenant}",
                expected="a graph",
                got="none",
                repair="Load a file first.",
            )
        path = store.path(version.path)
        try:
            answer = ask(path, cypher, given, max_rows=max_rows, timeout_seconds=timeout_seconds)
        except StoreUnavailable as error:
            # two loads have passed since the version was named: its file may be gone, the next one's is not
            if is_last or not error.data.get("is_missing"):
                raise
            continue
        return GraphResult(answer, version.version)
    raise AssertionError("unreachable")


def settled_variants(tenant: str, ledger: Ledger, store: LanceVariants) -> tuple[LanceSnapshot | None, list[str]]:
    """The table while the ledger's account of its loads did not change, and the loads to pass over.

    Between the two looks a load may have become current, and its forerunner's rows may have gone.
    """
    before = ledger.hidden_loads("lancedb", tenant)
    for _ in range(_ATTEMPTS):
        snapshot = store.snapshot(tenant)
        after = ledger.hidden_loads("lancedb", tenant)
        if after == before:
            return snapshot, list(after[1])
        before = after
    raise StoreUnavailable(where=f"LanceDB, tenant {tenant}", got="loads without a pause", repair="Try again.")


def _callsets_of_sample(
    query: VariantQuery, tenant: str, tables: Tables, ledger: Ledger
) -> dict[str, tuple[PartitionKey, int, int]]:
    """callset_id → key, place of the sample, number of samples. Raises UsageError (UNKNOWN_SAMPLE)."""
    wanted = query.sample or ""
    found: dict[str, tuple[PartitionKey, int, int]] = {}
    known: set[str] = set()
    for callset in ledger.callsets(tenant):
        if query.callset not in (None, callset.callset_id) or callset.state == "forgotten":
            continue
        manifest = tables.manifest(tenant, callset.callset_id, "parsed_variants")
        samples = [] if manifest is None else manifest.samples
        known.update(samples)
        name = wanted.removeprefix(f"{callset.key}/")
        if name in samples:
            found[callset.callset_id] = (callset.key, samples.index(name), len(samples))
    if not found:
        near = near_misses(wanted, known)
        raise UsageError(
            code="UNKNOWN_SAMPLE",
            where="--sample",
            expected="a sample of a callset of this tenant",
            got=repr(wanted),
            repair=f"Did you mean {', '.join(near)}?" if near else "",
        )
    return found


def _carried(
    snapshot: LanceSnapshot,
    conditions: Sequence[Condition],
    hidden: Sequence[str],
    callsets: Mapping[str, tuple[PartitionKey, int, int]],
    tables: Tables,
) -> Iterator[pl.DataFrame]:
    """Matching rows that the sample carries, with `zygosity`. Memory: keys of one callset's matches."""
    for callset_id, (key, sample_no, n_samples) in callsets.items():
        own = [*conditions, Condition("callset_id", "=", callset_id)]
        matching = list(snapshot.scan(_ORDER, own, hidden))
        if not sum(frame.height for frame in matching):
            continue
        if "gt" not in tables.schema(key.tenant, callset_id, "parsed_variants", "genotypes"):
            continue
        together = pl.concat(matching)
        genotypes = tables.frames(key.tenant, callset_id, "parsed_variants", "genotypes", ["record_no", "gt"])
        for frame in genotypes:
            calls = sample_calls(frame, sample_no, n_samples)
            yield together.join(calls, on=["record_no", "alt_index"], how="inner")


class _Seen:
    """Counts rows that pass."""

    def __init__(self) -> None:
        self.rows = 0

    def counted(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in frames:
            self.rows += frame.height
            yield frame


def _unknown_name(
    query: VariantQuery, snapshot: LanceSnapshot, hidden: Sequence[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Which name of the question no row has at all, and what is like it."""
    scope = [] if query.callset is None else [Condition("callset_id", "=", query.callset)]
    if query.gene is not None and not snapshot.count([*scope, *VariantQuery(gene=query.gene).conditions()], hidden):
        genes = _distinct(snapshot, "gene", scope, hidden)
        return f'gene "{query.gene}"', tuple(near_misses(query.gene, genes))
    if query.region is not None:
        named = Region(query.region.contig)
        if not snapshot.count([*scope, *named.conditions()], hidden):
            contigs = _distinct(snapshot, "contig_bare", scope, hidden)
            return f'contig "{named.contig}"', tuple(near_misses(named.contig, contigs) or sorted(contigs)[:5])
    return None, ()


def _distinct(snapshot: LanceSnapshot, column: str, conditions: Sequence[Condition], hidden: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for frame in snapshot.scan([column], conditions, hidden):
        found.update(frame[column].drop_nulls().unique())
    return found


def _empty(query: VariantQuery) -> pl.DataFrame:
    columns = {name: SEARCH_ROWS[name] for name in RESULT_COLUMNS}
    return pl.DataFrame(schema=columns if query.sample is None else {**columns, "zygosity": pl.String})
