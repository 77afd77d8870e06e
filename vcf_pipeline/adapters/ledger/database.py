"""Opening the ledger's database, its transactions and its clock; vendor errors become ours here.

Not here: what the tables mean (callsets.py, leases.py, loads.py).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.domain.errors import PermanentError, StoreUnavailable

# Writers wait for each other this long; a transaction of ours takes milliseconds.
BUSY_TIMEOUT_MS = 30_000


class Database:
    """An engine with two kinds of transaction. One per process: it is not to be carried over a fork."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.engine = sa.create_engine(self.url)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _set_up_sqlite)
            sa.event.listen(self.engine, "begin", _begin_immediate)
        self._now = sa.text(
            "SELECT (julianday('now') - 2440587.5) * 86400.0"
            if self.engine.dialect.name == "sqlite"
            else "SELECT extract(epoch FROM clock_timestamp())"
        )

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the right to write from its start, so that what it reads stays true."""
        with self._mapped(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Reads that never wait for a writer; each statement sees what is committed."""
        with (
            self._mapped(),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection

    def now(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by the database's clock: the one that all holders of leases share."""
        return float(connection.execute(self._now).scalar_one())

    def migrate(self) -> None:
        """Bring the tables to the revision of this code, once, however many processes start at the same time.

        Raises PermanentError for a ledger that newer code made.
        """
        if self._revision() == schema.REVISION:
            return
        if self.url.database is None or self.engine.dialect.name != "sqlite":
            self._upgrade()
            return
        path = Path(self.url.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".migration").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._revision() != schema.REVISION:
                # The file keeps this mode. Set here alone, under the lock: changing it does not wait for others.
                with self.reading() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                    is_empty = not sa.inspect(connection).get_table_names()
                if is_empty:
                    self._make()
                else:
                    self._upgrade()

    def _revision(self) -> str | None:
        if self.engine.dialect.name == "sqlite" and not Path(self.url.database or "").is_file():
            return None
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one())
        except OperationalError as error:
            if "no such table" in str(error):
                return None
            raise _mapped_error(error, self.url) from error
        except DatabaseError as error:
            if self.engine.dialect.name == "postgresql" and "alembic_version" in str(error):
                return None
            raise _mapped_error(error, self.url) from error

    def _make(self) -> None:
        """All tables at once: the steps to here, one by one, take ten times as long, and every new home waits."""
        version = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
        with self._mapped(), self.engine.begin() as connection:
            schema.metadata.create_all(connection, checkfirst=False)
            version.create(connection, checkfirst=False)
            connection.execute(sa.insert(version), {"version_num": schema.REVISION})

    def _upgrade(self) -> None:
        # Alembic costs a quarter of a second to import: only who has to migrate pays it.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", "vcf_pipeline.adapters.ledger:migrations")
        with self._mapped(), self.engine.begin() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise PermanentError(
                    where=f"ledger {self.url.database}",
                    expected=f"revision {schema.REVISION} or an older one",
                    got=str(error),
                    repair="A newer version of this program has used it: use that version, or another HOME.",
                    code="LEDGER_IS_NEWER",
                ) from None

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise _mapped_error(error, self.url) from error


def _mapped_error(error: SQLAlchemyError, url: sa.URL) -> StoreUnavailable:
    cause = getattr(error, "orig", None) or error
    return StoreUnavailable(
        where=f"ledger {url.render_as_string(hide_password=True)}",
        expected="a database that answers",
        got=f"{type(cause).__name__}: {cause}"[:300],
        repair="Is its disk full, or its folder gone? `vcf-pipeline doctor` looks.",
    )


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin late and upgrade, which is how two writers deadlock: we begin ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    # FULL: what was committed (a fence, a load made current) must survive a power cut, not only a kill.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    # Called in AUTOCOMMIT too, where a reader must not take the right to write.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
