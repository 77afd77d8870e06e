"""The database: made once, opened quickly, and its refusals in our words."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.calls import Gone, Reservations
from vcf_pipeline.adapters.ledger.database import Database
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.annotation.spending import Bounds, Grant, Reserve, Wanted
from vcf_pipeline.domain.errors import PipelineError, StoreUnavailable
from vcf_pipeline.domain.stream.envelope import MAX_ID
from vcf_pipeline_tests.adapters.ledger.made_ledger import KEY, address, in_another_process, register


@pytest.mark.parametrize("way", ["at once", "step by step"])
def test_a_new_ledger_is_what_the_schema_says(way: str, tmp_path: Path) -> None:
    database = Database(address(tmp_path))
    if way == "at once":
        database.migrate()
    else:
        database._upgrade()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.REVISION
        inspector = sa.inspect(connection)
        for table in schema.metadata.sorted_tables:
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key], table.name
            is_nullable = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert is_nullable == {column.name: column.nullable for column in table.columns}, table.name
    database.close()


def _die_while_it_is_made(url: str) -> None:
    """With every table made, and not yet its version."""
    execute = sa.Connection.execute

    def killed(connection: sa.Connection, statement: Any, *given: Any, **more: Any) -> Any:
        if isinstance(statement, sa.Insert) and statement.table.name == "alembic_version":
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(connection, statement, *given, **more)

    sa.Connection.execute = killed  # type: ignore[method-assign]
    open_ledger(url)


def test_one_whose_maker_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    child = in_another_process(_die_while_it_is_made, address(tmp_path))
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    again = open_ledger(address(tmp_path))
    register(again)
    assert again.callset(KEY) is not None
    again.close()


def test_answers_that_were_bought_are_found_again_after_each_migration(tmp_path: Path) -> None:
    before = Database(address(tmp_path))
    _upgrade_to(before, "0003")
    values = {
        **{"tenant": "default", "subject": "s1", "model": "gpt", "prompt_version": "explain-1", "provider": "openai"},
        "answer": '{"summary": "It is known.", "cited": ["clinvar:CLNSIG"], "reading": "benign"}',
        **{"input_tokens": 10, "output_tokens": 5, "cost_microusd": 40, "latency_ms": 7},
        **{"hits": 3, "created_at": 1.0, "used_at": 2.0},
    }
    with before.writing() as connection:
        connection.execute(sa.insert(sa.table("ai_answers", *map(sa.column, values))), values)
    before.close()
    after = open_ledger(address(tmp_path))
    models = [("openai", "gpt")]
    (bought,) = after.find_answers("default", ["s1"], models, "explain-1")["s1"]
    assert (bought.answer.summary, bought.provider, bought.cost_microusd) == ("It is known.", "openai", 40)
    (share,) = after.cache_shares()
    assert (share.answers, share.hits, share.last_used_at) == (1, 3, 2.0)
    call = Reserve(
        *("call", "default", "c" * 16, "s1", "openai", "gpt", 100, Bounds(1000, 1), 70.0),
        wanted=Wanted("default", "s1", tuple(models), "explain-1"),
    )
    with after.database.writing() as connection:
        books = Reservations(connection, "me", "", Gone(), after.database.now(connection))
        books.read([call])
        assert books.reserve(call).grant is Grant.BOUGHT
    after.close()


def _upgrade_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "vcf_pipeline.adapters.ledger:migrations")
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_an_older_ledger_keeps_what_it_has_and_takes_longer_ids(tmp_path: Path) -> None:
    database = Database(address(tmp_path))
    with database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "vcf_pipeline.adapters.ledger:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        row = {"tenant": "t", "callset_id": "0" * 16, "generation": 0, "publish_id": "old", "settings_fingerprint": "f"}
        connection.execute(sa.insert(schema.claims).values(**row, holder="h", claimed_at=1.0))
    database.close()
    ledger = open_ledger(address(tmp_path))
    with ledger.database.reading() as connection:
        assert connection.execute(sa.select(schema.claims.c.publish_id)).scalar_one() == "old"
        widths = {
            (table, column["name"]): column["type"].length
            for table in ("callsets", "announcements", "claims")
            for column in sa.inspect(connection).get_columns(table)
            if column["name"] in ("publish_id", "correlation_id")
        }
        assert sa.inspect(connection).get_indexes("callsets")
    assert set(widths.values()) == {MAX_ID}
    assert len(widths) == 3
    ledger.close()


def test_a_second_opening_asks_one_question_and_migrates_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(ledger)

    def migrated(_self: Database) -> None:
        raise AssertionError("nothing is to be migrated")

    monkeypatch.setattr(Database, "_upgrade", migrated)
    again = open_ledger(address(tmp_path))
    assert again.callset(KEY) == ledger.callset(KEY)
    again.close()


def test_opening_an_existing_ledger_imports_no_alembic(ledger: Ledger, tmp_path: Path) -> None:
    child = in_another_process(_open_without_alembic, address(tmp_path))
    child.join(60)
    assert child.exitcode == 0


def _open_without_alembic(url: str) -> None:
    # this module itself imports it: what counts is what opening brings in
    for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
        del sys.modules[name]
    open_ledger(url).close()
    sys.exit(any(name.partition(".")[0] == "alembic" for name in sys.modules))


def test_many_that_open_a_new_ledger_at_once_make_it_once(tmp_path: Path) -> None:
    ledgers: list[Ledger] = []
    threads = [threading.Thread(target=lambda: ledgers.append(open_ledger(address(tmp_path)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ledgers) == 6
    register(ledgers[0])
    assert all(ledger.callset(KEY) is not None for ledger in ledgers)
    for ledger in ledgers:
        ledger.close()


def test_a_ledger_of_a_newer_program_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PipelineError) as found:
        open_ledger(address(tmp_path))
    assert found.value.code == "LEDGER_IS_NEWER"


def test_what_is_no_database_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"this is text" * 100)
    with pytest.raises(StoreUnavailable) as found:
        open_ledger(address(tmp_path))
    assert found.value.exit_code == 4


def test_a_transaction_that_raises_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.database.writing() as connection:
        connection.execute(sa.insert(schema.leases).values(name="x", fence=1, is_held=True, holder="", expires_at=0))
        raise ZeroDivisionError
    with ledger.database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.leases)).scalar_one() == 0


def test_commits_survive_a_power_cut_and_readers_never_wait(ledger: Ledger) -> None:
    with ledger.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    with ledger.database.writing():
        assert ledger.callset(KEY) is None
