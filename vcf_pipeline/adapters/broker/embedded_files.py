"""The files under the embedded log: making a database whole, one thread's connection to it, SQLite's errors
mapped.

Not here: topics, offsets and messages (embedded.py).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from vcf_pipeline.domain.errors import (
    BrokerTimeout,
    BrokerUnavailable,
    MessageTooLarge,
    PipelineError,
    TopicFull,
)

PAGE_BYTES = 16_384
_PRIMARY_CODE = 0xFF
_inherited: list[sqlite3.Connection] = []
"""What a forked child got from its parent: kept, so that nobody closes it."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
    incarnation TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ends (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (place INTEGER PRIMARY KEY, at REAL NOT NULL, body BLOB NOT NULL);
"""


def mapped(problem: sqlite3.Error | OSError, where: str) -> PipelineError:
    """What SQLite or the file system says, in words of the tree."""
    text = str(problem)
    if isinstance(problem, OSError):
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            return TopicFull(where=where, got=text, repair="Free space on the disk of VCF_PIPELINE_HOME.")
        return BrokerUnavailable(where=where, got=text, repair="Check that the folder can be written.")
    code = (getattr(problem, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BrokerTimeout(where=where, got="the log is locked by another writer", repair="Try again.")
    if code == sqlite3.SQLITE_FULL:
        return TopicFull(where=where, got=text, repair="Free space on the disk of VCF_PIPELINE_HOME.")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BrokerUnavailable(
            where=where,
            got=f"the log is damaged: {text}",
            repair="Move it away with its -wal and -shm: a new log is made, and senders publish again.",
        )
    if code == sqlite3.SQLITE_TOOBIG:
        return MessageTooLarge(where=where, got=text)
    return BrokerUnavailable(where=where, got=f"{type(problem).__name__}: {text}")


class Connection:
    """One thread's connection to one database, and the file that it was opened on."""

    def __init__(self, path: Path, busy_s: float, max_bytes: int | None) -> None:
        self.pid = os.getpid()
        self.file = path.stat().st_ino
        self.data_version = -1
        self.db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("PRAGMA wal_autocheckpoint=2000")
        self.db.execute("PRAGMA journal_size_limit=67108864")
        if max_bytes is not None:
            self.db.execute(f"PRAGMA max_page_count={max(1, max_bytes // PAGE_BYTES)}")
        self.topics: dict[str, tuple[int, int, str]] = {}

    def has_changed(self) -> bool:
        """Whether another connection has committed since the last call: the cheap half of an idle poll."""
        (version,) = self.db.execute("PRAGMA data_version").fetchone()
        changed = bool(version != self.data_version)
        self.data_version = version
        return changed

    def __del__(self) -> None:
        if not hasattr(self, "db"):
            return
        if self.pid == os.getpid():
            self.db.close()
        else:  # a forked child must not close it, and freeing it would
            _inherited.append(self.db)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Held by the process: gone with it, however it ends."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def create(path: Path) -> None:
    """A new database appears whole: made beside, then renamed."""
    fresh = path.with_suffix(".new")
    for leftover in (fresh, fresh.with_name(fresh.name + "-wal"), fresh.with_name(fresh.name + "-shm")):
        leftover.unlink(missing_ok=True)
    db = sqlite3.connect(fresh, isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA)
    finally:
        db.close()
    fresh.chmod(0o600)
    for stale in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        stale.unlink(missing_ok=True)  # of a log that was deleted: SQLite would replay it into the new one
    fresh.rename(path)
