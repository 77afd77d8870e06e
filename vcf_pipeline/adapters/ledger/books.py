"""The books of calls and answers, written in groups: one thread a process, one transaction for all that waits.

A commit is a flush to the disk, as long as tens of entries take to write: what is asked for while one is under way is
written together by the next. The end of a call waits a moment for the beginning of the call that takes its place. Not
here: what an entry means (answers.py, calls.py, domain/annotation/spending.py).
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vcf_pipeline.adapters.ledger.answers import Answers, Key, add_hits, key_of, store_answers
from vcf_pipeline.adapters.ledger.calls import Gone, Reservations, lock
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.holder import Holder
from vcf_pipeline.domain.annotation.spending import Bought, Entry, Look, Reserve, Settle, Written
from vcf_pipeline.domain.errors import StoreUnavailable

_GROUPS_AT_A_TIME = 500
_LAST_WORDS_S = 60.0
_JOIN_S = 0.003


@dataclass
class _Group:
    entries: tuple[Entry, ...]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Written]]


class _Lookup(Answers):
    def __init__(self, database: Database) -> None:
        self.database = database


class LedgerBooks:
    """Implements the Books of adapters/providers/port.py on the ledger's database.

    commits, groups: how many transactions there were, and how many groups of entries they wrote.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner = uuid.uuid4().hex
        self._gone = Gone()
        self._waiting: deque[_Group] = deque()
        self._hits: Counter[Key] = Counter()
        self._wake = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self.commits, self.groups = 0, 0

    async def find(
        self, tenant: str, subjects: Sequence[str], models: Sequence[tuple[str, str]], prompt_version: str
    ) -> dict[str, list[Bought]]:
        return await asyncio.to_thread(_Lookup(self._database).find_answers, tenant, subjects, models, prompt_version)

    def write(self, *entries: Entry) -> asyncio.Future[list[Written]]:
        loop = asyncio.get_running_loop()
        group = _Group(entries, loop, loop.create_future())
        with self._wake:
            if self._is_closed:
                raise StoreUnavailable(where="books of calls", expected="open ones", got="closed ones")
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_books, daemon=True, name="books of calls")
                self._thread.start()
            self._waiting.append(group)
            self._wake.notify()
        return group.future

    def count_hits(self, found: Sequence[Bought]) -> None:
        with self._wake:
            self._hits.update(map(key_of, found))

    async def close(self) -> None:
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """`close`, for who has no loop."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_S)
        if self._hits:
            with self._database.writing() as connection:
                add_hits(connection, self._taken_hits(), self._database.now(connection))

    def _keep_books(self) -> None:
        me = Holder.of_this_process().to_text()
        while True:
            with self._wake:
                while not self._waiting and not self._is_closed:
                    self._wake.wait()
                if not self._waiting:
                    return
                self._wake.wait_for(self._is_worth_a_commit, _JOIN_S)
                groups = [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUPS_AT_A_TIME))]
            hits = self._taken_hits()
            try:
                written: list[list[Written]] | BaseException = self._write_all(groups, hits, me)
            except BaseException as error:
                written = error
                with self._wake:
                    self._hits.update(hits)
            self._tell(groups, written)

    def _is_worth_a_commit(self) -> bool:
        """Whether a call is waiting to leave. What only ends gives its place to the next call: they go together."""
        return self._is_closed or any(
            isinstance(entry, Reserve | Look) for group in self._waiting for entry in group.entries
        )

    def _write_all(self, groups: Sequence[_Group], hits: dict[Key, int], me: str) -> list[list[Written]]:
        entries = [entry for group in groups for entry in group.entries]
        with self._database.writing() as connection:
            lock(connection)
            now = self._database.now(connection)
            calls = Reservations(connection, self._owner, me, self._gone, now)
            calls.read(entries)
            written = [[_written(entry, calls) for entry in group.entries] for group in groups]
            calls.write()
            store_answers(connection, [one for one in entries if isinstance(one, Bought)], now)
            add_hits(connection, hits, now)
        self.commits += 1
        self.groups += len(groups)
        return written

    def _taken_hits(self) -> dict[Key, int]:
        with self._wake:
            hits = dict(self._hits)
            self._hits.clear()
        return hits

    def _tell(self, groups: Sequence[_Group], written: list[list[Written]] | BaseException) -> None:
        """One visit to each loop, for all that waits there."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Written]], int]]] = {}
        for at, group in enumerate(groups):
            by_loop.setdefault(group.loop, []).append((group.future, at))
        for loop, futures in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolver(futures, written))
            except RuntimeError:
                continue  # that loop is over: nobody waits there any more, and what was written stays


def _resolver(
    futures: Sequence[tuple[asyncio.Future[list[Written]], int]], written: list[list[Written]] | BaseException
) -> Callable[[], None]:
    def resolve() -> None:
        for future, at in futures:
            if future.done():
                continue
            if isinstance(written, BaseException):
                future.set_exception(written)
            else:
                future.set_result(written[at])

    return resolve


def _written(entry: Entry, calls: Reservations) -> Written:
    match entry:
        case Reserve():
            return calls.reserve(entry)
        case Look():
            return calls.look(entry.wanted)
        case Settle():
            calls.settle(entry)
        case Bought():
            calls.note(entry)
    return None
