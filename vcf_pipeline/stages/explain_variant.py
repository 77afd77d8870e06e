"""One variant, as a person writes it → what sources and callsets know of it, its tier by the same rules, and in words.

Nothing is stored but the answers that were paid for. Not here: how a variant is written (domain/variant_text.py), the
rules (domain/triage), what may leave the house (domain/annotation/brief.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.providers.port import Task
from vcf_pipeline.adapters.stores.lancedb_variants import ROW_ADDRESS, LanceSnapshot, LanceVariants, best_rows
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.annotation.brief import ASSEMBLIES, Brief, brief_of
from vcf_pipeline.domain.annotation.explained import Explained, Given
from vcf_pipeline.domain.annotation.sentences import RULES_VERSION, summarise
from vcf_pipeline.domain.errors import PipelineError, UsageError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.query import Condition
from vcf_pipeline.domain.sources.accessions import accession_keys, bare_key
from vcf_pipeline.domain.triage.presets import PRESETS
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.triage.tiers import held_back
from vcf_pipeline.domain.variant_text import Allele, RsId, is_human_contig, parse_variant
from vcf_pipeline.domain.vcf.assembly import recognise_assembly
from vcf_pipeline.domain.vcf.batch import BlockParser
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.annotate import NO_FACTS, RULES, DeadLetter, Explainer, letter_of
from vcf_pipeline.stages.joined_sources import Registered, last_column, usable
from vcf_pipeline.stages.query import settled_variants
from vcf_pipeline.stages.sources import keys_of_rsid
from vcf_pipeline.stages.stale_triage import Stale, judged_now, stale_triage
from vcf_pipeline.stages.triage import hears_claims, triage_alleles

log = logging.getLogger(__name__)
MOST_ALLELES = 10
MOST_CALLSETS = 20
SOURCES = "sources"
_DIGESTED_KEY = re.compile(r"(.+?)-(\d+)-(?:(\d+):[0-9a-f]{16}|([ACGTN]+))-(?:\d+:[0-9a-f]{16}|[ACGTN]+)")
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
    def held_back(self) -> str | None:
        return held_back(self.tier, self.judged["reasons"])

    @property
    def is_known(self) -> bool:
        return bool(self.judged["evidence"])


@dataclass(frozen=True)
class VariantAnswer:
    """assembly: None where nothing tells. views: sources first, then callsets. chosen: the one that is explained: the
    lowest tier, sources before callsets. explained: None where there is nothing to explain. not_used: source → why it
    was asked in no assembly. near: keys of alleles at the same position, where nobody knows this one. hears_claims:
    whether any source or callset that was asked could claim something.
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
    hears_claims: bool = True


@dataclass(frozen=True)
class Known:
    """Everything that is asked. presets: a source's name → its preset. dead_letter: takes each rejected answer."""

    tenant: str
    ledger: Ledger
    tables: Tables
    store: LanceVariants
    registered: Registered
    thresholds: TriageThresholds
    explainer: Explainer
    presets: Mapping[str, str] = field(default_factory=dict)
    dead_letter: DeadLetter | None = None


def explain_variant(text: str, *, known: Known, assembly: str | None = None) -> list[VariantAnswer]:
    """One answer for each assembly in which something is known of the variant, and each allele of an rsID.

    Where nothing is known, one for each assembly that was asked.

    assembly: the only one that is looked at, whatever it is called; an accession names it, too. Raises UsageError
    (BAD_VARIANT, UNKNOWN_VARIANT, UNKNOWN_CONTIG), StoreUnavailable.
    """
    named = parse_variant(text)
    wanted = _wanted(named, text, assembly)
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
    asked = [(place, key) for place, key in places if wanted in (None, place)][:MOST_ALLELES]
    not_used = _not_used({place for place, _ in asked}, known)
    answers = [
        replace(_answer(text, key, place, found, assemblies, named=named, known=known), not_used=not_used)
        for place, key in asked
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
    if wanted is None or wanted in ASSEMBLIES:
        _check_contig(named, known, snapshot, hidden)
    near = _near(named, snapshot, hidden)
    return [
        replace(answer, near=near)
        for answer in answers or [VariantAnswer(text, key, wanted, (), None, None, None, not_used, hears_claims=False)]
    ]


def _wanted(named: RsId | Allele, text: str, assembly: str | None) -> str | None:
    """The only assembly that is looked at; None for all."""
    wanted = None if assembly is None else recognise_assembly(parse_header(_HEADER), assembly).name
    if isinstance(named, RsId) or named.assembly is None:
        return wanted
    if wanted not in (None, named.assembly):
        raise UsageError(
            code="BAD_VARIANT",
            where=" ".join(text.split())[:60],
            expected=f"a contig of {wanted}, as --assembly says",
            got=f"an accession of {named.assembly}",
            repair="Leave --assembly out: the accession says it.",
        )
    return named.assembly


def _answer(
    text: str,
    key: str,
    assembly: str | None,
    found: Sequence[Mapping[str, Any]],
    assemblies: Mapping[str, str | None],
    *,
    named: RsId | Allele,
    known: Known,
) -> VariantAnswer:
    labels = {callset.callset_id: callset.label for callset in _callsets(known)}
    views = []
    allele = _row(key, named)
    if allele is not None and known.registered.listed(known.tenant):
        judged = triage_alleles(
            allele,
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
    used, _ = usable(known.registered.listed(known.tenant), assembly)
    asked = [PartitionKey(known.tenant, view.callset_id) for view in views if view.callset_id is not None]
    hears = any(PRESETS[source.preset].claim is not None for source in used) or any(
        hears_claims(callset, known.tables, used) for callset in asked
    )
    return VariantAnswer(text, key, assembly, tuple(views), chosen, brief, explained, hears_claims=hears)


def _explained(brief: Brief, chosen: View, known: Known) -> Explained | None:
    """By whoever explains; an unknown allele by rules alone, since it is never sent to a model."""
    if chosen.tier is None:
        answer = summarise(brief)
        given = () if answer is None else (Given(answer, RULES, RULES, RULES_VERSION),)
        return Explained(brief.subject, "annotated" if given else "skipped", "" if given else NO_FACTS, given)
    told = known.explainer.explain(known.tenant, chosen.callset_id or "", [Task(brief, chosen.tier)], correlation_id="")
    explained = next(iter(told), None)
    _bury(explained, brief, known)
    return explained


def _bury(explained: Explained | None, brief: Brief, known: Known) -> None:
    """What was paid for and is of no use is set aside; a broker that is gone takes no answer away."""
    if explained is None or known.dead_letter is None:
        return
    for rejected in explained.rejected:
        body, reason = letter_of(rejected, brief)
        try:
            known.dead_letter(body, f"annotate {brief.variant_key}", reason)
        except PipelineError as problem:
            log.warning("no dead letter of a rejected answer about %s: %s", brief.variant_key, problem)


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
    """Loaded alleles of these keys, and those that their file calls so; variant_key with a bare contig."""
    if snapshot is None:
        return []
    spelled = [*keys, *(other for key in keys for other in accession_keys(key))]
    conditions = [Condition("variant_key", "in", tuple(spelled))] if keys else []
    conditions += [Condition("id", "has", named.name)] if isinstance(named, RsId) else []
    limit = MOST_ALLELES * MOST_CALLSETS
    rows: dict[bytes, dict[str, Any]] = {}
    for condition in conditions:
        best = best_rows(snapshot.scan(_ORDER, [condition], hidden), _ORDER, limit)
        taken = snapshot.take(best[ROW_ADDRESS].to_list(), _FOUND).to_dicts()
        rows |= {row["row_id"]: {**row, "variant_key": bare_key(row["variant_key"])} for row in taken}
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


def _check_contig(named: Allele, known: Known, snapshot: LanceSnapshot | None, hidden: Sequence[str]) -> None:
    """Raises UsageError where no human assembly, no source and no callset has such a contig: it is a slip."""
    if is_human_contig(named.contig):
        return
    for source in known.registered.listed(known.tenant):
        with known.registered.tables.open(source.path, last_column(source.kind)) as rows:
            if any(group.contig == named.contig for group in rows.groups):
                return
    here = [Condition("contig_bare", "=", named.contig)]
    if snapshot is not None and any(frame.height for frame in snapshot.scan(["contig_bare"], here, hidden)):
        return
    raise UsageError(
        code="UNKNOWN_CONTIG",
        where="VARIANT",
        expected="a contig of a human assembly, of a registered source or of a loaded callset",
        got=repr(named.contig),
        repair="Chromosomes are 1 to 22, X, Y and M, with or without chr, or accessions with their version, as in "
        "NC_000017.11.",
    )


def _row(key: str, named: RsId | Allele) -> pl.DataFrame | None:
    """A row of `variants` with the key, to be joined; None for a symbolic allele.

    Above 50 bases a key has length and digest in place of the bases: an allele that was typed is spelled by what was
    typed, of another the key is all that sources are asked by.
    """
    spelled = _allele(key) or (named if isinstance(named, Allele) else None)
    if spelled is not None:
        return _frame([spelled])
    digested = _DIGESTED_KEY.fullmatch(key)
    if digested is None:
        return None
    pos, length = int(digested[2]), int(digested[3] or len(digested[4]))
    stand_in = _frame([Allele(digested[1], pos, "A", "T")])
    return stand_in.with_columns(
        variant_key=pl.lit(key), end=pl.lit(pos + length - 1, pl.Int64), variant_type=pl.lit("indel")
    )


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


def _not_used(asked: Collection[str | None], known: Known) -> dict[str, str]:
    """Sources that were asked in no assembly. asked: the assemblies of the answers."""
    other = "" if None in asked else f", not of {' or '.join(sorted(filter(None, asked)))}"
    return {
        source.name: f"it is of {source.assembly}{other}"
        for source in known.registered.listed(known.tenant)
        if source.assembly not in asked
    }
