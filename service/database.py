"""Connections to the database, and its schema."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session, sessionmaker

import migrations

Sessions = sessionmaker[Session]

MIGRATION_LOCK = 7_150_414
"""PostgreSQL advisory lock under which one process at a time migrates."""

LONGEST_SILENCE_S = 60
"""PostgreSQL ends a transaction whose client says nothing for so long: a learner's machine that vanished in the middle of one
would keep its lease from the standby for hours."""


def connect(url: str) -> Engine:
    """An engine for SQLite (WAL) or PostgreSQL, whose errors tell no values. Opens no connection.

    Raises: ValueError naming the dialect for any other.
    """
    dialect = make_url(url).get_backend_name()
    if dialect == "sqlite":
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 10, "check_same_thread": False})
        event.listen(engine, "connect", _configure_sqlite)
        return engine
    if dialect == "postgresql":
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": 5})
        event.listen(engine, "connect", _configure_postgresql)
        return engine
    raise ValueError(f"database_url must be sqlite or postgresql, not {dialect!r}")


def _configure_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA page_size = 32768")  # of a new database: states are blobs of megabytes
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA wal_autocheckpoint = 125")  # 4 MB, as by default: the default counts pages, of 4096 bytes
    cursor.execute("PRAGMA secure_delete = FAST")  # or every state that is pruned is written once more, as zeros
    cursor.execute("PRAGMA synchronous = FULL")  # a checkpoint that trimmed the log must survive power loss
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _configure_postgresql(connection: Any, _: object) -> None:
    connection.execute(f"SET idle_in_transaction_session_timeout = '{LONGEST_SILENCE_S}s'")
    connection.commit()


def sessions(engine: Engine) -> Sessions:
    return sessionmaker(engine, expire_on_commit=False)


def migrate(engine: Engine) -> None:
    """Brings the schema up to date; safe when several processes start at once on PostgreSQL."""
    _run_alembic(engine, lambda config: command.upgrade(config, "head"))


def downgrade(engine: Engine, revision: str) -> None:
    """Takes the schema back to `revision`; `base` is no schema at all."""
    _run_alembic(engine, lambda config: command.downgrade(config, revision))


def _run_alembic(engine: Engine, run: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.connect() as connection, _foreign_keys_held(connection), connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        run(config)


@contextlib.contextmanager
def _foreign_keys_held(connection: Connection) -> Iterator[None]:
    """SQLite alters a table by rebuilding it: dropping the old one would delete every row that refers to it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    connection.commit()  # the pragma does nothing within a transaction
    yield
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    assert not broken, broken
