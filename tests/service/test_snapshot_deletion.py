"""Deleting snapshots: the state goes with the last that refers to it, and never while a replay may need it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from anyio.to_thread import run_sync
from sqlalchemy import func, select

from service.catalog import Model
from service.entry_id import EntryId
from service.problems import Conflict, Problem, UnknownSnapshot
from service.repositories import checkpoints, models
from service.services import Services
from service.settings import Settings
from service.spec import ModelSpec
from service.stream import ModelStream
from service.tables import StateRow, TensorRow
from tests.service.api import assembled
from tests.service.test_snapshots import TESTER, started


@pytest.fixture
def services(settings: Settings, redis_url: str, database_url: str) -> Iterator[Services]:
    """On both databases."""
    services = assembled(settings, redis_url, database_url)
    yield services
    services.engine.dispose()


def count(services: Services, table: Any) -> int:
    with services.sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


async def deleted(services: Services, model: Model, name: str) -> None:
    await run_sync(partial(services.snapshots.delete, model, name, by=TESTER))


def trimmed(services: Services, model: Model) -> None:
    """The log lets go of everything but its last entry."""
    stream = ModelStream(services.sync_redis, model.id)
    last = stream.last()
    assert last is not None
    stream.trim(last, epoch=100)


async def moved_on(services: Services, model: Model, commands: int = 4) -> None:
    """So many commands later no checkpoint refers to earlier states."""
    for number in range(commands):
        await services.snapshots.create(model, f"later-{number}", by=TESTER)


def test_the_bytes_go_with_the_snapshot_once_no_checkpoint_refers_to_them(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        snapshot = await snapshots.create(model, "s", by=TESTER)
        await moved_on(services, model)
        states, tensors = count(services, StateRow), count(services, TensorRow)
        await deleted(services, model, "s")
        assert (count(services, StateRow), count(services, TensorRow)) == (states - 1, tensors * (states - 1) / states)
        with services.sessions() as session:
            assert checkpoints.state(session, model.id, snapshot.state_id) is None
        with pytest.raises(UnknownSnapshot):
            await snapshots.restore(model, "s", by=TESTER)

    asyncio.run(started(services, scenario))


def test_a_state_that_a_checkpoint_refers_to_stays_with_it(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        await snapshots.create(model, "s", by=TESTER)
        states = count(services, StateRow)
        await deleted(services, model, "s")
        assert count(services, StateRow) == states
        await moved_on(services, model)
        assert count(services, StateRow) == 4

    asyncio.run(started(services, scenario))


def test_an_adopted_snapshot_can_be_deleted_once_the_log_has_let_go_of_the_entry(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        await snapshots.create(model, "s", by=TESTER)
        entry = await snapshots.restore(model, "s", by=TESTER)
        await moved_on(services, model)
        with pytest.raises(Conflict, match=str(entry)):
            await deleted(services, model, "s")
        trimmed(services, model)
        await deleted(services, model, "s")

    asyncio.run(started(services, scenario))


def test_a_snapshot_whose_adoption_nobody_has_applied_yet_is_not_deleted(services: Services) -> None:
    async def first(snapshots: Any, model: Model) -> None:
        await snapshots.create(model, "s", by=TESTER)
        assert services.supervisor is not None
        await run_sync(services.supervisor.stop)
        snapshots._wait_s = 0.0
        with pytest.raises(Problem, match="will be when the learner gets there"):
            await snapshots.restore(model, "s", by=TESTER)
        with services.sessions() as session:
            assert models.adoptions(session, model.id, snapshots.get(model, "s").state_id) == []
        with pytest.raises(Conflict, match="a replay would need it"):
            await deleted(services, model, "s")
        assert snapshots.get(model, "s").name == "s"

    asyncio.run(started(services, first))


def test_a_restore_and_a_deletion_at_the_same_time_leave_a_model_that_can_be_replayed(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        for number in range(8):
            name = f"s{number}"
            await snapshots.create(model, name, by=TESTER)
            answers: Any = await asyncio.gather(
                snapshots.restore(model, name, by=TESTER), deleted(services, model, name), return_exceptions=True
            )
            restored, gone = answers
            if isinstance(gone, Conflict):
                assert isinstance(restored, EntryId)
                snapshots.get(model, name)
            else:
                assert gone is None
                assert isinstance(restored, UnknownSnapshot)

    asyncio.run(started(services, scenario))


def test_a_snapshot_of_that_name_of_another_model_stays(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        other, _ = services.catalog.create("other", ModelSpec(inputs=1, hidden=[2], classes=[0, 1]))
        await snapshots.create(model, "s", by=TESTER)
        kept = await snapshots.create(other, "s", by=TESTER)
        await deleted(services, model, "s")
        assert snapshots.list(other) == [kept]
        assert await snapshots.restore(other, "s", by=TESTER)

    asyncio.run(started(services, scenario))
