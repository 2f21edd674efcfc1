"""A database without room for another checkpoint, as it says so itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
import torch
from sqlalchemy import Engine, event, text

from service.database import sessions
from service.entries import encode
from tests.service.learning import Model, eventually, samples

MOST_PAGES = 2**30
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON state_tensors EXECUTE FUNCTION refuse()
"""


@pytest.fixture
def fill(engine: Engine) -> Callable[[], Callable[[], None]]:
    """Leaves no room for another state, and returns what makes room again."""
    most_pages = [MOST_PAGES]

    def set_most_pages(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {most_pages[-1]}")

    if engine.dialect.name == "sqlite":
        event.listen(engine, "checkout", set_most_pages)  # before a learner's thread goes through the listeners

    def fill_sqlite() -> Callable[[], None]:
        with engine.connect() as connection:
            most_pages.append(connection.execute(text("PRAGMA page_count")).scalar_one())
        return lambda: most_pages.append(MOST_PAGES)

    def run(statements: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(statements))

    def fill_postgresql() -> Callable[[], None]:
        run(REFUSE)
        return lambda: run("DROP TRIGGER refuse ON state_tensors")

    return fill_sqlite if engine.dialect.name == "sqlite" else fill_postgresql


@pytest.fixture
def model(engine: Engine, client: redis.Redis, redis_url: str) -> Iterator[Model]:
    model = Model(sessions(engine), client, redis_url, hidden=[128, 128])  # a state of many pages
    yield model
    model.stop()


def test_a_learner_whose_checkpoints_find_no_room_tries_again_until_they_do(
    model: Model, fill: Callable[[], Callable[[], None]]
) -> None:
    blocks = [samples(8, seed=seed) for seed in range(4)]
    learner = model.start(checkpoint_samples=1)
    [first] = model.post(blocks[0])
    eventually(partial(model.is_checkpointed, first))
    make_room = fill()
    model.applied(model.post(blocks[1])[-1])
    eventually(lambda: learner.status.startswith("retrying"))
    assert any(why in learner.status for why in ("database or disk is full", "No space left on device"))
    last = model.post(*blocks[2:])[-1]
    model.applied(last)
    assert model.position is not None
    assert model.position.entry == first
    make_room()
    eventually(partial(model.is_checkpointed, last))
    model.stop()
    assert model.position.samples_learned == 32
    expected = model.folded([encode(block) for block in blocks]).tensors
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state.tensors.items())
