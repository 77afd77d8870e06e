"""Kuzu's graph of each tenant: a new version is written from the last one, and none is ever changed.

Not here: what is a node or an edge (domain/projections/graph_rows.py), which version counts and who may write
the next (ledger), questions (kuzu_reader.py). A version nobody published is an orphan: `sweep` removes it.
Kuzu 0.11.3 writes one file and a log beside it; after a checkpoint and close the file is all there is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from vcf_pipeline.adapters.objects import make_private_dir
from vcf_pipeline.domain.errors import PipelineError, StoreUnavailable
from vcf_pipeline.domain.identity import check_tenant
from vcf_pipeline.domain.projections.graph_rows import ALL_UP_TO_ALLELES, EDGES, NODES, GraphRows, explained_edges

FOLDER = "_graph"
FILE = "graph.kuzu"
BUFFER_POOL_BYTES = 256 << 20
MAX_THREADS = 2
EDGES_A_COPY = 200_000
"""One COPY holds all its edges in the buffer pool: 1.8 million overflow 256 MiB; cut, they take no longer."""
MAX_DATABASE_BYTES = 1 << 38
"""Address space that Kuzu reserves; its default of 8 TiB is refused where memory is limited."""
_EXPLANATIONS = "(c:Callset)-[r:EXPLAINED]->(:Variant) WHERE c.`key` = $callset"
_KUZU_TYPES: dict[Any, str] = {
    pl.String: "STRING",
    pl.Int64: "INT64",
    pl.Int16: "INT16",
    pl.Int8: "INT8",
}


class Written(NamedTuple):
    """path: of the version, from the root, whole on the disk. alleles: callset_id → how many of it were written.

    explained: callset_id → its explained alleles in this version, of those whose explanations were written.
    """

    path: str
    alleles: dict[str, int]
    explained: dict[str, int]


class KuzuGraph:
    """Versions under root/TENANT/_graph/. One writer per tenant at a time: whoever holds its graph lease."""

    def __init__(
        self,
        root: Path,
        *,
        buffer_pool_bytes: int = BUFFER_POOL_BYTES,
        all_up_to_alleles: int = ALL_UP_TO_ALLELES,
    ) -> None:
        self.root = root
        self.buffer_pool_bytes = buffer_pool_bytes
        self.all_up_to_alleles = all_up_to_alleles

    def write_version(
        self,
        tenant: str,
        *,
        name: str,
        base: str | None,
        kept: Collection[str],
        callsets: Iterable[GraphRows],
        answered: Mapping[str, pl.DataFrame] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Written:
        """A new version: those callsets of `base` that are in `kept`, and `callsets`, which must not be in `kept`.

        name: of the new version, unique. base: relative path of the version to start from, None for an empty
        graph. answered: callset_id, which must be in `kept` → what replaces all of its explanations (ANSWER_COLUMNS).
        check: called between steps; what it raises stops the work.
        Raises StoreUnavailable, or what `callsets` or `check` raise: then nothing is left of the new version.
        """
        folder = make_private_dir(self._tenant_folder(tenant) / name)
        try:
            is_whole = base is not None and self.callsets(base) <= set(kept)
            if base is not None and is_whole:
                self._copy(base, folder)
            with open_graph(folder / FILE, buffer_pool_bytes=self.buffer_pool_bytes) as graph:
                _make_tables(graph)
                if base is not None and not is_whole:
                    self._copy_part(base, graph, kept, check)
                counts, explained = {}, {}
                for rows in callsets:
                    check()
                    counts[rows.callset_id] = _add(graph, rows, check)
                    explained[rows.callset_id] = rows.edges["EXPLAINED"].height
                for callset_id, frame in (answered or {}).items():
                    check()
                    explained[callset_id] = _explain(graph, callset_id, frame, check)
                graph.execute("CHECKPOINT")
            _flush(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Written(str((folder / FILE).relative_to(self.root)), counts, explained)

    def callsets(self, path: str) -> set[str]:
        """callset_ids that the version at this relative path holds."""
        with open_graph(self.path(path), buffer_pool_bytes=self.buffer_pool_bytes, is_read_only=True) as graph:
            return {row[0] for row in rows_of(graph, "MATCH (c:Callset) RETURN c.key")}

    def path(self, relative: str) -> Path:
        return self.root / relative

    def discard(self, path: str) -> None:
        """Remove the version at this relative path; one that is gone already is no error."""
        shutil.rmtree(self.path(path).parent, ignore_errors=True)

    def sweep(self, tenant: str, keep: Iterable[str]) -> list[str]:
        """Remove every version of the tenant that is not in `keep`; their names. Needs the graph lease."""
        folder = self._tenant_folder(tenant)
        kept = {self.path(path).parent.name for path in keep}
        orphans = sorted(found.name for found in folder.glob("v*") if found.name not in kept)
        for orphan in orphans:
            shutil.rmtree(folder / orphan, ignore_errors=True)
        return orphans

    def _tenant_folder(self, tenant: str) -> Path:
        return self.root / check_tenant(tenant) / FOLDER

    def _copy(self, base: str, folder: Path) -> None:
        with _disk_errors():
            shutil.copyfile(self.path(base), folder / FILE)

    def _copy_part(self, base: str, graph: Any, kept: Collection[str], check: Callable[[], None]) -> None:
        """The callsets of `base` that are in `kept`, through Arrow, a callset at a time.

        Kuzu's own DELETE takes 14 s for 300,000 edges, and a primary key that was deleted and copied again in
        one session was not found any more.
        """
        with open_graph(self.path(base), buffer_pool_bytes=self.buffer_pool_bytes, is_read_only=True) as old:
            callsets = [row[0] for row in rows_of(old, "MATCH (c:Callset) RETURN c.key ORDER BY c.key")]
            for callset_id in callsets:
                check()
                if callset_id in kept:
                    _add(graph, _read_callset(old, callset_id), check)


@contextmanager
def open_graph(path: Path, *, buffer_pool_bytes: int, is_read_only: bool = False) -> Iterator[Any]:
    """A connection to the file; both are closed at the end. Raises StoreUnavailable, with `is_missing`."""
    import kuzu

    # Kuzu's destructor crashes the process after it failed to open a path that is not there
    if (is_read_only and not path.is_file()) or not path.parent.is_dir():
        raise StoreUnavailable(where="graph", expected="a version on the disk", got="none", is_missing=True)
    with mapped():
        database = kuzu.Database(
            str(path),
            buffer_pool_size=buffer_pool_bytes,
            max_num_threads=MAX_THREADS,
            max_db_size=MAX_DATABASE_BYTES,
            read_only=is_read_only,
        )
    try:
        with mapped():
            connection = kuzu.Connection(database, num_threads=MAX_THREADS)
        try:
            yield _Mapped(connection)
        finally:
            connection.close()
    finally:
        database.close()


def rows_of(graph: Any, cypher: str, parameters: dict[str, Any] | None = None) -> list[list[Any]]:
    """A small result as lists."""
    return [list(row) for row in graph.execute(cypher, parameters or {}).get_all()]


class _Mapped:
    """A connection whose errors are ours."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, cypher: str, parameters: dict[str, Any] | None = None) -> Any:
        with mapped():
            return self._connection.execute(cypher, parameters or {})


def _make_tables(graph: Any) -> None:
    """Those that are not there: a copy of an older version may lack one."""
    for name, columns in NODES.items():
        worded = ", ".join(f"`{column}` {_KUZU_TYPES[dtype]}" for column, dtype in columns.items())
        graph.execute(f"CREATE NODE TABLE IF NOT EXISTS {name}({worded}, PRIMARY KEY(`key`))")
    for name, (source, target, columns) in EDGES.items():
        worded = "".join(f", `{column}` {_KUZU_TYPES[dtype]}" for column, dtype in columns.items())
        graph.execute(f"CREATE REL TABLE IF NOT EXISTS {name}(FROM {source} TO {target}{worded})")


def _add(graph: Any, rows: GraphRows, check: Callable[[], None]) -> int:
    """Nodes that are not there yet, then every edge of the callset; its alleles, counted there."""
    for name, columns in NODES.items():
        _copy_new_nodes(graph, name, rows.nodes[name].select(columns.keys()))
    for name, frame in rows.edges.items():
        _copy_edges(graph, name, frame, check)
    for frame in rows.carries:
        _copy_edges(graph, "CARRIES", frame, check)
    counted = "MATCH (c:Callset)-[r:CONTAINS]->(:Variant) WHERE c.`key` = $callset RETURN count(*)"
    n_alleles = int(rows_of(graph, counted, {"callset": rows.callset_id})[0][0])
    if n_alleles != rows.n_alleles:
        raise StoreUnavailable(where="Kuzu", expected=f"{rows.n_alleles:,} alleles", got=f"{n_alleles:,}")
    _check_explained(graph, rows.callset_id, rows.edges["EXPLAINED"].height)
    return n_alleles


def _explain(graph: Any, callset_id: str, answered: pl.DataFrame, check: Callable[[], None]) -> int:
    """The callset's explanations replaced; the number of them in the graph, counted there.

    Kuzu's own DELETE is fast enough for edges as few as these (3,000 of 150,000: 0.2 s), and leaves keys alone.
    """
    graph.execute(f"MATCH {_EXPLANATIONS} DELETE r", {"callset": callset_id})
    _check_explained(graph, callset_id, 0)
    edges = explained_edges(answered, _edges(graph, "CONTAINS", callset_id))
    _copy_edges(graph, "EXPLAINED", edges, check)
    return _check_explained(graph, callset_id, edges.height)


def _check_explained(graph: Any, callset_id: str, expected: int) -> int:
    counted = f"MATCH {_EXPLANATIONS} RETURN count(*)"
    found = int(rows_of(graph, counted, {"callset": callset_id})[0][0])
    if found != expected:
        raise StoreUnavailable(where="Kuzu", expected=f"{expected:,} explanations", got=f"{found:,}")
    return found


def _copy_new_nodes(graph: Any, name: str, frame: pl.DataFrame) -> None:
    if frame.height == 0:
        return
    arrived = frame.to_arrow(compat_level=pl.CompatLevel.oldest())  # noqa: F841 - Kuzu finds it by its name
    columns = ", ".join(f"`{column}`" for column in frame.columns)
    graph.execute(
        f"COPY {name} FROM (LOAD FROM arrived WHERE NOT EXISTS "
        f"{{MATCH (present:{name}) WHERE present.`key` = `key`}} RETURN {columns})"
    )


def _copy_edges(graph: Any, name: str, frame: pl.DataFrame, check: Callable[[], None]) -> None:
    wanted = frame.select("from", "to", *EDGES[name][2])
    for part in wanted.iter_slices(EDGES_A_COPY):
        check()
        if part.height:
            arrived = part.to_arrow(compat_level=pl.CompatLevel.oldest())  # noqa: F841 - Kuzu finds it by its name
            graph.execute(f"COPY {name} FROM arrived")


def _read_callset(graph: Any, callset_id: str) -> GraphRows:
    """A callset as it lies in a graph, to be copied into another one."""

    def nodes(name: str, pattern: str) -> pl.DataFrame:
        wanted = ", ".join(f"n.`{column}`" for column in NODES[name])
        cypher = f"MATCH {pattern} RETURN DISTINCT {wanted}"
        return _frame(graph, cypher, callset_id, NODES[name])

    def edges(name: str) -> pl.DataFrame:
        return _edges(graph, name, callset_id)

    contains = edges("CONTAINS")
    callset = nodes("Callset", "(n:Callset) WHERE n.`key` = $callset")
    tables = {row[0] for row in rows_of(graph, "CALL show_tables() RETURN name")}
    return GraphRows(
        callset_id=callset_id,
        scope="linked" if callset["scope"][0] == "linked" else "all",
        n_alleles=contains.height,
        nodes={
            "Callset": callset,
            "Sample": nodes("Sample", "(n:Sample) WHERE n.callset_id = $callset"),
            "Variant": nodes("Variant", "(c:Callset)-[:CONTAINS]->(n:Variant) WHERE c.`key` = $callset"),
            "Gene": nodes("Gene", "(:Variant)-[r:IN_GENE]->(n:Gene) WHERE r.callset_id = $callset"),
            "Condition": nodes("Condition", "(:Variant)-[r:HAS_CLAIM]->(n:Condition) WHERE r.callset_id = $callset"),
        },
        edges={
            "CONTAINS": contains,
            "IN_GENE": edges("IN_GENE"),
            "HAS_CLAIM": edges("HAS_CLAIM"),
            "EXPLAINED": edges("EXPLAINED") if "EXPLAINED" in tables else explained_edges(None, contains),
        },
        carries=iter([edges("CARRIES")]),
    )


def _edges(graph: Any, name: str, callset_id: str) -> pl.DataFrame:
    """from, to and the columns of EDGES, of one callset."""
    source, target, columns = EDGES[name]
    owner = "a.`key`" if source == "Callset" else "r.`callset_id`"
    wanted = ", ".join(["a.`key`", "b.`key`", *(f"r.`{column}`" for column in columns)])
    cypher = f"MATCH (a:{source})-[r:{name}]->(b:{target}) WHERE {owner} = $callset RETURN {wanted}"
    return _frame(graph, cypher, callset_id, {"from": pl.String, "to": pl.String, **columns})


def _frame(graph: Any, cypher: str, callset_id: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    result = pl.DataFrame(graph.execute(cypher, {"callset": callset_id}).get_as_arrow())
    result.columns = list(columns)
    return result.cast({name: columns[name] for name in result.columns})


def _flush(folder: Path) -> None:
    """The file and its folders on the disk. A log left beside the file means that the checkpoint failed."""
    left = sorted(found.name for found in folder.iterdir() if found.name != FILE)
    if left:
        raise StoreUnavailable(where="graph", expected=f"{FILE} alone after a checkpoint", got=", ".join(left))
    with _disk_errors():
        (folder / FILE).chmod(0o400)
        for path in (folder / FILE, folder, folder.parent):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StoreUnavailable(where="graph", expected="a version on the disk", got="none", is_missing=True) from error
    except OSError as error:
        raise StoreUnavailable(where="graph", got=f"{type(error).__name__}: {error.strerror}") from error


@contextmanager
def mapped() -> Iterator[None]:
    """Kuzu's errors as ours: it raises RuntimeError with a text, for everything."""
    try:
        yield
    except PipelineError:
        raise
    except (RuntimeError, OSError, MemoryError) as error:
        raise StoreUnavailable(
            where="Kuzu", got=str(error)[:300] or type(error).__name__, repair="Try again."
        ) from error
