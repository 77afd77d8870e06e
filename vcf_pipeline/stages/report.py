"""A callset's tables → everything that its report says, as plain values. No store and no model is asked; registered
sources are, where they have changed since.

Not here: how it looks (report_page.py, report.html.jinja), the rules (domain/triage).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections.graph_rows import carriers
from vcf_pipeline.domain.tables.manifest import Manifest
from vcf_pipeline.domain.tables.schemas import TIER_MOVES
from vcf_pipeline.domain.triage.rules import CAPS, NOTES, RULES
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.triage.tiers import TIER_NAMES
from vcf_pipeline.stages.explanations import ASSET, TABLE, current_explanations
from vcf_pipeline.stages.joined_sources import Registered
from vcf_pipeline.stages.stale_triage import Stale, stale_triage
from vcf_pipeline.stages.triage import CLAIMS, MOVES, hears_claims, moves_to_come

PARSED, TRIAGED = "parsed_variants", "triaged_variants"
SHOWN = (1, 2, 3)
DEFAULT_LIMIT = 200
MOST_SAMPLES = 12
MOST_MOVES = 100
MOST_LISTED = 5_000
"""Moves in the body of the page, and in all: what is beyond is in `vcf-pipeline sources moves --json`."""
LONGEST_TEXT = 300
_KEY = ["record_no", "alt_index"]
_OF_VARIANTS = [
    *("record_no", "alt_index", "contig", "pos", "ref", "alt", "id", "qual", "filter", "variant_type", "variant_key"),
    *("transcript", "hgvs_c", "hgvs_p", "n_called", "n_het", "n_hom", "n_missing"),
]
_OF_TRIAGE = [
    *("record_no", "alt_index", "tier", "reasons", "population_af", "significance", "stars", "conditions", "gene"),
    *("consequence", "impact", "evidence"),
]
_OF_ANSWERS = [
    *("record_no", "alt_index", "status", "reason", "summary", "significance_label", "reading", "disagrees", "cited"),
    *("agreement", "answers", "provider", "model", "prompt_version", "cache_hit"),
]


@dataclass(frozen=True)
class Report:
    """parsed, triaged, annotated: manifests; annotated is None where nothing is explained for this triage.

    sha256: of the file's bytes, "" where they never were a file. tiers: alleles by TIER_NAMES. reasons: (code, what it
    says, alleles), frequent first; doubts: likewise of the caps. n_with_frequency: alleles of which a population's
    frequency is known; without_frequency: code → those with it of which none is. alleles: by tier 1 to 3, the first
    `limit` of each: columns of both tables, `answer` and `calls` beside them. moves: the newest MOST_LISTED of
    TIER_MOVES; n_moves: all of them; claims, n_claims: likewise of `claim_changes`. state: of the ledger. generated_at:
    ISO 8601, UTC. stale: why triaging now would give other tables; None where it would not. pending: TIER_MOVES that it
    would bring, those to a lower number first, cut; n_pending: all of them. An allele that is shown and would move has
    `pending_tier`, which is None for unknown. hears_claims: whether anybody was heard who could claim something.
    """

    key: PartitionKey
    state: str
    sha256: str
    parsed: Manifest
    triaged: Manifest
    annotated: Manifest | None
    is_outdated: bool
    tiers: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]]
    doubts: Sequence[tuple[str, str, int]]
    n_with_frequency: int
    without_frequency: Mapping[str, int]
    alleles: Mapping[int, list[dict[str, Any]]]
    moves: Sequence[Mapping[str, Any]]
    n_moves: int
    claims: Sequence[Mapping[str, Any]]
    n_claims: int
    limit: int
    generated_at: str
    stale: Stale | None = None
    pending: Sequence[Mapping[str, Any]] = ()
    n_pending: int = 0
    hears_claims: bool = True
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_shown(self) -> int:
        return sum(len(alleles) for alleles in self.alleles.values())


def report_of(
    key: PartitionKey,
    *,
    ledger: Ledger,
    tables: Tables,
    registered: Registered,
    thresholds: TriageThresholds,
    generated_at: str,
    limit: int = DEFAULT_LIMIT,
) -> Report:
    """registered, thresholds: as the next triage would take them. Where that would give other tables, it is done once,
    and nothing of it is written.

    Raises UnknownPartition where nothing is triaged. Memory: the shown alleles and one frame, or that of a triage.
    """
    where = (key.tenant, key.callset_id)
    callset = ledger.callset(key)
    parsed, triaged = tables.manifest(*where, PARSED), tables.manifest(*where, TRIAGED)
    if callset is None or parsed is None or triaged is None:
        raise UnknownPartition(
            where=str(key),
            expected="a callset with tiers",
            got="one without" if callset is not None else "an unknown one",
            repair="Run its file first: `vcf-pipeline run --annotate FILE`.",
        )
    explanations = current_explanations(tables, key)
    reasons, without_frequency, n_with_frequency = _counts(tables, key)
    words = {**{rule.code: rule.says for rule in RULES}, **{cap.code: cap.says for cap in CAPS}}
    words |= {note.code: note.says for note in NOTES}
    words = {code: says.replace("`", "'") for code, says in words.items()}  # they are Markdown, the page is not
    caps = {cap.code for cap in CAPS}
    moves, n_moves = _moves(tables, key, triaged, MOVES)
    claims, n_claims = _moves(tables, key, triaged, CLAIMS)
    shown = {tier: _alleles(tables, key, tier, limit, parsed, has_answers=explanations is not None) for tier in SHOWN}
    stale = stale_triage(key, tables=tables, thresholds=thresholds, sources=registered.listed(key.tenant))
    pending: list[dict[str, Any]] = []
    n_pending = 0
    if stale is not None:
        to_come = moves_to_come(key, tables, thresholds=thresholds, registered=registered)
        pending, n_pending = _pending(to_come, [allele for alleles in shown.values() for allele in alleles])
    return Report(
        key=key,
        state=callset.state,
        sha256=callset.sha256 or "",
        parsed=parsed,
        triaged=triaged,
        annotated=explanations.ai if explanations is not None else None,
        is_outdated=explanations is None and tables.manifest(*where, ASSET) is not None,
        tiers={name: int(triaged.extra["tiers"].get(name, 0)) for name in TIER_NAMES},
        reasons=[(code, words.get(code, ""), count) for code, count in reasons if code not in caps],
        doubts=[(code, words.get(code, ""), count) for code, count in reasons if code in caps],
        n_with_frequency=n_with_frequency,
        without_frequency=without_frequency,
        alleles=shown,
        moves=moves,
        n_moves=n_moves,
        claims=claims,
        n_claims=n_claims,
        limit=limit,
        generated_at=generated_at,
        stale=stale,
        pending=pending,
        n_pending=n_pending,
        hears_claims=hears_claims(key, tables),
        words=words,
    )


def _counts(tables: Tables, key: PartitionKey) -> tuple[list[tuple[str, int]], dict[str, int], int]:
    """(code, alleles that have it), frequent first; code → those of them without a population's frequency; alleles
    with one.
    """
    found: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    n_known = 0
    for frame in tables.frames(key.tenant, key.callset_id, TRIAGED, "triaged", ["reasons", "population_af"]):
        n_known += frame["population_af"].count()
        coded = frame.select(code="reasons", is_unknown=pl.col("population_af").is_null()).explode("code").drop_nulls()
        for code, count, n_unknown in coded.group_by("code").agg(pl.len(), pl.col("is_unknown").sum()).iter_rows():
            found[code] += count
            unknown[code] += n_unknown
    return sorted(found.items(), key=lambda pair: (-pair[1], pair[0])), dict(unknown), n_known


def _alleles(
    tables: Tables, key: PartitionKey, tier: int, limit: int, parsed: Manifest, *, has_answers: bool
) -> list[dict[str, Any]]:
    """The first of a tier: those that somebody claims something of, then by impact and place."""
    where = (key.tenant, key.callset_id)
    wanted = _first(
        (frame.filter(pl.col("tier") == tier) for frame in tables.frames(*where, TRIAGED, "triaged", _OF_TRIAGE)),
        limit,
    )
    if wanted.is_empty():
        return []
    keys = wanted.select(_KEY)
    present = tables.schema(*where, PARSED, "variants")
    columns = [name for name in _OF_VARIANTS if name in present]
    variants = _matching(tables.frames(*where, PARSED, "variants", columns), keys)
    frame = wanted.join(variants, on=_KEY, how="left", maintain_order="left")
    answers: dict[tuple[int, int], dict[str, Any]] = {}
    if has_answers:
        told = _matching(tables.frames(*where, ASSET, TABLE, _OF_ANSWERS), keys)
        answers = {(row["record_no"], row["alt_index"]): row for row in told.to_dicts()}
    calls = _calls(tables, key, keys, parsed)
    alleles = []
    for row in frame.to_dicts():
        at = (row["record_no"], row["alt_index"])
        alleles.append({**dict.fromkeys(_OF_VARIANTS), **row, "answer": answers.get(at), "calls": calls.get(at, [])})
    return alleles


def _first(frames: Iterator[pl.DataFrame], limit: int) -> pl.DataFrame:
    """The first rows by what is claimed, impact and record; memory is the limit and one frame."""
    order = [
        pl.col("significance").is_null(),
        pl.col("stars").fill_null(-1) * -1,
        pl.col("impact").replace_strict({"HIGH": 0, "MODERATE": 1, "LOW": 2}, default=3, return_dtype=pl.Int8),
        *_KEY,
    ]
    best: pl.DataFrame | None = None
    for frame in frames:
        together = frame if best is None else pl.concat([best, frame])
        best = together.sort(order).head(limit)
    return best if best is not None else pl.DataFrame()


def _matching(frames: Iterator[pl.DataFrame], keys: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame.join(keys, on=_KEY, how="semi") for frame in frames])


def _calls(
    tables: Tables, key: PartitionKey, keys: pl.DataFrame, parsed: Manifest
) -> dict[tuple[int, int], list[tuple[str, str]]]:
    """(record_no, alt_index) → (sample, zygosity) of those that carry it, of a callset of few samples."""
    has_calls = "gt" in parsed.schemas.get("genotypes", {})
    if not has_calls or not 0 < len(parsed.samples) <= MOST_SAMPLES:
        return {}
    found: dict[tuple[int, int], list[tuple[str, str]]] = {}
    genotypes = tables.frames(key.tenant, key.callset_id, PARSED, "genotypes", ["record_no", "gt"])
    for frame in genotypes:
        own = frame.join(keys.select("record_no").unique(), on="record_no", how="semi")
        for part in carriers(own, keys, len(parsed.samples)) if own.height else ():
            for record_no, alt_index, sample_no, zygosity in part.select(
                "record_no", "alt_index", "sample_no", "zygosity"
            ).iter_rows():
                found.setdefault((record_no, alt_index), []).append((parsed.samples[sample_no], zygosity))
    return found


def _moves(tables: Tables, key: PartitionKey, triaged: Manifest, table: str) -> tuple[list[dict[str, Any]], int]:
    """The newest moves between tiers, those to a lower number first; and how many there are."""
    if table not in triaged.schemas:
        return [], 0
    moves = tables.read(key.tenant, key.callset_id, TRIAGED, table, list(TIER_MOVES))
    newest = moves.sort(
        ["moved_at", pl.col("new_tier").fill_null(5), "record_no"], descending=[True, False, False]
    ).head(MOST_LISTED)
    return newest.to_dicts(), moves.height


def _pending(to_come: Iterator[pl.DataFrame], shown: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The first moves to come, and how many there are; each of the shown alleles is told its own."""
    by_key = {(allele["record_no"], allele["alt_index"]): allele for allele in shown}
    keys = pl.DataFrame(list(by_key), schema={name: TIER_MOVES[name] for name in _KEY}, orient="row")
    first, count = pl.DataFrame(schema=TIER_MOVES), 0
    for frame in to_come:
        count += frame.height
        first = pl.concat([first, frame]).sort(pl.col("new_tier").fill_null(5), *_KEY).head(MOST_MOVES)
        for move in frame.join(keys, on=_KEY, how="semi").iter_rows(named=True):
            by_key[move["record_no"], move["alt_index"]]["pending_tier"] = move["new_tier"]
    return first.to_dicts(), count
