"""Messages sent to one partition of a Kafka topic, until each is acknowledged or the broker is given up.

librdkafka alone never says that a broker is frozen: it keeps what was sent and waits. So a clock runs here. While
acknowledgements fail to come, the partition's leader is asked something on another connection; where neither comes
for `silence_s`, everything queued is purged and the outcome is unknown (some of it does land). Not here: whether
the topic exists and the sizes fit (kafka.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from vcf_pipeline.adapters.broker.kafka_clients import Clients
from vcf_pipeline.adapters.broker.kafka_errors import DOWN, FATAL, NO_SUCH_TOPIC, REFUSED, mapped, problem_of, timed_out
from vcf_pipeline.adapters.broker.kafka_topics import KnownTopic, Topics
from vcf_pipeline.domain.errors import BrokerUnavailable, PipelineError
from vcf_pipeline.domain.stream.topics import Topic

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

SERVE_S = 0.02
PURGE_S = 0.2
QUIET_S = 0.3
"""So long without an acknowledgement is nothing; then the leader is asked."""


class _Pending:
    """What one append waits for. Its reports may be served by another thread's poll."""

    def __init__(self, count: int, serving: threading.Lock) -> None:
        self.offsets = [-1] * count
        self.problem: KafkaError | None = None
        self.moved_at = time.monotonic()
        self.serving = serving
        self.is_done = threading.Event()
        self._left = count
        self._lock = threading.Lock()

    def note(self, index: int, problem: KafkaError | None, message: Message[Any, Any]) -> None:
        with self._lock:
            if problem is None:
                offset = message.offset()
                self.offsets[index] = -1 if offset is None else offset
                self.moved_at = time.monotonic()
            elif self.problem is None:
                self.problem = problem
            self._left -= 1
            if not self._left:
                self.is_done.set()

    def forget(self, count: int) -> None:
        """So many were never queued."""
        with self._lock:
            self._left -= count
            if not self._left:
                self.is_done.set()


class Sender:
    """silence_s: neither an acknowledgement nor an answer for so long is a frozen broker. delivery_s: no
    acknowledgement for so long is a failure, though the broker answers.
    """

    def __init__(self, clients: Clients, topics: Topics, *, silence_s: float, delivery_s: float) -> None:
        self._clients, self._topics = clients, topics
        self._silence_s, self._delivery_s = silence_s, delivery_s
        self._last: dict[tuple[str, str, int], int] = {}

    def send(self, topic: Topic, partition: int, known: KnownTopic, bodies: Sequence[bytes]) -> list[int]:
        """Every offset. Raises BrokerUnavailable before anything was sent, else BrokerTimeout; TopicMissing,
        MessageTooLarge.
        """
        producer = self._clients.producer()
        log = (known.name, known.incarnation, partition)
        started, last = time.monotonic(), self._last.get(log, -1)
        pending = _Pending(len(bodies), self._clients.own().serving)
        ping = _Ping(self._clients, partial(self._topics.ask_end, topic=topic, partition=partition))
        self._queue(producer, pending, ping, started, topic, known.name, partition, bodies)
        while not pending.is_done.is_set():
            self._serve(producer, pending)
            if self._is_lost(pending, ping, started):
                self._give_up(producer, pending)
                break
        if pending.problem is not None or not pending.is_done.is_set():
            raise self._told(producer, topic, partition, pending.problem)
        if min(pending.offsets) <= last:
            # A repeat that the broker recognises is acknowledged without its offset: nobody knows where it lies, and an
            # announcement would name other messages.
            self._last.pop(log, None)
            what = f"an acknowledgement with offset {min(pending.offsets)} after {last}"
            raise timed_out(self._topics.where(topic, partition), what, is_sent=True)
        self._last[log] = max(self._last.get(log, -1), *pending.offsets)
        return pending.offsets

    def _queue(
        self,
        producer: Producer,
        pending: _Pending,
        ping: _Ping,
        started: float,
        topic: Topic,
        name: str,
        partition: int,
        bodies: Sequence[bytes],
    ) -> None:
        from confluent_kafka import KafkaException

        for index, body in enumerate(bodies):
            while True:
                try:
                    producer.produce(name, value=body, partition=partition, on_delivery=partial(pending.note, index))
                    break
                except BufferError:  # at once, when what waits fills its bound
                    self._serve(producer, pending)
                    if self._is_lost(pending, ping, started):
                        self._give_up(producer, pending)
                        raise timed_out(
                            self._topics.where(topic, partition), "a full queue that does not move", is_sent=True
                        ) from None
                except KafkaException as exception:
                    pending.forget(len(bodies) - index)
                    if index:
                        self._give_up(producer, pending)
                    raise self._told(producer, topic, partition, problem_of(exception)) from None

    def _is_lost(self, pending: _Pending, ping: _Ping, started: float) -> bool:
        """Whether the broker is dead, frozen or stuck; asks its leader where no acknowledgement comes."""
        now = time.monotonic()
        silent_s = now - max(pending.moved_at, ping.answered_at)
        if silent_s > QUIET_S:
            ping.ask(now, min(self._silence_s - QUIET_S, max(self._silence_s - silent_s, SERVE_S)))
        is_dead = ping.has_failed and self._clients.heard_since(started, *DOWN) is not None
        return is_dead or silent_s > self._silence_s or now - pending.moved_at > self._delivery_s

    def _serve(self, producer: Producer, pending: _Pending) -> None:
        """One thread polls for all; the others wait for their own, and for their turn."""
        serving = pending.serving
        if serving.acquire(blocking=False):
            try:
                producer.poll(SERVE_S)
            finally:
                serving.release()
        else:
            pending.is_done.wait(SERVE_S / 4)

    def _give_up(self, producer: Producer, pending: _Pending) -> None:
        """What other threads sent goes too: the bound on memory is the process's."""
        producer.purge()
        producer.flush(PURGE_S)
        pending.is_done.wait(PURGE_S)
        self._clients.doubt()

    def _told(self, producer: Producer, topic: Topic, partition: int, problem: KafkaError | None) -> PipelineError:
        where = self._topics.where(topic, partition)
        if problem is None:
            return timed_out(where, f"neither an acknowledgement nor an answer for {self._silence_s:g} s", is_sent=True)
        name = problem.name()
        if problem.fatal() or name in FATAL:
            self._clients.drop_producer(producer)
            return timed_out(where, f"a producer that had to be replaced: {problem.str()} ({name})", is_sent=True)
        if name.startswith("_PURGE"):
            return timed_out(where, "no acknowledgement in time, and what was queued was given up", is_sent=True)
        if name in NO_SUCH_TOPIC:
            self._clients.doubt()
            known = self._topics.known(topic, wait_s=self._silence_s)
            self._topics.check_partition(topic, partition, known)
            return BrokerUnavailable(
                where=where, expected="a leader for the partition", got="one that is being chosen; it is tried again"
            )
        if name in REFUSED:  # the producer remembers a refusal, and repeats it until it hears of the topic anew
            self._clients.doubt()
        return mapped(problem, where, is_sent=True)


class _Ping:
    """A question under way, one at a time. answered_at: when the last answer came; monotonic seconds."""

    def __init__(self, clients: Clients, ask: Callable[..., Future[Any]]) -> None:
        self.answered_at = 0.0
        self.has_failed = False
        self._clients, self._ask = clients, ask
        self._future: Future[Any] | None = None

    def ask(self, now: float, wait_s: float) -> None:
        """Starts one, or looks whether the one under way was answered. Never raises, never waits for the answer."""
        if self._future is None:
            try:
                self._future = self._ask(self._clients.admin(min(wait_s, QUIET_S)), wait_s=wait_s)
            except PipelineError:
                self.has_failed = True
        elif self._future.done():
            self.has_failed = self._future.exception() is not None or self._future.result().offset < 0
            if self.has_failed:
                self._clients.doubt()
            else:
                self.answered_at = now
            self._future = None
