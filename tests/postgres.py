"""The tests' PostgreSQL, with a migrated database to clone from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import text

from benchmarks import local_postgres
from service.database import connect, migrate

TEMPLATE = "amstream_template"


class Postgres(local_postgres.Postgres):
    def start(self) -> None:
        """Makes the cluster, the server and the template."""
        super().start()
        with self.admin() as connection:
            connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
        engine = connect(self.url(TEMPLATE))
        migrate(engine)
        engine.dispose()

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a fresh database, by default a clone of the migrated one."""
        with super().database(template) as url:
            yield url
