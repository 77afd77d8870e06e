"""A publication on its way: a bounded window of what is not acknowledged, sent in order from a thread of its own.

Not here: which broker takes a stretch, and what happens when one fails (coordinator.py).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from vcf_pipeline.domain.stream.announcement import Segment, add_segment
from vcf_pipeline.domain.stream.topics import Topic, partition_for

Acknowledged = Callable[[int, list[bytes], Segment], None]
"""(first seq, bodies, where they are)."""


@dataclass(frozen=True)
class Window:
    """What may be sent and not yet acknowledged: so many bytes or chunks, whichever is more, and so many
    messages.
    """

    bytes: int = 8 << 20
    chunks: int = 4
    messages: int = 10_000

    def has_room(self, pending_bytes: int, pending: int, size: int) -> bool:
        if pending >= self.messages:
            return False
        return pending < self.chunks or pending_bytes + size <= self.bytes


WINDOW = Window()


class Sending(Protocol):
    """What the coordinator does for a publisher."""

    def send_stretch(
        self,
        topic: Topic,
        partition: int,
        stretch: Sequence[tuple[int, bytes]],
        publish_id: str,
        earlier: Sequence[Segment],
        is_given_up: Callable[[], bool],
    ) -> Segment:
        """stretch: (seq, body). earlier: where this publication lies already. Durable when it returns."""
        ...


class Publisher:
    """Sends the chunks of one publish_id into one partition, in order, from a thread of its own.

    on_acknowledged(first_seq, bodies, segment) is called from that thread once a stretch is durable. Leaving
    the `with` by an exception gives up what is not acknowledged; leaving it whole flushes.
    """

    def __init__(
        self,
        sending: Sending,
        window: Window,
        topic: Topic,
        publish_id: str,
        on_acknowledged: Acknowledged | None,
        earlier: Sequence[Segment] = (),
    ) -> None:
        self.topic, self.publish_id = topic, publish_id
        self.partition = partition_for(topic, publish_id)
        self.segments: list[Segment] = []
        self.bytes_sent = 0
        self._sending, self._window = sending, window
        self._on_acknowledged = on_acknowledged
        self._earlier = list(earlier)
        self._queue: deque[tuple[int, bytes]] = deque()
        self._pending_bytes = self._pending = 0
        self._changed = threading.Condition()
        self._is_ending = False
        self._problem: BaseException | None = None
        self._thread: threading.Thread | None = None

    def send(self, seq: int, body: bytes) -> None:
        """Returns when the window has room for it. Raises what the sending of earlier ones met."""
        with self._changed:
            while self._problem is None and not self._window.has_room(self._pending_bytes, self._pending, len(body)):
                self._changed.wait(1.0)
            self._raise_problem()
            self._queue.append((seq, body))
            self._pending += 1
            self._pending_bytes += len(body)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"publish-{self.publish_id}", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Returns when everything sent is durable. Raises BrokerUnavailable, BrokerTimeout, TopicFull,
        StreamBroken.
        """
        with self._changed:
            while self._problem is None and self._pending:
                self._changed.wait(1.0)
            self._raise_problem()

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        try:
            while stretch := self._next_stretch():
                segment = self._sending.send_stretch(
                    self.topic,
                    self.partition,
                    stretch,
                    self.publish_id,
                    [*self._earlier, *self.segments],
                    lambda: self._is_ending,
                )
                bodies = [body for _, body in stretch]
                add_segment(self.segments, segment)
                size = sum(map(len, bodies))
                self.bytes_sent += size
                if self._on_acknowledged is not None:
                    self._on_acknowledged(stretch[0][0], bodies, segment)
                with self._changed:
                    self._pending -= len(bodies)
                    self._pending_bytes -= size
                    self._changed.notify_all()
        except BaseException as problem:
            with self._changed:
                self._problem = problem
                self._changed.notify_all()

    def _next_stretch(self) -> list[tuple[int, bytes]]:
        """What waits, up to half a window, so that the other half fills while this one is written; without a gap in
        the numbers, so that the spool can name it. [] at the end.
        """
        with self._changed:
            while not self._queue and not self._is_ending:
                self._changed.wait(1.0)
            stretch: list[tuple[int, bytes]] = []
            size = 0
            limit = self._window.bytes // 2
            while self._queue:
                seq, body = self._queue[0]
                if stretch and (size + len(body) > limit or seq != stretch[-1][0] + 1):
                    break
                stretch.append(self._queue.popleft())
                size += len(body)
            return stretch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            with self._changed:
                self._is_ending = True
                self._queue.clear()
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join(timeout=10.0)
