"""Words, or a text to be like → explanations of the tenant's callsets, as one moment had them.

Not here: how words are read (domain/text_query.py), how they are found (adapters/stores), filters on fields (query.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from vcf_pipeline.adapters.embedders.port import Embedder
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.ledger.loads import Load
from vcf_pipeline.adapters.stores.lancedb_annotations import DISTANCE, MOST_HITS, SCORE, LanceAnnotations
from vcf_pipeline.adapters.stores.lancedb_variants import ROW_ADDRESS, LanceVariants, best_rows
from vcf_pipeline.domain.errors import StoreUnavailable, UsageError
from vcf_pipeline.domain.identity import DEFAULT_TENANT
from vcf_pipeline.domain.projections.annotation_rows import ANNOTATION_ROWS
from vcf_pipeline.domain.query import DEFAULT_LIMIT, MAX_LIMIT, Condition, gene_spellings, near_misses, parse_tiers
from vcf_pipeline.domain.text_query import Phrase, phrases
from vcf_pipeline.domain.variant_text import Allele, RsId, parse_variant
from vcf_pipeline.stages.load_annotations import SEARCH, SearchLoad
from vcf_pipeline.stages.query import settled_variants

TEXT_COLUMNS = [name for name in ANNOTATION_ROWS if name not in ("text", "meaning", "meaning_id", "contig_bare")]
VARIANT_COLUMNS = [
    *("row_id", "callset_id", "record_no", "alt_index", "contig", "pos", "ref", "alt", "id", "variant_key", "gene"),
    *("consequence", "hgvs_c", "hgvs_p", "tier", "reasons", "significance", "conditions"),
]
_ORDER = ["tier", "contig_bare", "pos", "alt_index", "callset_id", "record_no"]
_ATTEMPTS = 50
_NAME = re.compile(r"[A-Za-z0-9.:*-]{2,80}")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class TextResult:
    """frame: TEXT_COLUMNS and `score` (BM25; of a likeness 0–1 `likeness`), best first, cut at the limit.

    total: how many match in all. all_of: every word is in each row; else some of them are, since no row has all.
    unexplained: VARIANT_COLUMNS and `named` of alleles that a word names and that nobody has explained.
    unknown: words that no explanation has; near: what they may have meant. outdated: labels of callsets whose
    explanations are of an older triage. elsewhere: labels of callsets that another embedder made the vectors of.
    """

    frame: pl.DataFrame
    total: int
    all_of: bool = True
    unexplained: pl.DataFrame | None = None
    unexplained_total: int = 0
    unknown: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Searched:
    """Where is looked: the tenant's stores, its ledger, one callset or all, tiers or any."""

    ledger: Ledger
    annotations: LanceAnnotations
    variants: LanceVariants
    tenant: str = DEFAULT_TENANT
    callset: str | None = None
    tiers: tuple[int | None, ...] | None = None
    limit: int = DEFAULT_LIMIT

    @classmethod
    def of(
        cls,
        *,
        ledger: Ledger,
        annotations: LanceAnnotations,
        variants: LanceVariants,
        tenant: str = DEFAULT_TENANT,
        callset: str | None = None,
        tier: str | int | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> Searched:
        """Options as they were typed. Raises UsageError, UnknownPartition, AmbiguousCallset."""
        if not 1 <= limit <= MAX_LIMIT:
            raise UsageError(code="BAD_LIMIT", where="--limit", expected=f"1 to {MAX_LIMIT:,}", got=str(limit))
        resolved = None if callset is None else ledger.resolve(tenant, callset).callset_id
        tiers = None if tier is None else parse_tiers(str(tier))
        return cls(ledger, annotations, variants, tenant, resolved, tiers, limit)


def query_text(text: str, where: Searched) -> TextResult:
    """Explanations with the words; beside them alleles that a word names (rsID, variant, gene) without explanation.

    Raises UsageError (BAD_TEXT), StoreUnavailable.
    """
    wanted = phrases(text)
    for _ in range(_ATTEMPTS):
        loads = where.ledger.current_loads(SEARCH, where.tenant)
        tables = _tables(loads[1], where)
        found, all_of = _found(tables, wanted, where, all_of=True), True
        if found.is_empty() and len(wanted) > 1:
            found, all_of = _found(tables, wanted, where, all_of=False), False
        unknown, near = _unknown(tables, wanted, where) if found.is_empty() or not all_of else ((), ())
        if where.ledger.current_loads(SEARCH, where.tenant) == loads:
            break
    else:
        raise _no_pause(where)
    unexplained, n_unexplained = _named(text, found, where)
    return TextResult(
        found.head(where.limit).select(*TEXT_COLUMNS, pl.col(SCORE).alias("score")),
        found.height,
        all_of=all_of,
        unexplained=unexplained,
        unexplained_total=n_unexplained,
        unknown=unknown,
        near=near,
        outdated=_outdated(loads[1], where),
    )


def query_similar(text: str, where: Searched, embedder: Embedder) -> TextResult:
    """Explanations nearest to a text, or to a variant that has one itself; `likeness` is the cosine, 1 for the same.

    Raises UsageError (BAD_TEXT, NOT_EXPLAINED), StoreUnavailable, ProviderError, ProviderUnavailable.
    """
    variant = _variant_of(text)
    if variant is None:
        phrases(text)  # bounds it
    for _ in range(_ATTEMPTS):
        loads = where.ledger.current_loads(SEARCH, where.tenant)
        tables = _tables(loads[1], where)
        own = {name: callsets for name, (callsets, load) in tables.items() if load.embedder == embedder.name}
        vector, itself = np.zeros(0, dtype=np.float32), pl.Series([], dtype=pl.Binary)
        if variant is not None:
            rows = _rows_of(variant, tables, where)
            mine = rows.filter(pl.col("table").is_in(list(own))) if rows.height else rows
            if not mine.height:
                raise _not_explained(text, variant, embedder, is_elsewhere=bool(rows.height))
            vector = np.array(mine["vector"].to_list()[0], dtype=np.float32)
            itself = rows["row_id"]
        elif own:
            vector = embedder.embed([text])[0]
        n_near = where.limit + itself.len() if where.tiers is None else MOST_HITS
        parts = [
            where.annotations.find_near(where.tenant, name, vector, callsets, n_near) for name, callsets in own.items()
        ]
        if where.ledger.current_loads(SEARCH, where.tenant) == loads:
            break
    else:
        raise _no_pause(where)
    near = _of_tiers(pl.concat(parts), where).sort(DISTANCE, maintain_order=True) if parts else _no_rows(DISTANCE)
    near = near.filter(~pl.col("row_id").is_in(itself.to_list()))
    labels = _labels(where)
    return TextResult(
        near.head(where.limit).select(*TEXT_COLUMNS, (1 - pl.col(DISTANCE)).alias("likeness")),
        near.height,
        outdated=_outdated(loads[1], where),
        elsewhere=tuple(
            sorted(
                labels.get(callset, callset)
                for callsets, load in tables.values()
                if load.embedder != embedder.name
                for callset in callsets
            )
        ),
    )


def _tables(loads: Mapping[str, Load], where: Searched) -> dict[str, tuple[list[str], SearchLoad]]:
    """Name → (the callsets whose explanations lie there, one of their loads)."""
    found: dict[str, tuple[list[str], SearchLoad]] = {}
    for callset_id, held in loads.items():
        load = SearchLoad.parse(held.digest)
        if load.table is not None and where.callset in (None, callset_id):
            found.setdefault(load.table, ([], load))[0].append(callset_id)
    return found


def _found(
    tables: Mapping[str, tuple[list[str], SearchLoad]], wanted: Sequence[Phrase], where: Searched, *, all_of: bool
) -> pl.DataFrame:
    parts = [
        where.annotations.find_words(where.tenant, name, wanted, callsets, all_of=all_of)
        for name, (callsets, _) in tables.items()
    ]
    if not parts:
        return _no_rows(SCORE)
    order = [SCORE, "tier", "contig_bare", "pos", "callset_id"]
    return _of_tiers(pl.concat(parts), where).sort(order, descending=[True, False, False, False, False])


def _of_tiers(frame: pl.DataFrame, where: Searched) -> pl.DataFrame:
    return frame if where.tiers is None else frame.filter(pl.col("tier").is_in([t for t in where.tiers if t]))


def _unknown(
    tables: Mapping[str, tuple[list[str], SearchLoad]], wanted: Sequence[Phrase], where: Searched
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words that no explanation has, and words of explanations that differ from them by a letter or two."""
    unknown, near = [], []
    for phrase in wanted:
        if not _found(tables, [phrase], where, all_of=True).is_empty():
            continue
        unknown.append(phrase.text)
        close = _found(tables, [phrase.forgiving()], where, all_of=True).head(50)
        words = {word.lower() for text in close["text"].to_list() for word in _WORD.findall(text)}
        near += near_misses(phrase.text, sorted(words))
    return tuple(unknown), tuple(dict.fromkeys(near))


def _named(text: str, explained: pl.DataFrame, where: Searched) -> tuple[pl.DataFrame, int]:
    """Alleles that a word of the text names exactly and that are not among `explained`, up to the limit.

    A gene names many: where some explanation was found, those of its other alleles that have none are left out.
    """
    snapshot, hidden = settled_variants(where.tenant, where.ledger, where.variants)
    empty = pl.DataFrame(schema={"named": pl.String})
    if snapshot is None:
        return empty, 0
    scope = [] if where.callset is None else [Condition("callset_id", "=", where.callset)]
    if where.tiers is not None:
        known = tuple(tier for tier in where.tiers if tier is not None)
        scope.append(Condition("tier", "in or null" if None in where.tiers else "in", known))
    parts, total = [], 0
    words = list(dict.fromkeys(word.strip('"') for word in text.split()))
    for word in (text, *words) if len(words) > 1 else words:
        for what, condition in _names(word):
            if explained.height and condition.column == "gene":
                continue
            addresses = best_rows(snapshot.scan([*_ORDER, "row_id"], [*scope, condition], hidden), _ORDER, MAX_LIMIT)
            own = addresses.filter(~pl.col("row_id").is_in(explained["row_id"].to_list())) if addresses.height else None
            if own is None or own.is_empty():
                continue
            total += own.height
            taken = snapshot.take(own.head(where.limit)[ROW_ADDRESS].to_list(), VARIANT_COLUMNS)
            parts.append(taken.with_columns(pl.lit(what).alias("named")))
    if not parts:
        return empty, 0
    together = pl.concat(parts).unique("row_id", keep="first", maintain_order=True)
    return together.head(where.limit), total


def _names(word: str) -> list[tuple[str, Condition]]:
    """What a word may be the name of: an allele, an identifier, a gene."""
    variant = _variant_of(word)
    if isinstance(variant, Allele):
        return [(f"variant {variant.text}", Condition("variant_key", "=", variant.text))]
    if isinstance(variant, RsId):
        return [(f"id {variant.name}", Condition("id", "has", variant.name))]
    if not _NAME.fullmatch(word):
        return []
    genes = ("gene " + word, Condition("gene", "in", gene_spellings(word)))
    return [genes, (f"id {word}", Condition("id", "has", word))] if any(map(str.isdigit, word)) else [genes]


def _variant_of(text: str) -> RsId | Allele | None:
    try:
        return parse_variant(text)
    except UsageError:
        return None


def _rows_of(
    variant: RsId | Allele, tables: Mapping[str, tuple[list[str], SearchLoad]], where: Searched
) -> pl.DataFrame:
    """The variant's explanations with their vectors, and `table`."""
    column, value = ("ids", variant.name) if isinstance(variant, RsId) else ("variant_key", variant.text)
    parts = []
    for name, (callsets, _) in tables.items():
        rows = where.annotations.find_rows(where.tenant, name, column, [value])
        if rows.height:
            kept = rows.filter(pl.col("callset_id").is_in(callsets))
            parts.append(kept.select("row_id", pl.col("vector").cast(pl.List(pl.Float32)), pl.lit(name).alias("table")))
    return pl.concat(parts) if parts else pl.DataFrame(schema={"row_id": pl.Binary, "table": pl.String})


def _no_pause(where: Searched) -> StoreUnavailable:
    return StoreUnavailable(where=f"LanceDB, tenant {where.tenant}", got="loads without a pause", repair="Try again.")


def _not_explained(text: str, variant: RsId | Allele, embedder: Embedder, *, is_elsewhere: bool) -> UsageError:
    name = variant.name if isinstance(variant, RsId) else variant.text
    show = f"`annotate {name}` shows what is known."
    return UsageError(
        code="NOT_EXPLAINED",
        where=f"similar {text[:60]!r}",
        expected=f"a variant whose explanation {embedder.name} made a vector of",
        got=f"{name}, which " + ("another embedder did" if is_elsewhere else "no callset has an explanation of"),
        repair="The nightly backfill makes the vectors anew." if is_elsewhere else show,
    )


def _outdated(loads: Mapping[str, Load], where: Searched) -> tuple[str, ...]:
    """Labels of callsets whose loaded explanations are of another triage than the loaded variants."""
    current = where.ledger.current_loads("lancedb", where.tenant)[1]
    labels = _labels(where)
    late = [
        labels.get(callset_id, callset_id)
        for callset_id, held in loads.items()
        if where.callset in (None, callset_id)
        and callset_id in current
        and current[callset_id].digest.split("/")[1] != SearchLoad.parse(held.digest).triaged
    ]
    return tuple(sorted(late))


def _labels(where: Searched) -> dict[str, str]:
    return {callset.callset_id: callset.label for callset in where.ledger.callsets(where.tenant)}


def _no_rows(further: str) -> pl.DataFrame:
    return pl.DataFrame(schema={**ANNOTATION_ROWS, further: pl.Float32})
