"""What a run tells others: the next stage's event, what caches must forget, how far a callset is.

An event that cannot be told never fails what it is about: the ledger knows, and reconciling or a look at it covers
what nobody heard. Not here: what an event says (domain/stream/stage_events.py); who listens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.domain.errors import PipelineError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.events import topic_of
from vcf_pipeline.domain.stream.stage_events import (
    MAX_WORDS,
    AnalysisDone,
    AnalysisRequested,
    CacheInvalidated,
    Notification,
    StageEvent,
    WriteRequested,
)

PRODUCER = "vcf-pipeline"
STORES = ("lancedb", "kuzu")
STREAM_PATH = "stream"
log = logging.getLogger(__name__)


class Notices:
    """Tells events, each once per process. coordinator: asked for when there is something to tell.

    path of `tell`: how the run came (tag vcf_pipeline/path). A batch run does all stages itself, so that it asks no
    other one for anything.
    """

    def __init__(self, coordinator: Callable[[], Coordinator], now: Callable[[], float] = time.time) -> None:
        self._coordinator, self._now = coordinator, now
        self._told: set[str] = set()

    def tell(self, event: StageEvent, path: str = "") -> bool:
        """Whether it is on a broker, from now or from before. Never raises, and waits for no broker to come back."""
        if event.id in self._told or (event.IS_FOR_THE_NEXT_STAGE and path != STREAM_PATH):
            return event.id in self._told
        try:
            envelope = event.to_envelope(ts=int(self._now() * 1000), producer=PRODUCER)
            self._coordinator().emit(envelope, topic_of(event), str(event.key), patience_s=0.0)
        except PipelineError as problem:
            log.warning("%s of %s was not told: %s", event.KIND, event.key, problem)
            return False
        except Exception:
            # whatever else a vendor's client does: a table that is written must not fail for it
            log.exception("%s of %s was not told", event.KIND, event.key)
            return False
        self._told.add(event.id)
        return True


def analysis_requested(callset: Callset, tables: Tables) -> AnalysisRequested | None:
    """The triage as it stands is to be explained; None where there is none."""
    triaged = tables.manifest(callset.tenant, callset.callset_id, "triaged_variants")
    if triaged is None:
        return None
    tiers = {str(tier): int(count) for tier, count in triaged.extra["tiers"].items()}
    return AnalysisRequested(**_about(callset, triaged.digest), tiers=tiers)


def analysis_done(callset: Callset, digest: str, rows: Mapping[str, int]) -> AnalysisDone:
    """digest: of the annotations. rows: by status."""
    return AnalysisDone(**_about(callset, digest), rows={str(status): int(count) for status, count in rows.items()})


def write_requested(callset: Callset, digest: str, asset: str) -> WriteRequested:
    """digest: of the asset's manifest."""
    return WriteRequested(**_about(callset, digest), asset=asset)


def cache_invalidated(callset: Callset, store: str, digest: str, ledger: Ledger) -> CacheInvalidated:
    """digest: of the load, "" where the callset was taken out of the store."""
    version, _ = ledger.hidden_loads(store, callset.tenant)
    return CacheInvalidated(**_about(callset, digest), store=store, version=version)


def running(callset: Callset, run_id: str, asset: str) -> Notification:
    return Notification(**_about(callset, callset.digest or ""), state="running", run_id=run_id, asset=asset)


def failed(callset: Callset, run_id: str, problem: PipelineError, *, permanent: bool, refused: bool) -> Notification:
    """permanent: no rerun cures it. refused: the input cannot become a callset."""
    return Notification(
        **_about(callset, callset.digest or ""),
        state="refused" if refused else "failed",
        run_id=run_id,
        code=problem.code,
        reason=str(problem).replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_WORDS],
        is_permanent=permanent,
    )


def standing(key: PartitionKey, ledger: Ledger) -> Notification | None:
    """How a callset ended, as the ledger has it; None for one that has not, or is not known."""
    callset = ledger.callset(key)
    if callset is None or callset.state not in ("done", "refused"):
        return None
    if callset.state == "refused":
        return Notification(
            **_about(callset, ""),
            state="refused",
            code=callset.code or "",
            reason=(callset.reason or "")[:MAX_WORDS],
            is_permanent=True,
        )
    loads = {store: ledger.current_load(store, key) for store in STORES}
    return Notification(
        **_about(callset, callset.digest or ""),
        state="done",
        run_id=callset.run_id or "",
        records=callset.records or 0,
        alleles=callset.alleles or 0,
        rejected=callset.rejected or 0,
        stores={store: load.rows for store, load in loads.items() if load is not None},
    )


def _about(callset: Callset, digest: str) -> dict[str, Any]:
    return {
        "tenant": callset.tenant,
        "callset_id": callset.callset_id,
        "generation": callset.generation,
        "correlation_id": callset.correlation_id,
        "digest": digest,
    }
