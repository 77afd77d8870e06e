"""Questions to one version of a graph, each in a child process with a time-out and a limit of memory.

Canned questions and a person's own Cypher go the same way: some queries crash the engine; a child may die.
Not here: which version is current (ledger), how one is written (kuzu_graph.py).
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.stores.kuzu_graph import open_graph, rows_of
from vcf_pipeline.domain.errors import PipelineError, StoreUnavailable, UsageError

TIMEOUT_SECONDS = 30.0
MEMORY_BYTES = 2 << 30
"""Address space beyond what the idle child has; Kuzu's buffer pool is part of it."""
BUFFER_POOL_BYTES = 256 << 20
MAX_ROWS = 10_000
_MAX_CYPHER = 20_000
_MAX_ANSWER_BYTES = 64 << 20
_STRINGS_AND_COMMENTS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|/\*.*?\*/|//[^\n]*", re.DOTALL)
# a database opened read-only still writes files by COPY TO and EXPORT, and reads any file by LOAD FROM
_FORBIDDEN = re.compile(
    r"\b(ALTER|ATTACH|BEGIN|CALL|CHECKPOINT|COMMENT|COMMIT|COPY|CREATE|DELETE|DETACH|DROP|EXPORT|IMPORT|INSTALL"
    r"|LOAD|MERGE|ROLLBACK|SET|UNINSTALL|UPDATE|USE)\b",
    re.IGNORECASE,
)
_LINKED = "MATCH (c:Callset) WHERE c.scope = 'linked' RETURN c.label ORDER BY c.label"
_START = re.compile(r"\s*(MATCH|OPTIONAL\s+MATCH|UNWIND|WITH|RETURN)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A canned question. parameters: names of what must be given, in the order a person gives them."""

    help: str
    parameters: tuple[str, ...]
    cypher: str


QUESTIONS: dict[str, Question] = {
    "gene": Question(
        "variants of a gene, and who carries them",
        ("gene",),
        "MATCH (v:Variant)-[g:IN_GENE]->(:Gene {key: $gene}) "
        "OPTIONAL MATCH (s:Sample)-[c:CARRIES]->(v) WHERE c.callset_id = g.callset_id "
        "RETURN v.variant_key AS variant_key, v.assembly AS assembly, g.consequence AS consequence, "
        "g.impact AS impact, s.name AS sample, c.zygosity AS zygosity, g.callset_id AS callset_id "
        "ORDER BY variant_key, callset_id, sample",
    ),
    "carriers": Question(
        "samples that carry a variant, in every callset of its assembly",
        ("variant_key",),
        "MATCH (s:Sample)-[c:CARRIES]->(v:Variant) WHERE v.variant_key = $variant_key "
        "RETURN s.name AS sample, c.zygosity AS zygosity, v.assembly AS assembly, c.callset_id AS callset_id "
        "ORDER BY callset_id, sample, zygosity",
    ),
    "shared-genes": Question(
        "genes in which several samples carry a variant of tier 1 to 3",
        (),
        "MATCH (s:Sample)-[c:CARRIES]->(v:Variant)-[i:IN_GENE]->(g:Gene) "
        "WHERE c.tier <= 3 AND i.callset_id = c.callset_id "
        "WITH g.key AS gene, count(DISTINCT s.key) AS samples, count(DISTINCT v.key) AS variants "
        "WHERE samples > 1 RETURN gene, samples, variants ORDER BY samples DESC, variants DESC, gene",
    ),
    "conditions": Question(
        "conditions that are claimed of what a sample carries",
        ("sample",),
        "MATCH (s:Sample)-[c:CARRIES]->(v:Variant)-[h:HAS_CLAIM]->(k:Condition) "
        "WHERE (s.name = $sample OR s.key = $sample) AND h.callset_id = c.callset_id "
        "RETURN k.key AS condition, h.significance AS significance, h.stars AS stars, "
        "v.variant_key AS variant_key, c.zygosity AS zygosity, c.tier AS tier, c.callset_id AS callset_id "
        "ORDER BY tier, condition, variant_key, callset_id",
    ),
    "explained": Question(
        "variants of a gene that are explained, and the explanation",
        ("gene",),
        "MATCH (c:Callset)-[e:EXPLAINED]->(v:Variant)-[g:IN_GENE]->(:Gene {key: $gene}) "
        "WHERE g.callset_id = c.key "
        "RETURN DISTINCT e.tier AS tier, v.variant_key AS variant_key, e.significance_label AS significance, "
        "e.summary AS summary, e.provider AS provider, c.key AS callset_id "
        "ORDER BY tier, variant_key, callset_id",
    ),
    "explained-condition": Question(
        "variants that are explained and claimed for a condition, by a part of its name",
        ("condition",),
        "MATCH (c:Callset)-[e:EXPLAINED]->(v:Variant)-[h:HAS_CLAIM]->(k:Condition) "
        "WHERE h.callset_id = c.key AND lower(k.key) CONTAINS lower($condition) "
        "RETURN DISTINCT e.tier AS tier, k.key AS condition, v.variant_key AS variant_key, "
        "e.significance_label AS significance, e.summary AS summary, e.provider AS provider, c.key AS callset_id "
        "ORDER BY tier, condition, variant_key, callset_id",
    ),
    "shared-variants": Question(
        "variants that several callsets contain, and how many",
        (),
        "MATCH (c:Callset)-[r:CONTAINS]->(v:Variant) "
        # in two steps: beside a count(DISTINCT …) Kuzu's min() is null
        "WITH v.variant_key AS variant_key, v.assembly AS assembly, c.key AS callset, min(r.tier) AS lowest "
        "WITH variant_key, assembly, count(*) AS callsets, min(lowest) AS tier WHERE callsets > 1 "
        "RETURN variant_key, assembly, callsets, tier "
        "ORDER BY callsets DESC, tier, variant_key, assembly",
    ),
}


@dataclass(frozen=True)
class GraphAnswer:
    """columns and rows of an answer; values as JSON has them. is_cut: there were more than the limit.

    linked: labels of callsets of which this version holds the linked alleles alone.
    """

    columns: list[str]
    rows: list[list[Any]]
    is_cut: bool
    linked: list[str]


def check_cypher(cypher: str) -> str:
    """The text itself, if it is one statement that only reads. Raises UsageError (CYPHER_REFUSED)."""
    bare = _STRINGS_AND_COMMENTS.sub(" '' ", cypher).strip().removesuffix(";")
    forbidden = _FORBIDDEN.search(bare)
    found = (
        forbidden[1].upper()
        if forbidden
        else "several statements"
        if ";" in bare
        else repr(bare[:20])
        if not _START.match(bare)
        else f"{len(cypher):,} characters"
        if len(cypher) > _MAX_CYPHER
        else None
    )
    if found is not None:
        raise UsageError(
            code="CYPHER_REFUSED",
            where="cypher",
            expected="one statement that reads: MATCH … RETURN …",
            got=found,
        )
    return cypher


def ask(
    path: Path,
    cypher: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    max_rows: int = MAX_ROWS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> GraphAnswer:
    """Ask the version at `path`, which is opened read-only, in a child process.

    Raises UsageError where check_cypher or the engine refuses the text (CYPHER_REFUSED), or the answer took
    too long, too much memory or crashed it (QUERY_TOO_HEAVY); StoreUnavailable (is_missing) where the version
    is gone.
    """
    request = {
        "path": str(path),
        "cypher": check_cypher(cypher),
        "parameters": dict(parameters or {}),
        "max_rows": max_rows,
        "memory_bytes": memory_bytes,
    }
    try:
        child = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_heavy(f"no answer in {timeout_seconds:g} s") from error
    try:
        answer = json.loads(child.stdout)
    except ValueError as error:
        raise _too_heavy(f"the engine stopped ({child.returncode})") from error
    if "refused" in answer:
        raise UsageError(code="CYPHER_REFUSED", where="cypher", got=answer["refused"])
    if "heavy" in answer:
        raise _too_heavy(answer["heavy"])
    if "missing" in answer:
        raise StoreUnavailable(
            where="graph", expected="a version on the disk", got="none", repair="Try again.", is_missing=True
        )
    return GraphAnswer(answer["columns"], answer["rows"], answer["is_cut"], answer["linked"])


def _too_heavy(got: str) -> UsageError:
    return UsageError(
        code="QUERY_TOO_HEAVY",
        where="graph",
        expected="an answer within the limits",
        got=got,
        repair="Ask for less: name a gene or a sample, or add LIMIT.",
    )


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the child does. Its own memory is bounded first; it may write no file."""
    import kuzu  # noqa: F401 - loaded before the bound, which is on what the question takes

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _IS_LINUX else 0
    path = Path(request["path"])
    try:
        with open_graph(path, buffer_pool_bytes=BUFFER_POOL_BYTES, is_read_only=True) as graph:
            if _IS_LINUX:
                reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                bound = max(used, reserved) + request["memory_bytes"]
                resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
            result = graph.execute(request["cypher"], request["parameters"])
            rows: list[list[Any]] = []
            while result.has_next() and len(rows) < request["max_rows"]:
                rows.append(list(result.get_next()))
            linked = [row[0] for row in rows_of(graph, _LINKED)]
            columns, is_cut = result.get_column_names(), result.has_next()
            return {"columns": columns, "rows": rows, "is_cut": is_cut, "linked": linked}
    except MemoryError:
        return {"heavy": "it takes too much memory"}
    except PipelineError as error:
        if error.data.get("is_missing"):
            return {"missing": True}
        if re.search(r"buffer|memory|bad_alloc|Mmap", error.message, re.IGNORECASE):
            return {"heavy": error.got[:300]}
        return {"refused": error.got[:300]}


_IS_LINUX = sys.platform == "linux"


def _main() -> None:
    answer = json.dumps(_answer(json.loads(sys.stdin.buffer.read())), default=str).encode()
    if len(answer) > _MAX_ANSWER_BYTES:
        answer = json.dumps({"heavy": f"the answer has {len(answer) >> 20} MB"}).encode()
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
