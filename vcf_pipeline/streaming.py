"""Single variants from a program, one at a time: the asynchronous face that users of VCF Agent's Phase 5.1 know.

    async with StreamingCoordinator().processing_session() as session:
        await session.process_variant(VCFVariantMessage(chromosome="1", position=12345, reference="A", alternate="T"))

A session is one callset, announced when it ends; the daemon's sensor takes it from there. Not here: chunks, limits and
announcements (stages/publish_variants.py); brokers (adapters/broker/coordinator.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vcf_pipeline.domain.errors import UsageError
from vcf_pipeline.stages.publish_variants import BatchProcessor, SessionLimits
from vcf_pipeline.wiring import Sender

if TYPE_CHECKING:
    from vcf_pipeline.domain.stream.variant_messages import VCFVariantMessage
    from vcf_pipeline.settings import Settings
    from vcf_pipeline.stages.publish_variants import VariantsReport

log = logging.getLogger(__name__)


class StreamingCoordinator:
    """Opens the brokers that the settings name; makes sessions, and has one of its own between start and stop.

    settings: those of the environment where None. sender: an open one, which stays the caller's. Belongs to one event
    loop. Raises UsageError for a setting that cannot be.
    """

    def __init__(
        self, settings: Settings | None = None, *, sender: Sender | None = None, limits: SessionLimits | None = None
    ) -> None:
        self._settings, self._given, self._limits = settings, sender, limits
        self._sender: Sender | None = None
        self._users = 0
        self._own: ProcessingSession | None = None
        self._sessions: set[ProcessingSession] = set()
        self._announced = self._accepted = 0
        self._last_error = ""

    async def start(self) -> None:
        """Open the brokers and a session of the coordinator's own. A second call changes nothing."""
        if self._own is None:
            self._own = await self._open_session(None, None, None)

    async def stop(self) -> list[VariantsReport]:
        """Announce the coordinator's own session and close the brokers. Idempotent. Raises as `close` of a session."""
        own, self._own = self._own, None
        if own is None:
            return []
        try:
            return await own.close()
        finally:
            await self._leave(own)

    async def process_variant(self, variant: VCFVariantMessage) -> bool:
        """One variant into the coordinator's own session, as in a session of yours. Raises UsageError before
        `start`.
        """
        if self._own is None:
            raise UsageError(
                where="StreamingCoordinator",
                expected="a session",
                got="none",
                repair="Await start() first, or open one: async with coordinator.processing_session() as session.",
            )
        return await self._own.process_variant(variant)

    @asynccontextmanager
    async def processing_session(
        self, label: str | None = None, *, tenant: str | None = None, assembly: str | None = None
    ) -> AsyncIterator[ProcessingSession]:
        """A callset: announced when the `with` is left, unless an exception leaves it; without variants there is none.

        label: shown to people. tenant: of the settings where None. assembly: GRCh38, hg19, …, where the sender knows.
        """
        session = await self._open_session(label, tenant, assembly)
        try:
            yield session
        except BaseException:
            await session.abandon()
            raise
        else:
            await session.close()
        finally:
            await self._leave(session)

    def get_coordinator_status(self) -> dict[str, Any]:
        """JSON-ready: what is open, what was accepted and announced, and how each broker does (while one is open)."""
        return {
            "running": self._users > 0,
            "sessions": len(self._sessions),
            "variants_accepted": self._accepted + sum(session.accepted for session in self._sessions),
            "variants_waiting": sum(session.waiting for session in self._sessions),
            "callsets_announced": self._announced + sum(len(session.reports) for session in self._sessions),
            "last_error": self._last_error,
            "streaming": self._sender.coordinator.status() if self._sender is not None else None,
        }

    async def _open_session(self, label: str | None, tenant: str | None, assembly: str | None) -> ProcessingSession:
        sender = await asyncio.to_thread(self._opened)
        batches = BatchProcessor(
            sender.coordinator,
            tenant=tenant or sender.settings.tenant,
            now=_utc_now,
            new_id=_new_id,
            label=label,
            assembly=assembly,
            limits=self._limits,
        )
        session = ProcessingSession(self, batches)
        self._users += 1
        self._sessions.add(session)
        return session

    def _opened(self) -> Sender:
        if self._sender is None:
            from vcf_pipeline.settings import load_settings

            self._sender = self._given or Sender(self._settings or load_settings())
        return self._sender

    async def _leave(self, session: ProcessingSession) -> None:
        self._sessions.discard(session)
        self._accepted += session.accepted
        self._announced += len(session.reports)
        self._users -= 1
        if self._users == 0 and self._given is None and self._sender is not None:
            sender, self._sender = self._sender, None
            await asyncio.to_thread(sender.close)


class ProcessingSession:
    """One callset on its way; made by `StreamingCoordinator.processing_session()`."""

    def __init__(self, coordinator: StreamingCoordinator, batches: BatchProcessor) -> None:
        self._coordinator, self._batches = coordinator, batches
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._problem: BaseException | None = None
        self._clockwork: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def accepted(self) -> int:
        return self._batches.accepted

    @property
    def waiting(self) -> int:
        return self._batches.waiting

    @property
    def reports(self) -> list[VariantsReport]:
        """The callsets announced so far."""
        return self._batches.reports

    async def process_variant(self, variant: VCFVariantMessage) -> bool:
        """Accept one variant; True, since what is refused raises. Waits while the broker is behind.

        Raises BadVariant (the session goes on without it), and what an earlier chunk met: BrokerUnavailable,
        BrokerTimeout, TopicFull, TooManyRejects (the session is over).
        """
        async with self._lock:
            self._raise_problem()
            is_due = self._batches.add(variant)
            if self._batches.waiting == 1:
                self._woken.set()
                if self._clockwork is None:
                    self._clockwork = asyncio.create_task(self._flush_by_the_clock())
            if is_due:
                await self._flush()
        return True

    def get_coordinator_status(self) -> dict[str, Any]:
        """That of its coordinator."""
        return self._coordinator.get_coordinator_status()

    async def close(self) -> list[VariantsReport]:
        """Send the rest and announce. Raises as process_variant does; then nothing more is announced."""
        await self._stop_clockwork()
        async with self._lock:
            self._raise_problem()
            try:
                return await asyncio.to_thread(self._batches.close)
            except BaseException as problem:
                self._note(problem)
                raise

    async def abandon(self) -> None:
        """Give up what is not announced."""
        await self._stop_clockwork()
        async with self._lock:
            await asyncio.to_thread(self._batches.abandon)

    async def _flush(self) -> None:
        try:
            await asyncio.to_thread(self._batches.flush)
        except BaseException as problem:
            self._note(problem)
            raise

    def _note(self, problem: BaseException) -> None:
        self._problem = problem
        self._coordinator._last_error = str(problem)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem

    async def _flush_by_the_clock(self) -> None:
        while not self._is_over:
            seconds = self._batches.seconds_until_due()
            self._woken.clear()
            try:
                await asyncio.wait_for(self._woken.wait(), seconds)
                continue
            except TimeoutError:
                pass
            async with self._lock:
                if self._batches.seconds_until_due() == 0.0:
                    try:
                        await self._flush()
                    except Exception as problem:  # told to the next caller
                        log.warning("%s", problem)
                        return

    async def _stop_clockwork(self) -> None:
        """Asked to end, and waited for: a task that is cancelled inside wait_for may not notice (Python 3.11)."""
        self._is_over = True
        self._woken.set()
        if self._clockwork is not None:
            await self._clockwork


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _new_id() -> str:
    import uuid_utils

    return str(uuid_utils.uuid7())
