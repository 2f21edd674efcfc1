"""kill -9 at every step of taking the lease, checkpoint, adopt, trim and shutdown, on both databases.

A forked child folds the stream and kills itself at the named point; then a learner of this process goes on.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import torch
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from service.database import connect, sessions
from service.entries import Adopt, Snapshot
from service.fold import Fold
from service.learner import ModelLearner
from service.publications import Publications
from service.redis_clients import sync_client
from service.reign import Realm
from service.repositories import checkpoints, leases, models
from service.settings import Settings
from service.stream import ModelStream
from tests.service.learning import Model, dead, samples

FUNCTIONS: dict[str, tuple[Any, str]] = {
    "take-lease": (leases, "take"),
    "hold-lease": (leases, "hold"),
    "add-state": (checkpoints, "add_state"),
    "add-checkpoint": (checkpoints, "add_checkpoint"),
    "add-snapshot": (checkpoints, "add_snapshot"),
    "record-command": (models, "record_command"),
    "prune": (checkpoints, "prune"),
    "trim": (ModelStream, "trim"),
    "adopt": (Fold, "_adopt"),
    "dead-letter": (ModelStream, "bury"),
    "release-lease": (leases, "release"),
}
POINTS = [f"{when} {name}" for name in FUNCTIONS for when in ("before", "after")] + ["before commit", "after commit"]
GARBAGE = b"\xc1 not an entry"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, call: int) -> None:
    """Makes this process kill itself at the `call`-th passing of the point."""
    when, name = point.split()
    passed = 0

    def passing() -> None:
        nonlocal passed
        passed += 1
        if passed == call:
            die()

    if name == "commit":
        event.listen(Session, f"{when}_commit", lambda _: passing())
        return
    owner, attribute = FUNCTIONS[name]
    function = getattr(owner, attribute)

    def dying(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            passing()
        result = function(*arguments, **options)
        if when == "after":
            passing()
        return result

    setattr(owner, attribute, dying)


def fold_until_death(model: Model, database_url: str, redis_url: str, last: Any, point: str, call: int) -> int:
    """Runs a learner in a forked child, which stops once it has applied everything. Returns: the child's wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        arm(point, call)
        publications = Publications()
        stopping = threading.Event()
        client = sync_client(redis_url)
        settings = Settings(checkpoint_samples=1, checkpoint_s=1000.0)
        factory = sessions(connect(database_url))
        realm = Realm(model.id, settings, factory, ModelStream(client, model.id), publications, stopping)
        learner = ModelLearner(realm, holder="child")
        learner.start()
        while (version := publications.current(model.id)) is None or version.applied_entry < last:
            learner.join(0.005)
        learner.stop()
        learner.join()
    finally:
        os._exit(0)


@pytest.fixture
def create(engine: Engine, database_url: str, redis_url: str) -> Iterator[Callable[[], Model]]:
    client: redis.Redis = sync_client(redis_url)
    made: list[Model] = []

    def create_model() -> Model:
        made.append(Model(sessions(engine), client, redis_url, retain_s=0))
        return made[-1]

    yield create_model
    for model in made:
        model.stop()
    client.close()


@pytest.mark.parametrize("call", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("point", POINTS)
def test_a_learner_killed_at_any_step_is_continued_exactly(
    create: Callable[[], Model], database_url: str, redis_url: str, point: str, call: int
) -> None:
    """The state in the end is that of a model whose learner was never killed."""
    spared, killed = create(), create()
    for model in (spared, killed):
        model.start()
        model.applied(model.post(samples(8), Snapshot("one", "x"))[-1])
        model.stop()
        with model.sessions() as session:
            found = checkpoints.snapshot(session, model.id, "one")
        assert found is not None
        adopt = Adopt(found[0].state_id, "snapshot one", "x")
        model.post(samples(5, seed=1), samples(8, seed=2))
        model.append(GARBAGE)
        last = model.post(samples(3, seed=3), adopt, samples(8, seed=4), Snapshot("two", "x"), samples(8, seed=5))[-1]
        if model is killed:
            status = fold_until_death(model, database_url, redis_url, last, point, call)
            reached = os.WIFSIGNALED(status)
            assert reached or call == 2, "the point was never passed"
        model.start(holder="child")  # the same name: it need not wait for the lease to end
        model.applied(last)
        model.stop()
        assert model.position is not None
        assert (model.position.entry, model.position.entries_applied, model.position.samples_learned) == (last, 10, 40)
        assert [cause.split(":")[0] for _, cause, _ in dead(model.stream)] == ["not msgpack"]
        with model.sessions() as session:
            snapshots = checkpoints.snapshots(session, model.id)
        assert [(row.name, row.samples_learned) for row, _ in snapshots] == [("one", 8), ("two", 32)]

    assert spared.state.tensors.keys() == killed.state.tensors.keys()
    for name, tensor in spared.state.tensors.items():
        assert torch.equal(tensor, killed.state.tensors[name]), name
    with spared.sessions() as session:
        digests = [[row.digest for _, row in checkpoints.snapshots(session, m.id)] for m in (spared, killed)]
    assert digests[0] == digests[1]
