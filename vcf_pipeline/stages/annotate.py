"""triaged_variants → ai_annotations: the alleles that matter, each explained from its evidence, or why it is not.

Tier by tier, so that what a budget pays for goes to those who matter most; never all of a callset in memory. Answers
are bought and kept by the explainer, so that a killed run buys none of them again. Here: which alleles, what is written
and remembered, when nothing needs doing. Not here: what may leave (domain/annotation), who is asked (the explainer).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import polars as pl

from vcf_pipeline.adapters.ledger.leases import Lease
from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.annotation.brief import TRIAGED_COLUMNS, VARIANT_COLUMNS, Brief, briefs
from vcf_pipeline.domain.annotation.consensus import agreement
from vcf_pipeline.domain.annotation.explained import Explained, Given, Rejected
from vcf_pipeline.domain.annotation.prices import Price, most_input_tokens
from vcf_pipeline.domain.annotation.prompts import MAX_OUTPUT_TOKENS, PROMPT_VERSION, longest_repair, question
from vcf_pipeline.domain.annotation.provider_choice import TRIES_A_PROVIDER
from vcf_pipeline.domain.annotation.sentences import RULES_VERSION
from vcf_pipeline.domain.annotation.spending import Bought
from vcf_pipeline.domain.errors import BadAnswer, PipelineError, TransientError, UnknownPartition
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.projections.search_rows import side_by_side
from vcf_pipeline.domain.tables.manifest import Manifest, stale_reasons
from vcf_pipeline.domain.tables.schemas import AI_ANNOTATIONS

PARSED, SOURCE, ASSET, TABLE = "parsed_variants", "triaged_variants", "ai_annotations", "annotations"
CODE_VERSION = "annotate-2"
"""Raised with every change that could give a row another brief or status: old tables are stale."""
RULES = "rules"  # as a provider's and a model's name
NO_FACTS = "NO_FACTS"
STATUSES = ("annotated", "skipped", "failed")
_ROWS_AT_ONCE = 1_000
_KEYS = ("row_id", "record_no", "alt_index", "tier")
_KEPT_OF_BAD = 4_000
log = logging.getLogger(__name__)


class Explainer(Protocol):
    """Who explains briefs: rules alone, or providers behind cache, budget and router."""

    def explain(
        self, tenant: str, callset_id: str, tasks: Iterable[Task], *, correlation_id: str = ""
    ) -> Iterator[Explained]:
        """One for each task, as they come. Raises StoreUnavailable. Ended early, it lets what is under way end."""
        ...


DeadLetter = Callable[[bytes, str, str], None]
"""(body, origin, reason) → a dead letter; may raise PipelineError."""


@dataclass(frozen=True)
class Wanted:
    """What is explained, and by whom. tiers: of the triage. annotators: (provider, model) in order of preference.

    consensus: how many of them answer each allele. may_fall_back: rules stand in. budget_microusd: of the tenant's day.
    presets: a registered source's name → its preset.
    """

    tiers: tuple[int, ...]
    annotators: tuple[tuple[str, str], ...] = ((RULES, RULES),)
    consensus: int = 1
    may_fall_back: bool = True
    budget_microusd: int = 0
    presets: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_providers(self) -> bool:
        return any(name != RULES for name, _ in self.annotators)

    def inputs(self, triaged: Manifest) -> dict[str, str]:
        return {
            SOURCE: triaged.digest,
            "assembly": triaged.assembly or "unknown",
            "tiers": ",".join(map(str, self.tiers)),
            "annotator": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """16 hex digits of all that decides an answer but the facts: who, which models, which question, how many."""
        who = [f"{name}/{model}" for name, model in self.annotators]
        asked = [PROMPT_VERSION, str(self.consensus)] if self.has_providers else []
        uses_rules = self.may_fall_back or not self.has_providers or RULES in dict(self.annotators)
        told = [RULES_VERSION] if uses_rules else []
        return hashlib.blake2b("\n".join([*who, *asked, *told]).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Asked:
    """One provider that may be asked. price: None where nobody knows it, and it is not asked for that.

    extra_bytes: of what goes with each question.
    """

    name: str
    price: Price | None
    extra_bytes: int


@dataclass(frozen=True)
class Estimate:
    """Before anything is spent. alleles: to explain. distinct: different briefs among them. cache_hits: of those,
    bought before. calls: answers still to be bought, where each comes at once; at_once_microusd: they cost no more.

    most_calls, cost_microusd: what it cannot be more than, with every repair and every try of every provider; of what
    a provider turns away unbilled for its rate nothing is counted. The cost is within the budget: budget_left_microusd
    is what is not spent of it today. without_price: providers that are not asked for that. reason: why no answer can
    be bought, "" where one can, or none is wanted. is_current: the stored annotations would be left as they are.
    """

    alleles: int
    distinct: int
    cache_hits: int
    calls: int
    most_calls: int
    at_once_microusd: int
    cost_microusd: int
    budget_microusd: int
    budget_left_microusd: int
    without_price: tuple[str, ...] = ()
    reason: Literal["", "UNKNOWN_PRICE", "BUDGET_SPENT"] = ""
    is_current: bool = False


@dataclass(frozen=True)
class AnnotateReport:
    """rows: by status, always all of STATUSES. wanted: alleles of the tiers, as the triage counts them.

    cache_hits: alleles whose answer had been bought before. calls: that left for providers in the run that wrote the
    table, cost_microusd: of those. providers: rows by who wrote the summary. reasons: rows by code. reused: the stored
    table was current, and nothing was asked or written (then calls, cost_microusd and cache_hits are 0).
    """

    rows: dict[str, int]
    wanted: int
    cache_hits: int
    calls: int
    cost_microusd: int
    providers: dict[str, int]
    reasons: dict[str, int]
    digest: str
    seconds: float
    reused: bool
    manifest: Manifest


def annotate_callset(
    *,
    key: PartitionKey,
    tables: Tables,
    lease: Lease,
    wanted: Wanted,
    explainer: Explainer,
    dead_letter: DeadLetter | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
    now: Callable[[], float] = time.time,
) -> AnnotateReport:
    """Explain the alleles of the wanted tiers; if the stored table was made from the same, leave it.

    lease: of `ai_annotations/KEY`, held by the caller. dead_letter: takes each answer that was rejected for good.
    progress: told (alleles done, in all). force: write again; bought answers are used all the same. now: seconds since
    1970. Raises UnknownPartition where nothing is triaged, Superseded where the lease was lost, StoreUnavailable where
    the books cannot be kept; all leave the stored table as it was. Memory: a frame, and the alleles under way.
    """
    started = time.monotonic()
    where = (key.tenant, key.callset_id)
    triaged = tables.manifest(*where, SOURCE)
    if triaged is None:
        raise _not_triaged(key)
    today = _day(now())
    stored = tables.manifest(*where, ASSET)
    if stored is not None and not force and not _stale(stored, triaged, wanted, today):
        return _report(stored, started, reused=True)
    run = _Run(key, triaged, wanted, explainer, tables, lease, dead_letter, progress, _is_of(stored, triaged, wanted))
    return _report(run.write(today), started, reused=False)


def why_stale(key: PartitionKey, tables: Tables, wanted: Wanted, at: float) -> list[str]:
    """Why the stored annotations are not what explaining now would give; [] where they are. at: seconds since 1970."""
    triaged = tables.manifest(key.tenant, key.callset_id, SOURCE)
    stored = tables.manifest(key.tenant, key.callset_id, ASSET)
    if triaged is None:
        return ["there is no triage"]
    return _stale(stored, triaged, wanted, _day(at))


def is_annotated(key: PartitionKey, tables: Tables) -> bool:
    """Whether the callset has annotations at all, of whatever age."""
    return tables.manifest(key.tenant, key.callset_id, ASSET) is not None


def wanted_rows(tables: Tables, key: PartitionKey, tier: int) -> Iterator[pl.DataFrame]:
    """Alleles of one tier in the tables' order, with what a brief is made of; empty frames are left out."""
    where = (key.tenant, key.callset_id)
    present = tables.schema(*where, PARSED, "variants")
    of_variants = [name for name in ("record_no", "alt_index", *VARIANT_COLUMNS) if name in present]
    pairs = side_by_side(
        tables.frames(*where, PARSED, "variants", of_variants),
        tables.frames(*where, SOURCE, "triaged", [*_KEYS, *TRIAGED_COLUMNS]),
    )
    for alleles, verdicts in pairs:
        is_wanted = verdicts["tier"] == tier
        if is_wanted.any():
            yield pl.concat(
                [verdicts.filter(is_wanted), alleles.drop("record_no", "alt_index").filter(is_wanted)], how="horizontal"
            )


def wanted_briefs(tables: Tables, key: PartitionKey, wanted: Wanted) -> Iterator[tuple[dict[str, Any], Brief]]:
    """(row_id, record_no, alt_index, tier, variant_key) and the brief of each allele to explain, tier by tier."""
    triaged = tables.manifest(key.tenant, key.callset_id, SOURCE)
    assembly = triaged.assembly if triaged is not None else None
    for tier in sorted(wanted.tiers):
        for rows in wanted_rows(tables, key, tier):
            named = rows.select(*_KEYS, "variant_key").rows(named=True)
            for at, brief in briefs(rows, assembly, wanted.presets):
                yield named[at], brief


def estimate_callset(
    *,
    key: PartitionKey,
    tables: Tables,
    wanted: Wanted,
    asked: Sequence[Asked],
    bought_before: Callable[[Sequence[str]], Mapping[str, Sequence[Bought]]],
    budget_left_microusd: int,
    at: float,
) -> Estimate:
    """How many calls `annotate_callset` would make, and how much they can cost; none is made.

    asked: of the wanted annotators that are providers. bought_before: subjects → answers by subject.
    budget_left_microusd: not counting what calls under way have reserved, since they may cost less. at: seconds since
    1970. Raises UnknownPartition. Memory: 32 digits for each different brief.
    """
    if tables.manifest(key.tenant, key.callset_id, SOURCE) is None:
        raise _not_triaged(key)
    budget, left = wanted.budget_microusd, budget_left_microusd
    if not why_stale(key, tables, wanted, at):
        stored = tables.manifest(key.tenant, key.callset_id, ASSET)
        n_alleles = stored.alleles if stored is not None else 0
        return Estimate(n_alleles, n_alleles, 0, 0, 0, 0, 0, budget, left, is_current=True)
    priced = [one for one in asked if one.price is not None]
    each = min(wanted.consensus, len(priced))
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    told = wanted_briefs(tables, key, wanted)
    while part := [brief for _, brief in itertools.islice(told, _ROWS_AT_ONCE)]:
        counts["alleles"] += len(part)
        new = {brief.subject: brief for brief in part if brief.facts and brief.subject not in seen}
        seen |= new.keys()
        bought = bought_before(list(new)) if each else {}
        for subject, brief in new.items():
            had = {one.provider for one in bought.get(subject, ())}
            missing = max(each - len(had), 0)
            counts["cache_hits"] += each > 0 and not missing
            counts["missing"] += missing
            if missing and budget:
                counts += _bounds([_costs(brief, one) for one in priced if one.name not in had], missing, left)
    without_price = tuple(one.name for one in asked if one.price is None)
    reason: Literal["", "UNKNOWN_PRICE", "BUDGET_SPENT"] = ""
    if counts["missing"] and not counts["calls"]:
        reason = "BUDGET_SPENT"
    elif without_price and not priced:
        reason = "UNKNOWN_PRICE"
    return Estimate(
        alleles=counts["alleles"],
        distinct=len(seen),
        cache_hits=counts["cache_hits"],
        calls=counts["calls"],
        most_calls=counts["most_calls"],
        at_once_microusd=min(counts["at_once_microusd"], left),
        cost_microusd=min(counts["cost_microusd"], left),
        budget_microusd=budget,
        budget_left_microusd=left,
        without_price=without_price,
        reason=reason,
    )


def _bounds(costs: Sequence[tuple[int, int]], missing: int, left: int) -> Counter[str]:
    """Of one brief. costs: of each provider, of a question and a repair. left: of the budget, for one that is paid."""
    able = [(first, repaired) for first, repaired in costs if first <= left]
    return Counter(
        calls=min(missing, len(able)),
        most_calls=len(able) * TRIES_A_PROVIDER * 2,
        at_once_microusd=sum(sorted((first for first, _ in able), reverse=True)[:missing]),
        cost_microusd=sum(first + repaired for first, repaired in able) * TRIES_A_PROVIDER,
    )


def _costs(brief: Brief, asked: Asked) -> tuple[int, int]:
    """Micro-USD that a question to this provider, and a repair, cannot cost more than."""
    assert asked.price is not None  # noqa: S101 - one without a price is never asked
    question_cost, repair_cost = (
        asked.price.worst(most_input_tokens(messages, asked.extra_bytes), MAX_OUTPUT_TOKENS)
        for messages in (question(brief), longest_repair(brief))
    )
    return question_cost, repair_cost


def _not_triaged(key: PartitionKey) -> UnknownPartition:
    return UnknownPartition(
        where=str(key),
        expected="the table triaged_variants",
        got="none",
        repair=f"Run it again, or materialise triaged_variants of {key} first.",
    )


class _Run:
    """One writing of the table."""

    def __init__(
        self,
        key: PartitionKey,
        triaged: Manifest,
        wanted: Wanted,
        explainer: Explainer,
        tables: Tables,
        lease: Lease,
        dead_letter: DeadLetter | None,
        progress: Callable[[int, int], None] | None,
        has_earlier: bool,
    ) -> None:
        self._key, self._triaged, self._wanted, self._explainer = key, triaged, wanted, explainer
        self._tables, self._lease = tables, lease
        self._dead_letter, self._progress, self._has_earlier = dead_letter, progress, has_earlier
        self._total = sum(int(triaged.extra["tiers"][str(tier)]) for tier in wanted.tiers)
        # alleles by the subject they wait for; the tasks are taken in a thread of the explainer's
        self._waiting: dict[str, list[tuple[dict[str, Any], Brief]]] = {}
        self._lock = threading.Lock()
        self._rows: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._providers: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def write(self, today: str) -> Manifest:
        started = time.monotonic()
        triaged = self._triaged
        with self._tables.writer(self._key, ASSET, fence=self._lease.fence) as writer:
            writer.write(TABLE, pl.DataFrame(schema=AI_ANNOTATIONS))
            told = self._explainer.explain(
                self._key.tenant, self._key.callset_id, self._tasks(), correlation_id=triaged.correlation_id
            )
            for explained in told:
                self._take(explained)
                if len(self._rows) >= _ROWS_AT_ONCE:
                    self._flush(writer.write)
            self._flush(writer.write)
            if self._waiting:
                raise TransientError(
                    where=f"{ASSET} of {self._key}",
                    expected="an account of every allele",
                    got=f"none of {len(self._waiting)}: the asking was stopped",
                    repair="Run it again: what has been answered is kept and not asked again.",
                    code="STOPPED",
                )
            return writer.commit(
                {
                    **{name: getattr(triaged, name) for name in _CARRIED_ON},
                    "alleles": sum(self._counts[status] for status in STATUSES),
                    "inputs": self._wanted.inputs(triaged),
                    "code_version": CODE_VERSION,
                    "timings": {"seconds": time.monotonic() - started},
                    "extra": {
                        "wanted": self._total,
                        "rows": {status: self._counts[status] for status in STATUSES},
                        **{name: self._counts[name] for name in ("cache_hits", "calls", "cost_microusd")},
                        "providers": dict(sorted(self._providers.items())),
                        "reasons": dict(sorted(self._reasons.items())),
                        "day": today,
                        "budget_microusd": self._wanted.budget_microusd,
                    },
                },
                self._lease.guard,
            )

    def _tasks(self) -> Iterator[Task]:
        """Each subject once while it is under way: the same allele twice in a file is asked about once."""
        for row, brief in wanted_briefs(self._tables, self._key, self._wanted):
            if not brief.facts:
                with self._lock:
                    self._add(row, brief, Explained(brief.subject, "skipped", NO_FACTS))
                continue
            with self._lock:
                others = self._waiting.setdefault(brief.subject, [])
                others.append((row, brief))
                is_first = len(others) == 1
            if is_first:
                yield Task(brief, row["tier"])

    def _take(self, explained: Explained) -> None:
        with self._lock:
            alleles = self._waiting.pop(explained.subject, [])
            for at, (row, brief) in enumerate(alleles):
                self._add(row, brief, explained, is_repeated=at > 0)
        if alleles:
            self._counts["calls"] += explained.calls
            self._counts["cost_microusd"] += explained.cost_microusd
            for rejected in explained.rejected:
                self._bury(rejected, alleles[0][1])

    def _add(self, row: dict[str, Any], brief: Brief, explained: Explained, *, is_repeated: bool = False) -> None:
        """is_repeated: the answer is another allele's of this callset, who has paid for it."""
        self._rows.append(annotation_row(row, brief, explained, is_repeated=is_repeated))

    def _count(self, written: Mapping[str, Any]) -> None:
        self._counts[written["status"]] += 1
        self._counts["cache_hits"] += bool(written["cache_hit"])
        if written["provider"] is not None:
            self._providers[written["provider"]] += 1
        if written["reason"] is not None:
            self._reasons[written["reason"]] += 1

    def _flush(self, write: Callable[[str, pl.DataFrame], None]) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
        self._lease.check()
        rows = self._with_earlier(rows)
        for row in rows:
            self._count(row)
        if rows:
            write(TABLE, pl.DataFrame(rows, schema=AI_ANNOTATIONS, orient="row").sort("tier", "record_no", "alt_index"))
        if self._progress is not None:
            self._progress(sum(self._counts[status] for status in STATUSES), self._total)

    def _with_earlier(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Where no model answered now, what an earlier one said of the same facts stays, with the reason why."""
        owed = [row["row_id"] for row in rows if row["provider"] in (None, RULES) and row["reason"] not in _NOT_KEPT]
        if not self._has_earlier or not owed:
            return rows
        where = (self._key.tenant, self._key.callset_id, ASSET, TABLE)
        by_a_model = pl.col("row_id").is_in(owed) & (pl.col("status") == "annotated") & (pl.col("provider") != RULES)
        found = self._tables.scan(*where).filter(by_a_model).select("row_id", *_OF_AN_ANSWER).collect()
        earlier = {
            one["row_id"]: {**one, "status": "annotated", "cache_hit": True} for one in found.iter_rows(named=True)
        }
        return [row | earlier.get(row["row_id"], {}) for row in rows]

    def _bury(self, rejected: Rejected, brief: Brief) -> None:
        """A rejected answer is set aside for a person to look at."""
        if self._dead_letter is None:
            return
        body, reason = letter_of(rejected, brief)
        try:
            self._dead_letter(body, f"{ASSET} of {self._key}", reason)
        except PipelineError as problem:
            log.warning("no dead letter of a rejected answer of %s: %s", self._key, problem)
            self._dead_letter = None  # a broker that is gone is not waited for once per answer


def letter_of(rejected: Rejected, brief: Brief) -> tuple[bytes, str]:
    """(body, reason) of a dead letter. What was answered is text: nothing of it is carried out."""
    problems = [problem[:300] for problem in rejected.problems[:20]]
    letter = {
        "subject": brief.subject,
        "provider": rejected.provider,
        "model": rejected.model,
        "brief": json.loads(brief.to_json()),
        "answer": rejected.text[:_KEPT_OF_BAD],
        "problems": problems,
    }
    reason = f"{rejected.provider}: {'; '.join(problems) or BadAnswer.code}"[:1000]
    return json.dumps(letter, ensure_ascii=True, sort_keys=True).encode(), reason


def annotation_row(
    row: Mapping[str, Any], brief: Brief, explained: Explained, *, is_repeated: bool = False
) -> dict[str, Any]:
    """A row of AI_ANNOTATIONS. The label is the brief's, whatever was answered."""
    shown: Given | None = explained.given[0] if explained.given else None
    reading = shown.answer.reading if shown is not None and shown.provider != RULES else None
    values: dict[str, Any] = {
        **row,
        "status": explained.status,
        "reason": explained.reason or None,
        "significance_label": brief.label,
        "reading": reading,
        "disagrees": None if reading is None else reading != brief.label,
        "agreement": agreement(explained.given),
        "answers": _all_answers(explained.given),
        "cost_microusd": 0 if is_repeated else explained.cost_microusd,
        "cache_hit": bool(explained.given) and (is_repeated or explained.given[0].is_cached),
    }
    if shown is not None:
        values |= {
            "summary": shown.answer.summary,
            "cited": list(shown.answer.cited),
            **{
                name: getattr(shown, name)
                for name in ("provider", "model", "prompt_version", "input_tokens", "output_tokens", "latency_ms")
            },
        }
    return {name: values.get(name) for name in AI_ANNOTATIONS}


def _all_answers(given: Sequence[Given]) -> list[dict[str, str]] | None:
    if len(given) < 2:
        return None
    return [
        {"provider": one.provider, "model": one.model, "reading": one.answer.reading, "summary": one.answer.summary}
        for one in given
    ]


_CARRIED_ON = (
    *("label", "correlation_id", "source", "vcf_version", "assembly", "assembly_reason", "normalisation"),
    *("samples", "records", "rejected", "versions"),
)
"""What a manifest says of the callset, the same for all its tables."""
_OF_AN_ANSWER = (
    *("summary", "reading", "disagrees", "cited", "agreement", "answers", "provider", "model", "prompt_version"),
    *("input_tokens", "output_tokens", "latency_ms"),
)
_NOT_KEPT = (None, NO_FACTS, "NOT_ALLOWED")
"""With these nobody was to be asked: what was said before does not come back."""
_OWED_NEXT_DAY = ("BUDGET_SPENT",)
_NOT_OWED = (BadAnswer.code, NO_FACTS, "NOT_ALLOWED", "PARTIAL_CONSENSUS", *_OWED_NEXT_DAY)


def _is_of(stored: Manifest | None, triaged: Manifest, wanted: Wanted) -> bool:
    """Whether the stored explanations are of the same facts, whoever gave them."""
    now = wanted.inputs(triaged)
    return (
        stored is not None
        and stored.code_version == CODE_VERSION
        and all(stored.inputs.get(name) == now[name] for name in (SOURCE, "assembly"))
    )


def _stale(stored: Manifest | None, triaged: Manifest, wanted: Wanted, today: str) -> list[str]:
    reasons = stale_reasons(stored, code_version=CODE_VERSION, inputs=wanted.inputs(triaged))
    if stored is None or reasons:
        return reasons
    told: dict[str, int] = stored.extra["reasons"]
    if wanted.budget_microusd and (count := sum(told.get(code, 0) for code in _OWED_NEXT_DAY)):
        before = (stored.extra["day"], stored.extra["budget_microusd"])
        if before != (today, wanted.budget_microusd):
            reasons.append(f"{count} alleles were left out on {before[0]} for the budget of that day")
    if count := sum(number for code, number in told.items() if code not in _NOT_OWED):
        reasons.append(f"{count} alleles had no answer of a provider, because none could be reached")
    return reasons


def _day(at: float) -> str:
    """The UTC day of a moment, as the budget counts days."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _report(manifest: Manifest, started: float, *, reused: bool) -> AnnotateReport:
    extra = manifest.extra
    spent = {name: 0 if reused else int(extra[name]) for name in ("cache_hits", "calls", "cost_microusd")}
    return AnnotateReport(
        rows={status: int(extra["rows"][status]) for status in STATUSES},
        wanted=int(extra["wanted"]),
        providers=dict(extra["providers"]),
        reasons=dict(extra["reasons"]),
        digest=manifest.digest,
        seconds=time.monotonic() - started,
        reused=reused,
        manifest=manifest,
        **spent,
    )
