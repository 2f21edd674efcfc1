"""The supervisor goes on, whatever keeps it from starting learners for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from service import supervisor as supervisors
from service.database import Sessions
from service.learner import ModelLearner
from service.meters import Meters
from service.repositories import models
from service.settings import Settings
from service.supervisor import Supervisor
from tests.service.learning import Model, eventually


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [(models, "all_models", NoConnectionFree()), (ModelLearner, "start", RuntimeError("can't start new thread"))],
)
def test_a_learner_is_started_once_it_can_be(
    create: Callable[..., Model],
    factory: Sessions,
    client: redis.Redis,
    where: Any,
    name: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = create()
    failed: list[Exception] = []
    works = getattr(where, name)

    def fails_once(*args: Any) -> Any:
        if not failed:
            failed.append(error)
            raise error
        return works(*args)

    monkeypatch.setattr(where, name, fails_once)
    monkeypatch.setattr(supervisors, "POLL_S", 0.05)
    supervisor = Supervisor(Settings(), factory, client, model.publications, holder="a", meters=Meters())
    supervisor.start()
    eventually(lambda: supervisor.statuses().get(model.id) == "learning")
    supervisor.stop()
    assert failed == [error]
