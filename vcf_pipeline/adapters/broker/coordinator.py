"""The one door to the brokers there are: publishing, emitting, waiting and reading, whichever of them works.

Every batch goes to the broker that routing chooses; where one dies or freezes, the same batch goes elsewhere, to the
spool where no broker is left. Delivery is at least once: ids and idempotent sinks make the results effectively once.
Not here: the choice (routing.py), windows (publisher.py), listening (listening.py), what a body means (domain/stream).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from vcf_pipeline.adapters.broker.forwarder import Drained, Forwarder, announcement_of
from vcf_pipeline.adapters.broker.guard import Guard
from vcf_pipeline.adapters.broker.listening import Ears
from vcf_pipeline.adapters.broker.port import Broker, Message
from vcf_pipeline.adapters.broker.publisher import WINDOW, Acknowledged, Publisher, Window
from vcf_pipeline.adapters.broker.reading import messages_of
from vcf_pipeline.adapters.broker.routing import Routing, Rules
from vcf_pipeline.adapters.broker.sending import UNFIT, Routes
from vcf_pipeline.adapters.broker.spool import SPOOL, Spool
from vcf_pipeline.domain.errors import (
    BrokerUnavailable,
    PipelineError,
    TransientError,
)
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement, Segment
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.dead_letters import write_letter
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import CallsetAnnounced
from vcf_pipeline.domain.stream.topics import (
    CALLSETS,
    DEAD_LETTERS,
    Topic,
    partition_for,
    variants_topic,
)

log = logging.getLogger(__name__)

READ_BYTES = 8 << 20
FROZEN_AFTER_S = 0.8


class Coordinator:
    """brokers: in order of preference; the first alone is used while it works. also_heard: listened to and read from,
    never sent to. spool: takes what no broker could; None: it is tried again for `patience_s`, then raised.

    pin: the one broker to send to, by name: no other, no spool. clock: monotonic seconds; pause: sleeps so many.
    """

    def __init__(
        self,
        brokers: Sequence[Broker],
        *,
        also_heard: Sequence[Broker] = (),
        spool: Spool | None = None,
        pin: str | None = None,
        window: Window = WINDOW,
        patience_s: float = 30.0,
        frozen_after_s: float = FROZEN_AFTER_S,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if not brokers:
            raise ValueError("a coordinator needs a broker")
        self.window = window
        self._brokers = {broker.name: broker for broker in [*brokers, *also_heard]}
        self._spool = spool if pin is None else None
        self._patience_s = patience_s
        self._guards = {name: Guard(broker, frozen_after_s) for name, broker in self._brokers.items()}
        self._notes: deque[str] = deque(maxlen=20)
        self._told: set[str] = set()
        names = [pin] if pin is not None else [broker.name for broker in brokers]
        self._routes = Routes(self._guards, Routing.over(names, rules), self._note, clock, pause)
        self._ears = Ears(list(self._brokers.values()), self._routes.ensure, self._note)

    # ---- sending

    def publisher(
        self,
        tenant: str,
        publish_id: str,
        on_acknowledged: Acknowledged | None = None,
        earlier: Sequence[Segment] = (),
    ) -> Publisher:
        """A `with`. earlier: what a stopped attempt of this publication left on brokers. Raises BadTenantName."""
        return Publisher(self, self.window, variants_topic(tenant), publish_id, on_acknowledged, earlier)

    def emit(self, envelope: Envelope, topic: Topic, key: str, patience_s: float | None = None) -> Segment:
        """One control message, durable when this returns; equal keys keep their order while one broker is in use.

        patience_s: how long brokers that do not answer are tried again; default: the coordinator's own.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        return self._routes.send(topic, partition_for(topic, key), [frame.encode(envelope)], patience_s=patience_s)

    def announce(self, announced: Announcement, *, ts: int, producer: str) -> Announcement | None:
        """Tell control that a callset is complete. The announcement as it was made, with the places where its chunks
        are now; None where no broker is left and the spool keeps it.
        """
        event = CallsetAnnounced(announced).to_envelope(ts=ts, producer=producer)
        if self._spool is None:
            self.emit(event, CALLSETS, str(announced.key))
            return announced
        if all(segment.broker != SPOOL for segment in announced.segments):
            try:
                body = [frame.encode(event)]
                self._routes.send(CALLSETS, partition_for(CALLSETS, str(announced.key)), body, patience_s=0.0)
                return announced
            except TransientError as problem:
                self._note(f"an announcement waits in the spool: {problem.message}")
        self._spool.keep(variants_topic(announced.tenant), announced.publish_id, frame.encode(event))
        try:
            return Forwarder(self._spool, self).forward(announced.publish_id)
        except (TransientError, *UNFIT):
            return None

    def discard(self, publish_id: str) -> None:
        """The publication is given up: what the spool holds of it goes; what brokers hold is left to retention."""
        if self._spool is not None:
            self._spool.drop(publish_id)

    def waiting(self, key: PartitionKey) -> Announcement | None:
        """The callset's newest announcement that the spool keeps."""
        publications = self._spool.publications() if self._spool is not None else []
        kept = [announcement_of(one) for one in publications if one.announcement is not None]
        return next((announced for announced in reversed(kept) if announced.key == key), None)

    def drain(
        self,
        is_done: Callable[[Announcement], bool] = lambda _: False,
        on_forwarded: Callable[[Announcement], None] = lambda _: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Drained:
        """Send what the spool holds, in order. See Forwarder.drain."""
        if self._spool is None:
            return Drained()
        self._spool.sweep()
        return Forwarder(self._spool, self).drain(is_done, on_forwarded, is_over)

    def dead_letter(
        self,
        body: bytes,
        *,
        origin: str,
        reason: str,
        attempts: int = 1,
        code: str = "",
        tenant: str = "",
        callset_id: str = "",
    ) -> None:
        """What could not be processed, with its origin; see domain/stream/dead_letters.py."""
        letter = write_letter(
            body,
            origin=origin,
            reason=reason,
            ts=int(time.time() * 1000),
            attempts=attempts,
            code=code,
            tenant=tenant,
            callset_id=callset_id,
        )
        self.emit(letter, DEAD_LETTERS, letter.id)

    def send_again(self, broker: str, topic: Topic, partition: int, body: bytes) -> Segment:
        """A message as it was, byte for byte, into the partition where it lay; durable when this returns.

        On that broker, whichever is chosen now: what it speaks of lies there. Asked once. Raises BrokerUnavailable,
        also for a broker that is not configured, or BrokerTimeout.
        """
        self.check_known(broker)
        return self._routes.send_to(broker, topic, partition, [body])

    def check_known(self, broker: str) -> None:
        """Raises BrokerUnavailable for one that is not configured, which is where a letter's message came from."""
        self._guard_of(broker, "a message of another one", "Configure that broker here, or discard the letter.")

    def send_now(
        self, topic: Topic, partition: int, bodies: Sequence[bytes], publish_id: str, earlier: Sequence[Segment]
    ) -> Segment:
        """For the forwarder: on the first broker that takes it, or the error of the last one that did not."""
        return self._routes.send(topic, partition, bodies, publish_id, earlier, patience_s=0.0)

    def send_stretch(
        self,
        topic: Topic,
        partition: int,
        stretch: Sequence[tuple[int, bytes]],
        publish_id: str,
        earlier: Sequence[Segment],
        is_given_up: Callable[[], bool],
    ) -> Segment:
        """For a publisher: on the broker that is chosen now, or in the spool where there is none."""
        bodies = [body for _, body in stretch]
        if self._spool is None:
            return self._routes.send(
                topic, partition, bodies, publish_id, earlier, is_given_up, patience_s=self._patience_s
            )
        try:
            if self._routes.chosen() is not None:
                return self._routes.send(topic, partition, bodies, publish_id, earlier, is_given_up, patience_s=0.0)
        except TransientError as problem:
            if is_given_up():
                raise
            self._note(f"no broker is left, the spool is used: {problem.message}")
        segment = self._spool.append(topic, partition, publish_id, stretch)
        self._routes.in_use = SPOOL
        return segment

    @property
    def in_use(self) -> str:
        """Where the last batch went, or the first one will: a broker's name, or "spool"."""
        return self._routes.in_use

    # ---- hearing

    def hear(self, topics: Sequence[Topic], cursor: Cursor, seconds: float) -> tuple[list[Message], Cursor]:
        """Messages of any broker after the cursor, as soon as there are some; [] after so many seconds. At most 8 MiB
        and one message of each. With them the cursor that they come after, to be kept even where there are none.

        A topic that is new to the cursor, recreated or regressed is read from its start, and the cursor that is
        returned says so. A broker that is down is named in status() and read from the cursor when it is back. Raises
        BrokerUnavailable or BrokerTimeout where none answered.
        """
        return self._ears.hear(topics, cursor, seconds)

    def wait(self, topics: Sequence[Topic], cursor: Cursor, seconds: float) -> list[Message]:
        """What `hear` hears, for one who listens once and keeps no cursor."""
        return self.hear(topics, cursor, seconds)[0]

    def read_segment(self, segment: Segment, max_bytes: int = READ_BYTES) -> Iterator[Message]:
        """See reading.messages_of. Raises BrokerUnavailable for a broker that is not configured."""
        return messages_of(segment, self._guard_of(segment.broker), max_bytes)

    def extent(self, broker: str, topic: Topic) -> tuple[str, dict[int, int]]:
        """(incarnation, next offset by partition) of a topic there. Raises BrokerUnavailable, BrokerTimeout,
        TopicMissing.
        """
        guard = self._guard_of(broker)
        return guard.call(lambda: (guard.broker.incarnation(topic), guard.broker.end_offsets(topic)))

    def _guard_of(
        self,
        name: str,
        got: str = "a segment on another one",
        repair: str = "Configure that broker here, or publish the file again.",
    ) -> Guard:
        guard = self._guards.get(name)
        if guard is None:
            raise BrokerUnavailable(
                where=f"broker {name[:40]!r}",
                expected=f"one of {', '.join(self._guards)}",
                got=got,
                repair=repair,
            )
        return guard

    # ---- itself

    @property
    def brokers(self) -> list[Broker]:
        """In order of preference."""
        return list(self._brokers.values())

    def status(self) -> dict[str, Any]:
        """JSON-ready: each broker's health, which one is in use, what the spool holds, what was noticed lately.

        Brokers are asked at once, each for as long as a frozen one is waited for.
        """
        healths: dict[str, Any] = {}

        def ask(name: str) -> None:
            health = self._guards[name].probe()
            standing = self._routes.standing(name)
            healths[name] = {
                "healthy": health.is_healthy,
                "latency_ms": round(health.latency_ms, 3),
                "reason": health.reason,
                "details": dict(health.details),
                "breaker": standing.breaker.state.value if standing else "",
                "score": round(standing.score, 3) if standing else None,
                "heard": self._ears.silent.get(name, "") == "",
            }

        askers = [threading.Thread(target=ask, args=(name,), daemon=True) for name in self._brokers]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        return {
            "in_use": self.in_use,
            "brokers": {name: healths[name] for name in self._brokers},
            "spool": self.spool_status(),
            "notes": list(self._notes),
        }

    def spool_status(self) -> dict[str, Any] | None:
        """JSON-ready; None where there is no spool."""
        if self._spool is None:
            return None
        publications = self._spool.publications()
        return {
            "publications": len(publications),
            "announced": sum(one.announcement is not None for one in publications),
            "chunks": sum(one.n_left for one in publications),
            "chunk_bytes": sum(one.bytes_left for one in publications),
            "used_bytes": self._spool.used_bytes,
            "max_bytes": self._spool.max_bytes,
            "oldest": min((one.at for one in publications), default=None),
        }

    def _note(self, text: str, always: bool = False) -> None:
        """Said once per process, unless `always`, and kept for status(): a sensor meets the same at every tick."""
        if always or text not in self._told:
            self._told.add(text)
            self._notes.append(text)
            log.warning("%s", text)

    def close(self) -> None:
        self._ears.close()
        self._routes.close()
        for guard in self._guards.values():
            guard.close()
        for broker in self._brokers.values():
            try:
                broker.close()
            except PipelineError as problem:
                log.warning("%s", problem)
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
