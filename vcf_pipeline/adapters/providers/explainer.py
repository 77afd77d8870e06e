"""The router for callers without a loop: its own thread and loop, results handed over as they come.

Not here: what is asked of whom (router.py).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from vcf_pipeline.adapters.providers.attempts import Member
from vcf_pipeline.adapters.providers.port import Books, Task
from vcf_pipeline.adapters.providers.router import Router
from vcf_pipeline.adapters.providers.runs import Run
from vcf_pipeline.domain.annotation.explained import Explained

_MOST_UNREAD = 2048


@dataclass
class Tally:
    """Of a run so far: briefs by status, briefs answered from the cache, calls and what they cost."""

    annotated: int = 0
    skipped: int = 0
    failed: int = 0
    cache_hits: int = 0
    by_rules: int = 0
    calls: int = 0
    cost_microusd: int = 0

    @property
    def done(self) -> int:
        return self.annotated + self.skipped + self.failed

    def add(self, explained: Explained) -> None:
        setattr(self, explained.status, getattr(self, explained.status) + 1)
        self.calls += explained.calls
        self.cost_microusd += explained.cost_microusd
        first = explained.given[0] if explained.given else None
        self.cache_hits += first is not None and first.is_cached and not explained.calls
        self.by_rules += first is not None and first.provider == "rules"


class Explainer:
    """One a process: providers' connections and the books stay open from run to run.

    make: builds (router, its members, its books) inside the loop. allowed: a tenant → names of providers, in order.
    """

    def __init__(
        self,
        make: Callable[[], tuple[Router, list[Member], Books]],
        allowed: Callable[[str], tuple[str, ...]],
    ) -> None:
        self._make, self._allowed = make, allowed
        self._made: tuple[Router, list[Member], Books] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._runs: list[Run] = []

    def explain(
        self,
        tenant: str,
        callset_id: str,
        tasks: Iterable[Task],
        *,
        correlation_id: str = "",
        progress: Callable[[Tally], None] | None = None,
    ) -> Iterator[Explained]:
        """One Explained for each task, in the order in which they are done; of those that wait, low tiers first.

        tasks: a sequence is put in order; an iterator is read as it is needed, in another thread. progress: told after
        each. A caller that stops reading, or is interrupted, stops the run: nothing new is asked, what is under way is
        waited for and kept, then the iterator ends or raises what it was interrupted with.
        Raises StoreUnavailable when the books cannot be kept.
        """
        unread: deque[Explained] = deque()
        arrived = threading.Condition()
        tally = Tally()

        async def emit(explained: Explained) -> None:
            with arrived:
                unread.append(explained)
                arrived.notify()
            while len(unread) > _MOST_UNREAD and not run.is_stopping:
                await asyncio.sleep(0.02)

        run = Run(tenant, callset_id, correlation_id, self._allowed(tenant), emit)
        self._runs.append(run)
        going = self._start(self._explain(run, tasks), lambda: _told(arrived))
        try:
            while True:
                with arrived:
                    while not unread and not going.done():
                        arrived.wait(1.0)
                    if not unread:
                        break
                explained = unread.popleft()
                tally.add(explained)
                if progress is not None:
                    progress(tally)
                yield explained
            going.result()
        finally:
            run.stop()
            going.exception()  # waits; what went wrong was raised above, or is less than what is being raised
            self._runs.remove(run)

    def stop(self) -> None:
        """Every run that is going on ends as if its caller had stopped reading. From any thread."""
        for run in list(self._runs):
            run.stop()

    def close(self) -> None:
        """Runs end, connections are given back, the books are closed. May be called twice."""
        self.stop()
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        closing = asyncio.run_coroutine_threadsafe(self._close(), loop)
        closing.result()
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    async def _explain(self, run: Run, tasks: Iterable[Task]) -> None:
        await self._router().explain(run, tasks)

    def _router(self) -> Router:
        if self._made is None:
            self._made = self._make()
        return self._made[0]

    async def _close(self) -> None:
        if self._made is None:
            return
        router, members, books = self._made
        self._made = None
        await router.settled()
        for member in members:
            await member.provider.close()
        await books.close()

    def _start(self, work: Coroutine[Any, Any, None], when_done: Callable[[], None]) -> Future[None]:
        with self._lock:
            if self._loop is None:
                self._loop = event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="explainer")
                self._thread.start()
            loop = self._loop
        going = asyncio.run_coroutine_threadsafe(work, loop)
        going.add_done_callback(lambda _: when_done())
        return going


def event_loop() -> asyncio.AbstractEventLoop:
    """A loop for many calls at a time: libuv's takes a sixth less CPU time of each than Python's own."""
    import uvloop

    return uvloop.new_event_loop()


def _told(arrived: threading.Condition) -> None:
    with arrived:
        arrived.notify()
