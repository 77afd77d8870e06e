"""Hearing all brokers at once: the first answer wins, a broker that is down costs nothing and is named.

Not here: what a message means (domain/stream/events.py); where a cursor stands (domain/stream/cursor.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from vcf_pipeline.adapters.broker.port import Broker, Message
from vcf_pipeline.domain.errors import BrokerTimeout, OffsetLost, OffsetRegressed, PipelineError, TopicMissing
from vcf_pipeline.domain.stream.cursor import Cursor, TopicCursor
from vcf_pipeline.domain.stream.topics import Topic

WAIT_BYTES = 8 << 20
LOOK_S = 1.0
"""How long a first look at several brokers may take beyond the time that was given."""
_SLICE_S = 0.25
_AGAIN_S = 0.5
_JOIN_S = 1.0


class Ears:
    """ensure(broker, topic): makes the topic where it is missing. note(text): said once."""

    def __init__(
        self, brokers: Sequence[Broker], ensure: Callable[[Broker, Topic, bool], None], note: Callable[[str], None]
    ) -> None:
        self._brokers = list(brokers)
        self._ensure, self._note = ensure, note
        self.silent: dict[str, str] = {}
        self._threads: list[threading.Thread] = []
        self._is_closed = threading.Event()

    def hear(self, topics: Sequence[Topic], cursor: Cursor, seconds: float) -> tuple[list[Message], Cursor]:
        """See Coordinator.hear."""
        if len(self._brokers) == 1:
            ear = _Ear(self._brokers[0], topics, cursor, self._ensure, self._note)
            return ear.listen(seconds), ear.cursor
        round_ = _Round(self, topics, cursor, seconds)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for broker in self._brokers:
            thread = threading.Thread(target=round_.listen, args=(broker,), name=f"hear-{broker.name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return round_.heard(), round_.cursor

    def close(self) -> None:
        """Nobody listens any more when this returns, but for those whom a frozen broker holds."""
        self._is_closed.set()
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def is_closed(self) -> bool:
        return self._is_closed.is_set()


class _Round:
    """One wait: a thread for each broker, and what they heard."""

    def __init__(self, ears: Ears, topics: Sequence[Topic], cursor: Cursor, seconds: float) -> None:
        self._ears, self._topics, self._cursor = ears, topics, cursor
        self._moved: dict[tuple[str, str], TopicCursor] = {}
        self._deadline = time.monotonic() + seconds
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._looked: set[str] = set()
        self._failed: dict[str, PipelineError] = {}
        self._is_over = False

    def heard(self) -> list[Message]:
        names = {broker.name for broker in self._ears._brokers}
        with self._changed:
            while not self._messages:
                now = time.monotonic()
                is_known = names <= self._looked | set(self._failed)
                if now >= self._deadline and (is_known or now >= self._deadline + LOOK_S):
                    break
                end = self._deadline if now < self._deadline else self._deadline + LOOK_S
                self._changed.wait(max(0.001, end - now))
            self._is_over = True
            # where another was quicker, nobody knows yet how the rest are
            hanging = names - self._looked - set(self._failed) if not self._messages else set()
            for name in self._looked - set(self._failed):
                self._ears.silent.pop(name, None)
            for name in hanging:
                self._ears.silent[name] = "no answer"
                self._ears._note(f"{name}: no answer while listening; it is read from the cursor when it is back")
            if not self._messages and not self._looked:
                if self._failed:
                    raise next(iter(self._failed.values()))
                raise BrokerTimeout(
                    where=f"brokers {', '.join(sorted(names))}", expected="an answer from one of them", got="none"
                )
            return self._messages

    @property
    def cursor(self) -> Cursor:
        """Where those stood who were in time."""
        return Cursor({**self._cursor.topics, **self._moved})

    def listen(self, broker: Broker) -> None:
        """In a thread: until somebody heard something, or the time is over."""
        ear = _Ear(broker, self._topics, self._cursor, self._ears._ensure, self._ears._note)
        while not self._is_over and not self._ears.is_closed:
            try:
                messages = ear.listen(max(0.0, min(_SLICE_S, self._deadline - time.monotonic())))
            except Exception as problem:
                self._fail(broker.name, problem)
                ear.forget()
            else:
                self._succeed(broker.name, messages, ear.cursor)
                if messages:
                    return
            if time.monotonic() >= self._deadline:
                return

    def _fail(self, name: str, problem: Exception) -> None:
        """Any failure of one broker is that broker's; it is asked again while the others are listened to."""
        known = (
            problem
            if isinstance(problem, PipelineError)
            else BrokerTimeout(where=f"broker {name}", got=f"{type(problem).__name__}: {problem}")
        )
        with self._changed:
            is_news = name not in self._failed and not self._is_over
            self._failed[name] = known
            self._changed.notify_all()
        if is_news and not self._ears.is_closed:
            self._ears.silent[name] = known.message
            self._ears._note(f"{name} is not heard: {known.message}")
        self._ears._is_closed.wait(min(_AGAIN_S, max(0.0, self._deadline - time.monotonic())))

    def _succeed(self, name: str, messages: list[Message], cursor: Cursor) -> None:
        with self._changed:
            self._looked.add(name)
            self._failed.pop(name, None)
            if not self._is_over:
                self._messages += messages
                self._moved |= {key: entry for key, entry in cursor.topics.items() if key[0] == name}
            self._changed.notify_all()


class _Ear:
    """One broker, from the cursor on. cursor: with the topics that have to be read again from their start."""

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[Topic],
        cursor: Cursor,
        ensure: Callable[[Broker, Topic, bool], None],
        note: Callable[[str], None],
    ) -> None:
        self._broker, self._topics, self.cursor = broker, topics, cursor
        self._ensure, self._note = ensure, note
        self._positions: dict[tuple[Topic, int], int] | None = None

    def forget(self) -> None:
        """After a failure: the topic may be another one now."""
        self._positions = None

    def listen(self, seconds: float) -> list[Message]:
        deadline = time.monotonic() + seconds
        if self._positions is None:
            self._positions = self._found()
        while True:
            try:
                return self._broker.wait(self._positions, max(0.0, deadline - time.monotonic()), WAIT_BYTES)
            except OffsetLost as lost:
                self._skip_lost(self._positions, lost)
            except OffsetRegressed:
                before, self._positions = self._positions, self._found()
                if self._positions == before:
                    raise

    def _found(self) -> dict[tuple[Topic, int], int]:
        broker = self._broker
        positions: dict[tuple[Topic, int], int] = {}
        for topic in self._topics:
            self._ensure(broker, topic, False)
            try:
                incarnation = broker.incarnation(topic)
            except TopicMissing:  # deleted since this process made or met it
                self._ensure(broker, topic, True)
                incarnation = broker.incarnation(topic)
            starts, anomaly = self.cursor.start(broker.name, topic.full_name, incarnation, broker.end_offsets(topic))
            if anomaly is not None:
                self.cursor = self.cursor.moved(broker.name, topic.full_name, incarnation, starts)
                self._note(f"{broker.name}: {topic.full_name} was {anomaly}; read again from its start")
            positions |= {(topic, partition): first for partition, first in starts.items()}
        return positions

    def _skip_lost(self, positions: dict[tuple[Topic, int], int], lost: OffsetLost) -> None:
        """Retention took messages that nobody had read: go on after them, and say so."""
        for (topic, partition), first in positions.items():
            try:
                self._broker.read(topic, partition, first, first, 1)
            except OffsetLost as here:
                self._note(
                    f"{self._broker.name}: {topic.full_name}[{partition}] lost {first} to {here.first_available - 1}"
                )
                positions[topic, partition] = here.first_available
                return
        raise lost
