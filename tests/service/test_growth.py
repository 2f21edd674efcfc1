"""What 500 checkpoints leave on disk, in multiples of one state; `pytest -s` prints it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import torch
from sqlalchemy import Engine, text

from service.checkpointing import Checkpointer, Due
from service.database import connect, migrate, sessions
from service.entry_id import EntryId
from service.fold import START
from service.meters import unread
from service.repositories import leases
from service.repositories.checkpoints import Position
from service.settings import Settings
from service.state import FoldState, store
from tests.postgres import Postgres
from tests.service.learning import Model

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

CHECKPOINTS = 500
KEPT = 3
TENSORS = ("A.1", "A.2", "A.3", "B.1", "B.2", "B.3", "W")


def state(seed: int) -> FoldState:
    """Of about 1 MB, which does not compress."""
    generator = torch.Generator().manual_seed(seed)
    draw = {name: torch.randn(130, 131, generator=generator, dtype=torch.float64) for name in TENSORS}
    return FoldState({"learner": "any"}, draw)


def grow(engine: Engine, client: redis.Redis, *, directory: Path | None, per_s: float | None) -> tuple[float, float]:
    """Writes the checkpoints. Returns: the most and the last size of the database, in states.

    Args: directory: of SQLite's files; None: PostgreSQL. per_s: how many to write in a second; None: as many as will go.
    """
    model = Model(sessions(engine), client, "unused")
    with model.sessions.begin() as session:
        epoch = leases.take(session, model.id, holder="a", lease_s=60.0)
    assert epoch is not None
    settings = Settings(checkpoints_kept=KEPT)
    checkpointer = Checkpointer(
        model.id,
        epoch,
        settings=settings,
        sessions=model.sessions,
        stream=model.stream,
        retain_s=0,
        written=START,
        meter=unread(),
    )
    empty = size_bytes(engine, directory)
    sizes = []
    begun = time.monotonic()
    for number in range(1, CHECKPOINTS + 1):
        checkpointer.finish(Due(state(number), Position(EntryId(number, 0), number, number)))
        sizes.append((size_bytes(engine, directory) - empty) / store(state(number)).size_bytes)
        if per_s is not None:
            time.sleep(max(0.0, begun + number / per_s - time.monotonic()))
    checkpointer.close()
    print(f"{engine.dialect.name}, per_s={per_s}: at most {max(sizes):.1f} states, {sizes[-1]:.1f} in the end")  # noqa: T201
    return max(sizes), sizes[-1]


def size_bytes(engine: Engine, directory: Path | None) -> int:
    if directory is not None:
        return sum(file.stat().st_size for file in directory.glob("amstream.db*"))
    with engine.connect() as connection:
        size: int = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    return size


def test_sqlite_keeps_the_checkpoints_one_more_and_its_write_ahead_log(tmp_path: Path, client: redis.Redis) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'amstream.db'}")
    migrate(engine)
    most, _ = grow(engine, client, directory=tmp_path, per_s=None)
    engine.dispose()
    assert most <= 4 * KEPT


@contextmanager
def naptime(postgres: Postgres, seconds: float) -> Iterator[None]:
    with postgres.admin() as connection:
        connection.execute(text(f"ALTER SYSTEM SET autovacuum_naptime = '{seconds:g}s'"))
        connection.execute(text("SELECT pg_reload_conf()"))
        yield
        connection.execute(text("ALTER SYSTEM RESET autovacuum_naptime"))
        connection.execute(text("SELECT pg_reload_conf()"))


@pytest.mark.parametrize(("naptime_s", "per_s"), [(60, 3), (1, 6)])
def test_postgresql_keeps_the_checkpoints_and_those_that_came_since_autovacuum(
    postgres: Postgres, client: redis.Redis, naptime_s: float, per_s: float
) -> None:
    """With autovacuum's defaults; and its minute sped up to a second, with the 6 checkpoints that a minute has by default."""
    with naptime(postgres, naptime_s), postgres.database() as url:
        engine = connect(url)
        most, _ = grow(engine, client, directory=None, per_s=per_s)
        engine.dispose()
    assert most <= 4 * KEPT + 2 * naptime_s * per_s
