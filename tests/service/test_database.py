from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from service.database import connect, downgrade, migrate
from service.tables import Base


def test_the_migrated_schema_is_that_of_the_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_migrations_go_up_down_and_up(engine: Engine) -> None:
    downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate(engine)
    assert {"models", "checkpoints"} <= set(inspect(engine).get_table_names())


def test_migrations_keep_what_refers_to_a_table_that_they_alter(engine: Engine) -> None:
    downgrade(engine, "0001")
    with engine.begin() as connection:
        model = "INSERT INTO models (id, name, spec, stream_uuid, created_at) VALUES ('m', 'm', '{}', 'u', 0)"
        connection.execute(text(model))
        connection.execute(text("INSERT INTO leases (model_id, epoch, expires_at) VALUES ('m', 3, 0)"))
    for change in (migrate, partial(downgrade, revision="0001"), migrate):
        change(engine)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT epoch FROM leases")) == 3
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM models"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM leases")) == 0  # foreign keys hold again


def test_two_processes_may_migrate_postgresql_at_once(postgres_url: str) -> None:
    first, second = connect(postgres_url), connect(postgres_url)
    downgrade(first, "base")
    errors: list[BaseException] = []

    def run(engine: Engine) -> None:
        try:
            migrate(engine)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(engine,)) for engine in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert "models" in inspect(first).get_table_names()
    first.dispose()
    second.dispose()


def test_sqlite_runs_in_wal_mode_with_foreign_keys_and_full_synchronisation(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.connect() as connection:
        pragmas = {
            name: connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "synchronous")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2}


def test_a_new_sqlite_database_has_large_pages_and_does_not_overwrite_what_it_frees(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    migrate(engine)
    engine.dispose()
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA page_size")) == 32768
        assert connection.scalar(text("PRAGMA secure_delete")) == 2
    engine.dispose()


def test_another_dialect_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'mysql'"):
        connect("mysql://localhost/x")


def test_what_the_database_refuses_is_said_without_its_values(engine: Engine) -> None:
    insert = text("INSERT INTO leases (model_id, epoch, expires_at, holder) VALUES ('nobody', 1, 0, :holder)")
    with engine.connect() as connection, pytest.raises(IntegrityError) as caught:
        connection.execute(insert, {"holder": "s3cret"})
    assert "s3cret" not in str(caught.value)
