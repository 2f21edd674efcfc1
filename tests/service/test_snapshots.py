"""Snapshots and restores as commands in the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from service.catalog import Model
from service.keyring import Caller
from service.problems import Conflict, Invalid, Unavailable, UnknownSnapshot
from service.services import Services
from service.spec import ModelSpec
from service.tables import StateRow

TESTER = Caller("key-id", "tester", frozenset({"snapshot"}), None)


async def started(services: Services, scenario: Any, **spec: Any) -> Any:
    async with services.running():
        model, _ = services.catalog.create("m", ModelSpec(inputs=1, hidden=[2], classes=[0, 1], **spec))
        return await scenario(services.snapshots, model)


def test_two_of_one_name_at_the_same_time_are_one_snapshot_and_one_conflict(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        answers = await asyncio.gather(
            *(snapshots.create(model, "s", by=TESTER) for _ in range(2)), return_exceptions=True
        )
        [refused] = [answer for answer in answers if isinstance(answer, Conflict)]
        [created] = [answer for answer in answers if not isinstance(answer, Exception)]
        assert "'s' already" in refused.detail
        assert list(snapshots.list(model)) == [created]

    asyncio.run(started(services, scenario))


def test_names_are_checked_before_anything_is_appended(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        with pytest.raises(Invalid, match="name = 'S'"):
            await snapshots.create(model, "S", by=TESTER)
        with pytest.raises(UnknownSnapshot):
            await snapshots.restore(model, "s", by=TESTER)
        assert services.catalog.standing(model).position.entries_applied == 0

    asyncio.run(started(services, scenario))


def test_a_damaged_snapshot_is_not_restored_and_the_reason_is_told(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        snapshot = await snapshots.create(model, "s", by=TESTER)
        with services.sessions.begin() as session:
            session.execute(update(StateRow).where(StateRow.id == snapshot.state_id).values(digest="0" * 64))
        with pytest.raises(Conflict, match="snapshot s cannot be adopted: the state does not match its digest"):
            await snapshots.restore(model, "s", by=TESTER)
        after = await snapshots.create(model, "t", by=TESTER)
        assert after.model_version == snapshot.model_version + 2

    asyncio.run(started(services, scenario))


def test_snapshots_of_a_deleted_model_are_gone(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        await snapshots.create(model, "s", by=TESTER)
        services.catalog.delete(model)
        assert list(snapshots.list(model)) == []
        with pytest.raises(UnknownSnapshot):
            snapshots.get(model, "s")

    asyncio.run(started(services, scenario))


def test_a_command_outlives_the_patience_of_whoever_asked(services: Services) -> None:
    async def scenario(snapshots: Any, model: Model) -> None:
        snapshots._commands._wait_s = 0.0
        with pytest.raises(Unavailable, match="will be when the learner gets there"):
            await snapshots.create(model, "s", by=TESTER)
        while not snapshots.list(model):  # noqa: ASYNC110  the learner is another thread
            await asyncio.sleep(0.01)

    asyncio.run(started(services, scenario))
