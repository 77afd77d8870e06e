"""A batch → the broker that is chosen now; one that fails is left at once, probed aside, and gone back to calmly.

Not here: the choice itself (routing.py), calls that never return (guard.py), the spool (coordinator.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from vcf_pipeline.adapters.broker.guard import Guard
from vcf_pipeline.adapters.broker.port import Broker, Health
from vcf_pipeline.adapters.broker.routing import Routing, Standing
from vcf_pipeline.domain.errors import (
    BadSetting,
    BrokerUnfit,
    PipelineError,
    TopicMissing,
    TopicRecreated,
    TransientError,
)
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.stream.topics import CONTROL, Topic

_PAUSE_FIRST_S, _PAUSE_MOST_S = 0.05, 1.0
_PROBE_TICK_S = 0.1
STAND_BY_AFTER_S = 0.1
"""A publication that takes longer has the next broker connected and its topics made, so that a failure finds it ready:
that alone may cost a second. A shorter one does without, unless an answer is late."""
UNFIT = (BadSetting, BrokerUnfit)
"""What no waiting cures, and yet is this broker's fault and not the message's: another one may take it."""


class Routes:
    """guards: by broker's name, those of `routing` at least. note(text, always): tells people, once or every time."""

    def __init__(
        self,
        guards: Mapping[str, Guard],
        routing: Routing,
        note: Callable[[str, bool], None],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.in_use = routing.standings[0].name
        self._guards, self._routing, self._note = guards, routing, note
        self._clock, self._pause = clock, pause
        self._lock = threading.Lock()
        self._prober: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._ready: set[tuple[str, Topic]] = set()
        self._unfit: dict[str, Topic] = {}
        self._first_at: float | None = None
        self._stands_by: set[tuple[str, Topic]] = set()

    def send(
        self,
        topic: Topic,
        partition: int,
        bodies: Sequence[bytes],
        publish_id: str = "",
        earlier: Sequence[Segment] = (),
        is_given_up: Callable[[], bool] = lambda: False,
        *,
        patience_s: float,
    ) -> Segment:
        """On the chosen broker, on the next one when it fails; when none is left, again until the patience is over.

        A time-out may have landed: receivers drop the repeat. Raises what UNFIT names only where all of them are.
        """
        deadline = self._clock() + patience_s
        pause, turn = _PAUSE_FIRST_S, 0
        while True:
            name = self.chosen()
            if name is None:  # all rest: asked all the same, since there is nobody else
                resting = self._hopeful() or [standing.name for standing in self._routing.standings]
                name = resting[turn % len(resting)]
                turn += 1
            started = self._clock()
            try:
                segment = self._guards[name].call(
                    lambda name=name: self._append(  # type: ignore[misc]
                        self._guards[name].broker, topic, partition, bodies, publish_id, earlier
                    ),
                    is_given_up,
                    lambda name=name: self._stand_by(name, topic) if publish_id else None,  # type: ignore[misc]
                )
            except UNFIT as problem:
                self._unfit[name] = topic
                self._failed(name, problem)
                if is_given_up() or not self._hopeful():
                    raise
            except TransientError as problem:
                if is_given_up():
                    raise
                self._failed(name, problem)
                if self.chosen() is not None:
                    continue
                if self._clock() + pause > deadline:
                    raise
                self._pause(pause)
                pause = min(2 * pause, _PAUSE_MOST_S)
            else:
                self._succeeded(name, (self._clock() - started) * 1e3)
                self._first_at = started if self._first_at is None else self._first_at
                if publish_id and started - self._first_at >= STAND_BY_AFTER_S:
                    self._stand_by(name, topic)
                return segment

    def send_to(self, name: str, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Segment:
        """On this broker and no other, once. A time-out may have landed."""
        guard = self._guards[name]
        return guard.call(lambda: self._append(guard.broker, topic, partition, bodies, "", ()))

    def _stand_by(self, in_use: str, topic: Topic) -> None:
        """Make the next broker ready for the topic, in a thread, once. It may be down: then it is no help either."""
        others = [one.name for one in self._routing.standings if one.name != in_use and one.is_usable]
        if not others or (others[0], topic) in self._stands_by or (others[0], topic) in self._ready:
            return
        guard = self._guards[others[0]]
        self._stands_by.add((others[0], topic))

        def make_ready() -> None:
            with contextlib.suppress(PipelineError):
                guard.call(lambda: self.ensure(guard.broker, topic), self._is_closed.is_set)

        threading.Thread(target=make_ready, name=f"stand-by-{others[0]}", daemon=True).start()

    def _append(
        self,
        broker: Broker,
        topic: Topic,
        partition: int,
        bodies: Sequence[bytes],
        publish_id: str,
        earlier: Sequence[Segment],
    ) -> Segment:
        self.ensure(broker, topic)
        try:
            offsets = broker.append(topic, partition, bodies)
        except TopicMissing:  # deleted under us: made anew, where that loses nothing
            self.ensure(broker, topic, again=True)
            offsets = broker.append(topic, partition, bodies)
        incarnation = broker.incarnation(topic)
        for segment in earlier:
            if (segment.broker, segment.topic) == (broker.name, topic.full_name) and segment.incarnation != incarnation:
                raise TopicRecreated(
                    where=f"{broker.name}:{topic.full_name}",
                    expected=f"incarnation {segment.incarnation}, which holds earlier chunks",
                    got=incarnation,
                    repair="Publish the file again; it gets a new publication.",
                )
        return Segment(
            broker.name, topic.full_name, incarnation, partition, publish_id, offsets[0], offsets[len(offsets) - 1]
        )

    def ensure(self, broker: Broker, topic: Topic, again: bool = False) -> None:
        if again or (broker.name, topic) not in self._ready:
            broker.ensure_topics(list(dict.fromkeys([topic, *CONTROL])))
            self._ready.add((broker.name, topic))

    # ---- which broker

    def standing(self, name: str) -> Standing | None:
        """None for a broker that is only listened to."""
        return next((standing for standing in self._routing.standings if standing.name == name), None)

    def chosen(self) -> str | None:
        with self._lock:
            before = self._routing.current
            self._routing = self._routing.choose(self._clock())
            now = self._routing.current
        if before is not None and now is not None and now != before:
            self._note(f"{before} → {now}: {self._routing.standing(before).reason or 'it is well again'}", True)
        return now

    def _hopeful(self) -> list[str]:
        """Those of which waiting may make one that takes it."""
        return [standing.name for standing in self._routing.standings if standing.name not in self._unfit]

    def _succeeded(self, name: str, latency_ms: float) -> None:
        self._unfit.pop(name, None)
        with self._lock:
            self._routing = self._routing.succeeded(name, self._clock(), latency_ms)
        self.in_use = name

    def _failed(self, name: str, problem: PipelineError) -> None:
        with self._lock:
            self._routing = self._routing.failed(name, self._clock(), problem.message)
        self._note(f"{name} failed: {problem.message}", False)
        if self._prober is None or not self._prober.is_alive():
            self._prober = threading.Thread(target=self._probe, name="probe-brokers", daemon=True)
            self._prober.start()

    def _probe(self) -> None:
        """Asks brokers that rest whether they are back, so that no batch has to; ends when the first one is in use."""
        while not self._is_closed.wait(_PROBE_TICK_S):
            with self._lock:
                self._routing, due = self._routing.probes(self._clock())
                if self._routing.is_settled:
                    self._prober = None
                    return
            for name in due:
                health = self._guards[name].probe()
                if health.is_healthy and (why := self._why_still_unfit(name)):
                    health = Health(False, health.latency_ms, why)
                with self._lock:
                    if health.is_healthy:
                        self._routing = self._routing.succeeded(name, self._clock(), health.latency_ms)
                    else:
                        self._routing = self._routing.failed(name, self._clock(), health.reason)

    def _why_still_unfit(self, name: str) -> str:
        """A server may answer every ping and hold the topic that made it unfit. "" where that is mended."""
        topic = self._unfit.get(name)
        if topic is not None:
            guard = self._guards[name]
            try:
                guard.call(lambda: self.ensure(guard.broker, topic), self._is_closed.is_set)
            except PipelineError as problem:
                return problem.message
            self._unfit.pop(name, None)
        return ""

    def close(self) -> None:
        self._is_closed.set()
        prober = self._prober
        if prober is not None:
            prober.join(1.0)
