"""librdkafka's clients of one process: a producer and an administrator made when first used, consumers for a moment.

Nothing of librdkafka survives a fork: an inherited consumer's close() hangs, and an inherited client that is freed,
were it by the garbage collector, joins threads which are not there and ends the child by SIGSEGV. So a child gets
clients of its own, and the inherited ones are kept, untouched, for ever. A client knows what it last heard of leaders
and keeps on failing with it after an outage until metadata is fetched anew: `doubt` asks for that before the next
call. Not here: what is asked (kafka_topics.py), sent (kafka_sending.py) or read (kafka_reading.py).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vcf_pipeline.adapters.broker.kafka_errors import DOWN, INSECURE, NO_WAY, REFUSED, mapped, problem_of, unreachable
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer
    from confluent_kafka.admin import AdminClient

PROBE_S = 0.5
"""How long a broker that answered before may take to answer a probe."""

RECENT_S = 5.0
"""How old a client's complaint may be to explain why nobody is there: it tries to connect once a second or oftener."""

_LOOK_S = 0.1
_ALLOWED = ("security.", "sasl.", "ssl.", "enable.ssl.", "https.", "enable.sasl.", "client.id", "broker.address.family")
_living: weakref.WeakSet[Any] = weakref.WeakSet()
_crossing: list[object] = []
_inherited: list[object] = []
"""Clients that a forked child got from its parent: kept, so that nobody closes or frees them."""


@dataclass
class _Own:
    """What one process holds."""

    pid: int = field(default_factory=os.getpid)
    lock: threading.RLock = field(default_factory=threading.RLock)
    serving: threading.Lock = field(default_factory=threading.Lock)  # who polls the producer for all
    admin: AdminClient | None = None
    producer: Producer | None = None
    is_fresh: bool = False  # the administrator's metadata
    is_warm: bool = False  # the producer's
    was_reached: bool = False
    was_warm: bool = False


@functools.cache
def _weakly_held(kind: type) -> type:
    """The library's class, for instances that a WeakSet takes."""
    return type(kind.__name__, (kind,), {})


def _hold() -> None:
    """In the parent, before it forks: what nobody names any more, and is not yet freed, crosses too."""
    _crossing.extend(_living)


def _inherit() -> None:
    _inherited.extend(_crossing)
    _crossing.clear()


os.register_at_fork(before=_hold, after_in_parent=_crossing.clear, after_in_child=_inherit)


class Clients:
    """bootstrap_servers: `host:port,…`. security: librdkafka's names; secrets inside.

    producer: more of librdkafka's settings for the producer. connect_s: how long a first answer may take.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        security: Mapping[str, str],
        producer: Mapping[str, str | int | bool],
        *,
        group: str,
        connect_s: float,
    ) -> None:
        if importlib.util.find_spec("confluent_kafka") is None:
            raise BadSetting(
                where="kafka",
                expected="the package confluent-kafka",
                got="an installation without it",
                repair="Install vcf-pipeline[kafka].",
            )
        strange = [name for name in security if not name.startswith(_ALLOWED)]
        if strange or not bootstrap_servers.strip() or not group:
            raise BadSetting(
                where="kafka",
                expected="bootstrap_servers, a prefix, and security with names like sasl.* or ssl.*",
                got=f"{strange[0]!r} in security" if strange else "an empty one",
            )
        self.address = f"kafka {bootstrap_servers}"
        self._producer_more, self._group, self._connect_s = dict(producer), group, connect_s
        self._base: dict[str, Any] = {
            **security,
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,  # what goes wrong is raised; librdkafka would write it to standard error
            "error_cb": self._heard,
            "socket.timeout.ms": 10_000,  # a connection that a lost host left behind is given up
            "socket.keepalive.enable": True,
            "socket.nagle.disable": True,
            "reconnect.backoff.max.ms": 1_000,
        }
        self._own = _Own()
        self._is_closed = False
        self._addresses = len(bootstrap_servers.split(","))
        self._told: dict[tuple[str, str], tuple[float, KafkaError]] = {}

    def _heard(self, problem: KafkaError) -> None:
        """Told once or a few times in an outage: a hint, no state. Runs inside a poll of ours."""
        self._told[problem.name(), problem.str().split(": ")[0]] = (time.monotonic(), problem)

    def heard_since(self, moment: float, *names: str) -> KafkaError | None:
        """What a client complained of since then, if it is one of these."""
        told = [(at, one) for at, one in list(self._told.values()) if at >= moment and one.name() in names]
        return max(told, key=lambda pair: pair[0])[1] if told else None

    def _nobody_since(self, moment: float) -> KafkaError | None:
        """What a client complained of since then, if no address is left to hope for."""
        ways = {where for (name, where), (at, _) in list(self._told.items()) if at >= moment and name in NO_WAY}
        if len(ways) >= self._addresses:
            return self.heard_since(moment, *NO_WAY)
        return self.heard_since(moment, *DOWN, *REFUSED)

    def _why(self, now: float) -> KafkaError | None:
        """The cause that a client gave lately, where one is better than that nobody is there."""
        for names in (REFUSED, INSECURE, NO_WAY):
            cause = self.heard_since(now - RECENT_S, *names)
            if cause is not None:
                return cause
        return None

    def own(self) -> _Own:
        """This process's. Raises BrokerUnavailable once closed."""
        if self._is_closed:
            raise BrokerUnavailable(where=self.address, got="the broker was closed")
        if self._own.pid != os.getpid():
            self._own = _Own()
        return self._own

    def admin(self, wait_s: float | None = None) -> AdminClient:
        """With metadata that is not in doubt. Raises BrokerUnavailable, BadSetting."""
        own = self.own()
        with own.lock:
            if own.admin is None:
                from confluent_kafka.admin import AdminClient

                own.admin = self._made(AdminClient, self._base)
            if not own.is_fresh:
                self.refresh(own.admin, wait_s or self._connect_s, was_reached=own.was_reached)
                own.is_fresh = own.was_reached = True
            return own.admin

    def refresh(self, client: AdminClient | Producer, wait_s: float, *, was_reached: bool = True) -> None:
        """Fetches metadata of all topics (naming one could create it). Raises BrokerUnavailable after wait_s, and
        sooner where every address refuses, or one that answered before has no connection any more.
        """
        from confluent_kafka import KafkaException

        started = time.monotonic()
        for end_s in (_LOOK_S, PROBE_S, wait_s):  # in steps, since the call itself waits in full at a closed port
            try:
                client.list_topics(timeout=max(min(end_s, wait_s) - (time.monotonic() - started), 0.01))
                self._told.clear()
                return
            except KafkaException as exception:
                client.poll(0)
                problem = problem_of(exception)
                told = self._nobody_since(started)
                is_gone = was_reached and end_s >= PROBE_S and problem.name() == "_TRANSPORT"
                if told is not None or is_gone or end_s >= wait_s:
                    raise unreachable(self._why(time.monotonic()) or told or problem, self.address) from exception

    def doubt(self) -> None:
        """Something went wrong: the next call fetches metadata before it believes what it knows."""
        own = self.own()
        own.is_fresh = own.is_warm = False

    def producer(self) -> Producer:
        """The process's one. A cold one costs half a second at its first message, unless metadata was there first.

        Raises BrokerUnavailable (nothing was sent), BadSetting.
        """
        own = self.own()
        with own.lock:
            if own.producer is None:
                from confluent_kafka import Producer

                own.producer = self._made(Producer, {**self._base, **self._producer_more})
                own.is_warm = own.was_warm = False
            if not own.is_warm:
                self.admin(PROBE_S if own.was_reached else None)
                self.refresh(own.producer, PROBE_S if own.was_warm else self._connect_s, was_reached=own.was_warm)
                own.is_warm = own.was_warm = True
            return own.producer

    def drop_producer(self, producer: Producer) -> None:
        """It can send nothing more: the next call makes another."""
        own = self.own()
        with own.lock:
            if own.producer is producer:
                own.producer = None
        producer.purge()

    @contextlib.contextmanager
    def consumer(self) -> Any:
        """A new one: ten milliseconds, and it admits one thread."""
        from confluent_kafka import Consumer

        self.own()
        made: Consumer = self._made(
            Consumer,
            {
                **self._base,
                "group.id": self._group,  # named and never joined; an empty one aborts the process
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # the others jump silently over what is lost
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": 4096,  # 64 MiB by default
                "allow.auto.create.topics": False,
            },
        )
        try:
            yield made
        finally:
            made.close()

    def _made(self, kind: Any, config: dict[str, Any]) -> Any:
        from confluent_kafka import KafkaException

        try:
            made = _weakly_held(kind)(config)
        except KafkaException as exception:
            raise mapped(problem_of(exception), self.address) from None
        _living.add(made)
        return made

    def close(self) -> None:
        """Purges first: closing a producer waits for deliveries without a limit."""
        if self._is_closed:
            return
        self._is_closed = True
        own = self._own
        if own.pid != os.getpid():
            return
        producer, own.producer, own.admin = own.producer, None, None
        if producer is not None:
            producer.purge()
            producer.flush(0.2)
            producer.close()
