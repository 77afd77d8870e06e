"""One broker's calls, each in a thread that can be left behind: a frozen server never answers, and nothing ends a call.

Frozen means: neither an answer to the call nor to a ping on another connection for `frozen_after_s`. A slow call whose
pings are answered is waited for. What a left-behind call does later is unknown: it may land. Not here: what follows
from a failure (routing.py, coordinator.py).
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from vcf_pipeline.adapters.broker.port import Broker, Health
from vcf_pipeline.domain.errors import BrokerTimeout

Answer = TypeVar("Answer")
MOST_LEFT_BEHIND = 4
"""Calls of one broker that still hang; with so many it is asked nothing more, so that memory stays flat."""
_STEPS = 8


class _Job:
    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self.done = threading.Event()
        self.answer: Any = None
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self.answer = self._act()
        except BaseException as problem:
            self.problem = problem
        finally:
            self.done.set()


class _Worker(threading.Thread):
    """Runs a job at a time; a daemon, so that a call that hangs never holds the interpreter."""

    def __init__(self, name: str, is_free: Callable[[_Worker], bool]) -> None:
        super().__init__(name=name, daemon=True)
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_free = is_free

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.run()
            del job  # its bodies are not kept until the next one comes
            if not self._is_free(self):
                return


class Guard:
    """Around one broker. frozen_after_s: see above."""

    def __init__(self, broker: Broker, frozen_after_s: float = 0.8) -> None:
        self.broker = broker
        self._frozen_after_s = frozen_after_s
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._hanging: list[_Job] = []
        self._probe: _Job | None = None
        self._pid = os.getpid()
        self._is_closed = False

    def call(
        self,
        act: Callable[[], Answer],
        is_given_up: Callable[[], bool] = lambda: False,
        on_silence: Callable[[], None] = lambda: None,
    ) -> Answer:
        """What act answers or raises. Raises BrokerTimeout where the broker is frozen, or nobody wants it any more.

        on_silence: called, perhaps more than once, while there is no answer yet; returns at once.
        """
        with self._lock:
            self._hanging = [job for job in self._hanging if not job.done.is_set()]
            if len(self._hanging) >= MOST_LEFT_BEHIND:
                raise self._frozen(f"{len(self._hanging)} earlier calls without an answer")
        job = self._start(act)
        step = self._frozen_after_s / _STEPS
        alive_at = asked_at = time.monotonic()
        ping: _Job | None = None
        while not job.done.wait(step):
            on_silence()
            now = time.monotonic()
            if ping is not None and ping.done.is_set():
                if ping.answer is not None and ping.answer.is_healthy:
                    alive_at = now
                ping = None
            if ping is None and now - asked_at >= 2 * step:
                ping, asked_at = self._start(self.broker.health), now
            if now - alive_at >= self._frozen_after_s or is_given_up():
                with self._lock:
                    self._hanging.append(job)
                raise self._frozen(f"no answer, not to a ping either, for {self._frozen_after_s:g} s")
        if job.problem is not None:
            raise job.problem
        answer: Answer = job.answer
        return answer

    def probe(self) -> Health:
        """How the broker is, within `frozen_after_s`; never raises. One at a time: the one before may still hang."""
        with self._lock:
            if self._probe is not None and not self._probe.done.is_set():
                return Health(False, 0.0, "the last ping has no answer yet")
        started = time.monotonic()
        self._probe = self._start(self.broker.health)
        if not self._probe.done.wait(self._frozen_after_s):
            return Health(False, (time.monotonic() - started) * 1e3, f"no answer for {self._frozen_after_s:g} s")
        health = self._probe.answer
        return health if isinstance(health, Health) else Health(False, 0.0, str(self._probe.problem))

    def close(self) -> None:
        """Ends the threads that are idle; one that hangs ends when its call does. Does not close the broker."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.jobs.put(None)
        for worker in idle:
            with contextlib.suppress(RuntimeError):  # closed from that very thread
                worker.join(1.0)

    def _start(self, act: Callable[[], Any]) -> _Job:
        job = _Job(act)
        with self._lock:
            if self._pid != os.getpid():  # after a fork the parent's threads are not here
                self._pid, self._idle, self._hanging = os.getpid(), [], []
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _Worker(f"broker-{self.broker.name}", self._is_free)
            worker.start()
        worker.jobs.put(job)
        return job

    def _is_free(self, worker: _Worker) -> bool:
        with self._lock:
            if self._is_closed:
                return False
            self._idle.append(worker)
            return True

    def _frozen(self, got: str) -> BrokerTimeout:
        return BrokerTimeout(
            where=f"broker {self.broker.name}",
            expected="an answer",
            got=got,
            repair="The outcome is unknown: it is sent again, and receivers drop the repeat.",
        )
