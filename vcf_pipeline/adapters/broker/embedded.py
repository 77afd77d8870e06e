"""The embedded log: SQLite, one database for control topics and one per tenant for data, under one folder.

The default on a laptop and in tests. Many processes may append and read; an append is on disk when it returns
(WAL with synchronous=FULL). Not here: the topology (domain/stream/topics.py); retries and windows
(coordinator.py).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vcf_pipeline.adapters.broker.embedded_files import SCHEMA, Connection, create, file_lock, mapped
from vcf_pipeline.adapters.broker.port import Health, Message, Positions
from vcf_pipeline.domain.errors import (
    BrokerUnavailable,
    MessageTooLarge,
    OffsetLost,
    PipelineError,
    TopicMissing,
    TransientError,
)
from vcf_pipeline.domain.stream.topics import Topic
from vcf_pipeline.domain.stream.topology_diff import FoundTopic

POLL_FIRST_S = 0.020
POLL_QUIET_S = 0.100
POLL_GROWTH = 1.25
_OFFSET_BITS = 40
_PARTITION_BITS = 12
RETAIN_EVERY_S = 3600.0
"""How often a process that appends looks for messages past their topic's retention, as a server does by itself."""

# place = topic, partition and offset in one integer: the rowid, so that a partition's messages
# lie side by side.


_inherited: list[dict[Path, Connection]] = []
"""Connections a forked child got from its parent: kept, so that nobody closes them."""


class EmbeddedBroker:
    """Implements port.Broker. folder: made with mode 0700. busy_s: how long an append waits for another
    writer.

    max_bytes: limit of each database; None leaves the disk's own.
    """

    name = "embedded"

    def __init__(
        self,
        folder: Path,
        *,
        max_message_bytes: int = 4 << 20,
        busy_s: float = 10.0,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = Path(folder)
        self.max_message_bytes = max_message_bytes
        self._busy_s, self._max_bytes, self._clock = busy_s, max_bytes, clock
        self._local = threading.local()
        self._is_closed = False
        self._retained: dict[Topic, float] = {}

    def path_of(self, topic: Topic) -> Path:
        return self.folder / (f"tenant-{topic.tenant}.db" if topic.tenant else "control.db")

    # ---- connections

    def _connections(self) -> dict[Path, Connection]:
        if getattr(self._local, "pid", None) != os.getpid():
            if hasattr(self._local, "open"):
                _inherited.append(self._local.open)
            self._local.pid, self._local.open = os.getpid(), {}
        mine: dict[Path, Connection] = self._local.open
        return mine

    def _connection(self, topic: Topic) -> Connection:
        """This thread's, on the file that lies there now: one deleted and made again is another log."""
        path = self.path_of(topic)
        if self._is_closed:
            raise BrokerUnavailable(where=str(path), got="the broker was closed")
        mine = self._connections()
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            mine.pop(path, None)
            raise _no_topic(topic) from None
        if path in mine and mine[path].file == inode:
            return mine[path]
        mine[path] = Connection(path, self._busy_s, self._max_bytes)
        return mine[path]

    @contextlib.contextmanager
    def _errors(self, topic: Topic) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as problem:
            raise mapped(problem, str(self.path_of(topic))) from problem

    def _topic(self, connection: Connection, topic: Topic) -> tuple[int, int, str]:
        """(id, partitions, incarnation). Raises TopicMissing."""
        known = connection.topics.get(topic.name)
        if known is None:
            try:
                known = connection.db.execute(
                    "SELECT id, partitions, incarnation FROM topics WHERE name = ?", (topic.name,)
                ).fetchone()
            except sqlite3.OperationalError as problem:
                if "no such table" in str(problem):  # another process is just creating the file
                    raise _no_topic(topic) from None
                raise
            if known is None:
                raise _no_topic(topic)
            connection.topics[topic.name] = known
        return known

    # ---- the port

    def ensure_topics(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            rule = topic.rule
            with self._errors(topic):
                path = self.path_of(topic)
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with file_lock(self.folder / ".create.lock"):
                    if not path.exists() or path.stat().st_size == 0:
                        create(path)
                    connection = self._connection(topic)
                    connection.db.executescript(SCHEMA)
                    connection.db.execute(
                        "INSERT OR IGNORE INTO topics (name, partitions, incarnation) VALUES (?, ?, ?)",
                        (topic.name, rule.partitions, uuid.uuid4().hex),
                    )

    def describe_topics(self, topics: Sequence[Topic]) -> dict[Topic, FoundTopic | None]:
        """Retention is the topology's own: `retain` asks it."""
        found: dict[Topic, FoundTopic | None] = dict.fromkeys(topics)
        for topic in topics:
            with contextlib.suppress(TopicMissing), self._errors(topic):
                _, partitions, _ = self._topic(self._connection(topic), topic)
                found[topic] = FoundTopic(partitions, topic.rule.retention_s)
        return found

    def alter_topics(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            with self._errors(topic):
                connection = self._connection(topic)
                number, _, _ = self._topic(connection, topic)
                connection.db.execute(
                    "UPDATE topics SET partitions = max(partitions, ?) WHERE id = ?", (topic.rule.partitions, number)
                )
                connection.topics.pop(topic.name)

    def append(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Sequence[int]:
        for body in bodies:
            if len(body) > self.max_message_bytes:
                raise MessageTooLarge(
                    where=topic.full_name,
                    expected=f"at most {self.max_message_bytes} bytes",
                    got=str(len(body)),
                )
        with self._errors(topic):
            connection = self._connection(topic)
            number = self._partition(connection, topic, partition)
            db = connection.db
            db.execute("BEGIN IMMEDIATE")
            try:
                row = db.execute(
                    "SELECT end_offset FROM ends WHERE topic = ? AND partition = ?", (number, partition)
                ).fetchone()
                first = row[0] if row else 0
                base, now = _place(number, partition, first), self._clock()
                db.executemany(
                    "INSERT INTO messages (place, at, body) VALUES (?, ?, ?)",
                    ((base + step, now, body) for step, body in enumerate(bodies)),
                )
                db.execute(
                    "INSERT INTO ends VALUES (?, ?, 0, ?) "
                    "ON CONFLICT (topic, partition) DO UPDATE SET end_offset = excluded.end_offset",
                    (number, partition, first + len(bodies)),
                )
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        if now - self._retained.get(topic, float("-inf")) >= RETAIN_EVERY_S:
            self._retained[topic] = now
            with contextlib.suppress(TransientError):  # what was appended stands; the next process looks again
                self.retain(topic, now)
        return range(first, first + len(bodies))

    def read(self, topic: Topic, partition: int, first: int, last: int, max_bytes: int) -> list[Message]:
        with self._errors(topic):
            connection = self._connection(topic)
            return self._stored(connection, (topic, partition), (first, last), max_bytes)

    def _stored(
        self, connection: Connection, where: tuple[Topic, int], span: tuple[int, int], max_bytes: int
    ) -> list[Message]:
        (topic, partition), (first, last) = where, span
        number = self._partition(connection, topic, partition)
        db = connection.db
        db.execute("BEGIN")  # one snapshot: retention between the two looks must not make a gap
        try:
            row = db.execute(
                "SELECT first_offset FROM ends WHERE topic = ? AND partition = ?", (number, partition)
            ).fetchone()
            if row is not None and first < row[0]:
                raise OffsetLost(
                    where=f"{topic.full_name}[{partition}]",
                    expected=f"offset {first}",
                    got=f"{row[0]} as the oldest that is still stored",
                    first_available=row[0],
                )
            base = _place(number, partition, 0)
            limit = base + min(last, (1 << _OFFSET_BITS) - 1)
            messages, size = [], 0
            rows = db.execute(
                "SELECT place, body FROM messages WHERE place BETWEEN ? AND ? ORDER BY place",
                (base + max(first, 0), limit),
            )
            incarnation = self._topic(connection, topic)[2]
            for place, body in rows:
                messages.append(
                    Message(topic, partition, place - base, body, broker=self.name, incarnation=incarnation)
                )
                size += len(body)
                if size >= max_bytes:
                    break
            return messages
        finally:
            db.execute("ROLLBACK")

    def end_offsets(self, topic: Topic) -> dict[int, int]:
        with self._errors(topic):
            connection = self._connection(topic)
            number, partitions, _ = self._topic(connection, topic)
            rows = connection.db.execute("SELECT partition, end_offset FROM ends WHERE topic = ?", (number,))
            return {**dict.fromkeys(range(partitions), 0), **dict(rows.fetchall())}

    def wait(self, positions: Positions, timeout_s: float, max_bytes: int) -> list[Message]:
        deadline = time.monotonic() + timeout_s
        pause = POLL_FIRST_S
        is_first = True
        while True:
            messages = self._looked(positions, max_bytes, is_first)
            if messages:
                return messages
            is_first = False
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(pause, left))
            pause = min(pause * POLL_GROWTH, POLL_QUIET_S)

    def _looked(self, positions: Positions, max_bytes: int, is_first: bool) -> list[Message]:
        changed: dict[Path, bool] = {}
        messages: list[Message] = []
        left = max_bytes
        for (topic, partition), first in positions.items():
            with self._errors(topic):
                connection = self._connection(topic)
                path = self.path_of(topic)
                if path not in changed:
                    is_new = connection.data_version < 0
                    changed[path] = connection.has_changed() or is_new or is_first
                if not changed[path] or left <= 0:
                    continue
                span = (first, (1 << _OFFSET_BITS) - 1)
                found = self._stored(connection, (topic, partition), span, left)
            messages += found
            left -= sum(len(message.body) for message in found)
        return messages

    def incarnation(self, topic: Topic) -> str:
        with self._errors(topic):
            return self._topic(self._connection(topic), topic)[2]

    def health(self) -> Health:
        started = time.perf_counter()
        topic = Topic("vcf-callsets")
        try:
            with self._errors(topic):
                if self._is_closed:
                    raise BrokerUnavailable(where=str(self.folder), got="the broker was closed")
                if self.path_of(topic).exists():
                    self._connection(topic).db.execute("SELECT count(*) FROM topics").fetchone()
                elif not os.access(_nearest(self.folder), os.W_OK):
                    raise BrokerUnavailable(where=str(self.folder), got="the folder cannot be written")
        except PipelineError as problem:
            return Health(False, (time.perf_counter() - started) * 1e3, problem.message)
        return Health(True, (time.perf_counter() - started) * 1e3)

    def close(self) -> None:
        self._is_closed = True
        self._connections().clear()

    # ---- beyond the port

    def retain(self, topic: Topic, now: float | None = None) -> int:
        """Drop messages older than the topology's retention, from the front; their offsets are never given
        again.

        now: seconds since 1970. Returns how many went.
        """
        cutoff = (self._clock() if now is None else now) - topic.rule.retention_s
        dropped = 0
        with self._errors(topic):
            connection = self._connection(topic)
            number, partitions, _ = self._topic(connection, topic)
            db = connection.db
            for partition in range(partitions):
                base = _place(number, partition, 0)
                span = (base, base + (1 << _OFFSET_BITS) - 1)
                oldest = db.execute(
                    "SELECT at FROM messages WHERE place BETWEEN ? AND ? ORDER BY place LIMIT 1", span
                ).fetchone()
                if oldest is None or oldest[0] >= cutoff:
                    continue
                db.execute("BEGIN IMMEDIATE")
                try:
                    (kept,) = db.execute(
                        "SELECT min(place) FROM messages WHERE place BETWEEN ? AND ? AND at >= ?",
                        (*span, cutoff),
                    ).fetchone()
                    row = db.execute(
                        "SELECT end_offset FROM ends WHERE topic = ? AND partition = ?", (number, partition)
                    ).fetchone()
                    first = (row[0] if row else 0) if kept is None else kept - base
                    dropped += db.execute(
                        "DELETE FROM messages WHERE place BETWEEN ? AND ?", (base, base + first - 1)
                    ).rowcount
                    db.execute(
                        "UPDATE ends SET first_offset = max(first_offset, ?) WHERE topic = ? AND partition = ?",
                        (first, number, partition),
                    )
                    db.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                    raise
            if dropped:
                db.execute("PRAGMA incremental_vacuum").fetchall()
        return dropped

    def _partition(self, connection: Connection, topic: Topic, partition: int) -> int:
        """The topic's number. Raises TopicMissing for a partition it does not have."""
        number, partitions, _ = self._topic(connection, topic)
        if not 0 <= partition < partitions:
            connection.topics.pop(topic.name)  # another process may have raised their number since
            number, partitions, _ = self._topic(connection, topic)
        if not 0 <= partition < partitions:
            raise TopicMissing(
                where=topic.full_name, expected=f"a partition from 0 to {partitions - 1}", got=str(partition)
            )
        return number


def _place(topic: int, partition: int, offset: int) -> int:
    return (topic << (_OFFSET_BITS + _PARTITION_BITS)) | (partition << _OFFSET_BITS) | offset


def _no_topic(topic: Topic) -> TopicMissing:
    return TopicMissing(
        where=topic.full_name,
        expected="a topic",
        got="none",
        repair="It is made when something is published; `vcf-pipeline doctor` shows where this log lies.",
    )


def _nearest(folder: Path) -> Path:
    """The folder itself or its nearest ancestor that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
