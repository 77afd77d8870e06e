"""The sender's own store of last resort: chunks and announcements that no broker could take, in one SQLite file.

Bounded: when full it refuses, and what it holds stays. A chunk's offset here is its seq, so that sending the same one
twice keeps one. A publication leaves when its announcement is on a broker, whole or not at all. Not here: sending on
(forwarder.py); when the spool is used (routing.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vcf_pipeline.adapters.broker.embedded_files import file_lock, mapped
from vcf_pipeline.domain.errors import TopicFull
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.stream.topics import Topic

SPOOL = "spool"
"""The name in segments of what is here; such a segment is never announced."""
RESERVE_BYTES = 4 << 20
"""Kept free of chunks, for announcements: a publication that fits must also be announced."""
KEEP_UNANNOUNCED_S = 7 * 86_400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (incarnation TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS publications (
    place INTEGER PRIMARY KEY, publish_id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, at REAL NOT NULL,
    announcement BLOB);
CREATE TABLE IF NOT EXISTS chunks (
    publish_id TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (publish_id, seq));
CREATE TABLE IF NOT EXISTS sent (
    publish_id TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, segment TEXT NOT NULL,
    PRIMARY KEY (publish_id, first_seq));
"""


@dataclass(frozen=True)
class Spooled:
    """A publication in the spool. n_left, bytes_left: chunks that are on no broker yet. at: seconds since 1970.

    announcement: the body of its event as it was kept; None while it is being published, or was given up.
    """

    publish_id: str
    topic: Topic
    at: float
    n_left: int
    bytes_left: int
    announcement: bytes | None


class Spool:
    """folder: made with mode 0700 at the first append. max_bytes: of the file. Many processes may use it."""

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.max_bytes, self._clock = Path(folder), max_bytes, clock
        self.path = self.folder / "spool.db"
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._incarnation = ""

    # ---- putting in

    def append(self, topic: Topic, partition: int, publish_id: str, stretch: Sequence[tuple[int, bytes]]) -> Segment:
        """On disk when it returns. stretch: (seq, body), ascending. Raises TopicFull (nothing was stored)."""
        size = sum(len(body) for _, body in stretch)
        with self._changing() as db:
            self._check_room(db, size)
            self._note(db, publish_id, topic)
            db.executemany(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)", ((publish_id, seq, body) for seq, body in stretch)
            )
        first, last = stretch[0][0], stretch[-1][0]
        return Segment(SPOOL, topic.full_name, self._incarnation, partition, publish_id, first, last)

    def keep(self, topic: Topic, publish_id: str, announcement: bytes) -> None:
        """The announcement, to be made once every chunk is on a broker; again replaces it."""
        with self._changing() as db:
            self._note(db, publish_id, topic)
            db.execute("UPDATE publications SET announcement = ? WHERE publish_id = ?", (announcement, publish_id))

    def note_sent(self, publish_id: str, first_seq: int, last_seq: int, segment: Segment) -> None:
        """Chunks that a broker has acknowledged. They stay until the announcement is out: a topic may be lost."""
        with self._changing() as db:
            db.execute(
                "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?)",
                (publish_id, first_seq, last_seq, json.dumps(segment.to_dict())),
            )

    def forget_sent(self, publish_id: str) -> None:
        """Their topic is gone: every chunk is to be sent again."""
        with self._changing() as db:
            db.execute("DELETE FROM sent WHERE publish_id = ?", (publish_id,))

    def drop(self, publish_id: str) -> None:
        if not self.path.exists():
            return
        with self._changing() as db:
            for table in ("chunks", "sent", "publications"):
                db.execute(f"DELETE FROM {table} WHERE publish_id = ?", (publish_id,))  # noqa: S608 - of a fixed list
        with self._errors(), self._lock:
            self._opened().execute("PRAGMA incremental_vacuum").fetchall()

    def sweep(self) -> list[str]:
        """Drop what nobody announced in seven days: its publisher is gone, and would begin anew. Their publish_ids."""
        old = [
            one.publish_id
            for one in self.publications()
            if one.announcement is None and one.at < self._clock() - KEEP_UNANNOUNCED_S
        ]
        for publish_id in old:
            self.drop(publish_id)
        return old

    # ---- looking

    def publications(self) -> list[Spooled]:
        """In the order in which they came."""
        if not self.path.exists():
            return []
        with self._errors(), self._lock:
            rows = (
                self._opened()
                .execute(
                    "SELECT p.publish_id, p.topic, p.at, p.announcement, count(c.seq), "
                    "coalesce(sum(length(c.body)), 0) FROM publications p LEFT JOIN chunks c "
                    "ON c.publish_id = p.publish_id AND NOT EXISTS (SELECT 1 FROM sent s WHERE "
                    "s.publish_id = c.publish_id AND c.seq BETWEEN s.first_seq AND s.last_seq) "
                    "GROUP BY p.place ORDER BY p.place"
                )
                .fetchall()
            )
        return [Spooled(row[0], Topic.parse(row[1]), row[2], row[4], row[5], row[3]) for row in rows]

    def has_announced(self) -> bool:
        """Whether something waits to be sent on. One look at the folder where nothing was ever kept, and by a
        connection of its own, which is not set up for writing, where something was: it is asked every few seconds.
        """
        if not self.path.exists():
            return False
        query = "SELECT 1 FROM publications WHERE announcement IS NOT NULL LIMIT 1"
        with (
            self._errors(),
            contextlib.closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True)) as db,
        ):
            return db.execute(query).fetchone() is not None

    def unsent(self, publish_id: str, max_bytes: int) -> list[tuple[int, bytes]]:
        """The next (seq, body) that no broker has, without a gap between their numbers, up to max_bytes."""
        stretch: list[tuple[int, bytes]] = []
        size = 0
        with self._errors(), self._lock:
            rows = self._opened().execute(
                "SELECT seq, body FROM chunks c WHERE publish_id = ? AND NOT EXISTS (SELECT 1 FROM sent s WHERE "
                "s.publish_id = c.publish_id AND c.seq BETWEEN s.first_seq AND s.last_seq) ORDER BY seq",
                (publish_id,),
            )
            for seq, body in rows:
                if stretch and (seq != stretch[-1][0] + 1 or size + len(body) > max_bytes):
                    break
                stretch.append((seq, body))
                size += len(body)
            rows.close()
        return stretch

    def sent(self, publish_id: str) -> list[tuple[int, int, Segment]]:
        """(first seq, last seq, where they are), ascending."""
        with self._errors(), self._lock:
            rows = (
                self._opened()
                .execute(
                    "SELECT first_seq, last_seq, segment FROM sent WHERE publish_id = ? ORDER BY first_seq",
                    (publish_id,),
                )
                .fetchall()
            )
        return [(first, last, Segment.from_dict(json.loads(text))) for first, last, text in rows]

    @property
    def used_bytes(self) -> int:
        if not self.path.exists():
            return 0
        with self._errors(), self._lock:
            return self._used(self._opened())

    @contextlib.contextmanager
    def one_forwarder(self) -> Iterator[bool]:
        """False where another process is at it. Gone with its holder, however that ends."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / ".forward.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def close(self) -> None:
        with self._lock:
            if self._db is not None and self._pid == os.getpid():
                self._db.close()
            self._db = None

    # ---- the file

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as problem:
            raise mapped(problem, str(self.path)) from problem

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._errors(), self._lock:
            db = self._opened()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == os.getpid() and self.path.exists():
            return self._db
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(self.folder / ".create.lock"):
            self._pid = os.getpid()
            db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)
            self.path.chmod(0o600)
            db.execute("PRAGMA page_size=16384")
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA journal_size_limit=67108864")
            db.executescript(_SCHEMA)
            row = db.execute("SELECT incarnation FROM facts").fetchone()
            if row is None:
                row = (uuid.uuid4().hex,)
                db.execute("INSERT INTO facts VALUES (?)", row)
        self._incarnation = row[0]
        self._db = db
        return db

    def _note(self, db: sqlite3.Connection, publish_id: str, topic: Topic) -> None:
        db.execute(
            "INSERT OR IGNORE INTO publications (publish_id, topic, at) VALUES (?, ?, ?)",
            (publish_id, topic.full_name, self._clock()),
        )

    def _used(self, db: sqlite3.Connection) -> int:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _check_room(self, db: sqlite3.Connection, size: int) -> None:
        used = self._used(db)
        if used + size > self.max_bytes - RESERVE_BYTES:
            raise TopicFull(
                where=f"the spool {self.path}",
                expected=f"room for {size:,} bytes more below {self.max_bytes:,}",
                got=f"{used:,} in it already, and no broker to send them to",
                repair="Nothing is lost. Bring a broker back and run `vcf-pipeline spool drain`, or raise "
                "VCF_PIPELINE_STREAM__SPOOL_BYTES; then publish again: it goes on where it stopped.",
            )
