"""One variant, as a person writes it → what sources and callsets know of it, its tier by the same rules, and in words.

Nothing is stored but the answers that were paid for. Not here: how a variant is written (domain/variant_text.py), the
rules (domain/triage), what may leave the house (domain/annotation/brief.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.adapters.stores.lancedb_variants import ROW_ADDRESS, LanceSnapshot, LanceVariants, best_rows
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.annotation.brief import Brief, brief_of
from vcf_pipeline.domain.annotation.explained import Explained, Given
from vcf_pipeline.domain.annotation.sentences import RULES_VERSION, summarise
from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.query import Condition
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.variant_text import Allele, RsId, parse_variant
from vcf_pipeline.domain.vcf.assembly import recognise_assembly
from vcf_pipeline.domain.vcf.batch import BlockParser
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.annotate import NO_FACTS, RULES, Explainer
from vcf_pipeline.stages.joined_sources import Registered, usable
from vcf_pipeline.stages.query import settled_variants
from vcf_pipeline.stages.sources import keys_of_rsid
from vcf_pipeline.stages.stale_triage import Stale, judged_now, stale_triage
from vcf_pipeline.stages.triage import triage_alleles

MOST_ALLELES = 10
MOST_CALLSETS = 20
SOURCES = "sources"
_HEADER = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
_ORDER = ["contig_bare", "pos", "alt_index", "callset_id", "record_no"]
_FOUND = [*_ORDER, "row_id", "contig", "ref", "alt", "id", "variant_key", "hgvs_c", "hgvs_p", "n_het", "n_hom"]
_JUDGED = (
    *("tier", "reasons", "significance", "stars", "conditions", "gene", "consequence", "impact", "population_af"),
    "evidence",
)


@dataclass(frozen=True)
class View:
    """What one place knows. origin: "sources", or a callset's label; callset_id: None for sources.

    judged: the columns of TRIAGED from tier to evidence, by the sources and rules of now. n_het, n_hom: samples of the
    callset that carry it. stale: why the callset's tables do not say so yet; stored: what they say, None where the
    same.
    """

    origin: str
    callset_id: str | None
    judged: Mapping[str, Any]
    ids: tuple[str, ...] = ()
    n_het: int | None = None
    n_hom: int | None = None
    stale: Stale | None = None
    stored: Mapping[str, Any] | None = None

    @property
    def tier(self) -> int | None:
        tier: int | None = self.judged["tier"]
        return tier

    @property
    def is_known(self) -> bool:
        return bool(self.judged["evidence"])


@dataclass(frozen=True)
class VariantAnswer:
    """assembly: None where nothing tells. views: sources first, then callsets. chosen: the one that is explained: the
    lowest tier, sources before callsets. explained: None where there is nothing to explain. not_used: source → why.
    near: keys of alleles at the same position, where nobody knows this one.
    """

    asked: str
    variant_key: str
    assembly: str | None
    views: tuple[View, ...]
    chosen: View | None
    brief: Brief | None
    explained: Explained | None
    not_used: Mapping[str, str] = field(default_factory=dict)
    near: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """Everything that is asked. presets: a source's name → its preset."""

    tenant: str
    ledger: Ledger
    tables: Tables
    store: LanceVariants
    registered: Registered
    thresholds: TriageThresholds
    explainer: Explainer
    presets: Mapping[str, str] = field(default_factory=dict)


def explain_variant(text: str, *, known: Known, assembly: str | None = None) -> list[VariantAnswer]:
    """One answer for each assembly in which something is known of the variant, and each allele of an rsID.

    assembly: the only one that is looked at, whatever it is called. Raises UsageError (BAD_VARIANT, UNKNOWN_VARIANT),
    StoreUnavailable.
    """
    named = parse_variant(text)
    wanted = None if assembly is None else recognise_assembly(parse_header(_HEADER), assembly).name
    snapshot, hidden = settled_variants(known.tenant, known.ledger, known.store)
    assemblies = {callset.callset_id: _assembly_of(callset.callset_id, known) for callset in _callsets(known)}
    places: dict[tuple[str | None, str], None] = {}
    if isinstance(named, RsId):
        for source, key in keys_of_rsid(
            named.name, tenant=known.tenant, ledger=known.ledger, tables=known.registered.tables
        ):
            places.setdefault((source.assembly, key))
    else:
        key = str(_frame([named])["variant_key"][0])
        for source in known.registered.listed(known.tenant):
            places.setdefault((source.assembly, key))
        if wanted is not None:
            places.setdefault((wanted, key))
    keys = tuple(dict.fromkeys(key for _, key in places)) if isinstance(named, RsId) else (key,)
    found = _in_callsets(named, keys, snapshot, hidden)
    for row in found:
        places.setdefault((assemblies.get(row["callset_id"]), row["variant_key"]))
    answers = [
        _answer(text, key, place, found, assemblies, known=known)
        for place, key in list(places)[:MOST_ALLELES]
        if wanted in (None, place)
    ]
    knowing = [answer for answer in answers if any(view.is_known or view.stored for view in answer.views)]
    if knowing:
        return knowing
    if isinstance(named, RsId):
        raise UsageError(
            code="UNKNOWN_VARIANT",
            where=named.name,
            expected="an rsID of a registered source, or of a loaded callset" + (f" of {wanted}" if wanted else ""),
            got="one that none of them has",
            repair="`sources add` registers dbSNP or ClinVar; or give contig, position, REF and ALT.",
        )
    near = _near(named, snapshot, hidden)
    if answers:
        return [VariantAnswer(**{**vars(answers[0]), "near": near})]
    return [VariantAnswer(text, _frame([named])["variant_key"][0], wanted, (), None, None, None, near=near)]


def _answer(
    text: str,
    key: str,
    assembly: str | None,
    found: Sequence[Mapping[str, Any]],
    assemblies: Mapping[str, str | None],
    *,
    known: Known,
) -> VariantAnswer:
    labels = {callset.callset_id: callset.label for callset in _callsets(known)}
    views = []
    allele = _allele(key)
    if allele is not None and known.registered.listed(known.tenant):
        judged = triage_alleles(
            _frame([allele]),
            assembly=assembly,
            thresholds=known.thresholds,
            registered=known.registered,
            tenant=known.tenant,
        )
        views.append(View(SOURCES, None, judged.select(_JUDGED).row(0, named=True)))
    own = [row for row in found if row["variant_key"] == key and assemblies.get(row["callset_id"]) == assembly]
    hgvs: dict[str, str | None] = {"hgvs_c": None, "hgvs_p": None}
    for row in own[:MOST_CALLSETS]:
        judged_row, stored, stale = _judged(row, known)
        if judged_row is None:
            continue
        hgvs = {name: hgvs[name] or row[name] for name in hgvs}
        views.append(
            View(
                labels.get(row["callset_id"], row["callset_id"]),
                row["callset_id"],
                judged_row,
                tuple((row["id"] or "").split(";")) if row["id"] else (),
                row["n_het"],
                row["n_hom"],
                stale,
                stored,
            )
        )
    speaking = [view for view in views if view.is_known]
    chosen = min(speaking, key=lambda view: view.tier or 5) if speaking else None
    brief, explained = None, None
    if chosen is not None:
        brief = brief_of({"variant_key": key, **hgvs, **chosen.judged}, assembly, known.presets)
        explained = _explained(brief, chosen, known) if brief.facts else None
    return VariantAnswer(text, key, assembly, tuple(views), chosen, brief, explained, _not_used(assembly, known))


def _explained(brief: Brief, chosen: View, known: Known) -> Explained | None:
    """By whoever explains; an unknown allele by rules alone, since it is never sent to a model."""
    if chosen.tier is None:
        answer = summarise(brief)
        given = () if answer is None else (Given(answer, RULES, RULES, RULES_VERSION),)
        return Explained(brief.subject, "annotated" if given else "skipped", "" if given else NO_FACTS, given)
    told = known.explainer.explain(known.tenant, chosen.callset_id or "", [Task(brief, chosen.tier)], correlation_id="")
    return next(iter(told), None)


def _judged(row: Mapping[str, Any], known: Known) -> tuple[dict[str, Any] | None, dict[str, Any] | None, Stale | None]:
    """Of an allele that is loaded: what it is by the sources of now; and where its tables are older, what they say, and
    why. None where the tables have gone since.
    """
    key = PartitionKey(known.tenant, row["callset_id"])
    frames = known.tables.scan(known.tenant, row["callset_id"], "triaged_variants", "triaged")
    is_it = (pl.col("record_no") == row["record_no"]) & (pl.col("alt_index") == row["alt_index"])
    found = frames.filter(is_it).select(_JUDGED).collect()
    if not found.height:
        return None, None, None
    stored = found.row(0, named=True)
    sources = known.registered.listed(known.tenant)
    stale = stale_triage(key, tables=known.tables, thresholds=known.thresholds, sources=sources)
    if stale is None:
        return stored, None, None
    now = judged_now(row, key, tables=known.tables, thresholds=known.thresholds, registered=known.registered)
    return (now.select(_JUDGED).row(0, named=True), stored, stale) if now.height else (None, None, None)


def _in_callsets(
    named: RsId | Allele, keys: tuple[str, ...], snapshot: LanceSnapshot | None, hidden: Sequence[str]
) -> list[dict[str, Any]]:
    """Loaded alleles of these keys, and those that their file calls so."""
    if snapshot is None:
        return []
    conditions = [Condition("variant_key", "in", keys)] if keys else []
    conditions += [Condition("id", "has", named.name)] if isinstance(named, RsId) else []
    limit = MOST_ALLELES * MOST_CALLSETS
    rows: dict[bytes, dict[str, Any]] = {}
    for condition in conditions:
        best = best_rows(snapshot.scan(_ORDER, [condition], hidden), _ORDER, limit)
        taken = snapshot.take(best[ROW_ADDRESS].to_list(), _FOUND).to_dicts()
        rows |= {row["row_id"]: row for row in taken}
    return list(rows.values())


def _near(named: Allele, snapshot: LanceSnapshot | None, hidden: Sequence[str]) -> tuple[str, ...]:
    """Other alleles at the position, of any callset."""
    if snapshot is None:
        return ()
    here = [Condition("contig_bare", "=", named.contig), Condition("pos", "=", named.pos)]
    keys: set[str] = set()
    for frame in snapshot.scan(["variant_key"], here, hidden):
        keys.update(frame["variant_key"].drop_nulls())
    return tuple(sorted(keys))[:5]


def _allele(key: str) -> Allele | None:
    """The allele of a key that spells it out; None for a symbolic or digested one."""
    try:
        found = parse_variant(key)
    except UsageError:
        return None
    return found if isinstance(found, Allele) else None


def _frame(alleles: Sequence[Allele]) -> pl.DataFrame:
    """Rows of `variants` by the very parser that files go through: trimmed, typed, keyed alike."""
    lines = "".join(f"{one.contig}\t{one.pos}\t.\t{one.ref}\t{one.alt}\t.\t.\t.\n" for one in alleles)
    header = parse_header(_HEADER)
    return BlockParser(header, ReaderSettings()).parse(lines.encode(), 0, header.n_lines + 1, 0).variants


def _callsets(known: Known) -> list[Any]:
    return [callset for callset in known.ledger.callsets(known.tenant) if callset.state != "forgotten"]


def _assembly_of(callset_id: str, known: Known) -> str | None:
    manifest = known.tables.manifest(known.tenant, callset_id, "parsed_variants")
    return None if manifest is None else manifest.assembly


def _not_used(assembly: str | None, known: Known) -> dict[str, str]:
    return usable(known.registered.listed(known.tenant), assembly)[1]
