"""A learner folds its model's stream, alone, beside another one, and over what goes wrong."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.aside import stored_state
from service.database import Sessions
from service.embedded import EmbeddedValkey
from service.entries import Adopt, Samples, Snapshot, encode
from service.fold import Fold
from service.redis_clients import sync_client
from service.repositories import checkpoints, leases, models
from service.state import FoldState
from tests.service.learning import Model, eventually, same, samples


@pytest.fixture
def model(create: Callable[..., Model]) -> Model:
    return create()


def test_what_is_learned_is_the_fold_of_the_entries_bit_for_bit(model: Model) -> None:
    blocks = [samples(n, seed=n) for n in (1, 5, 8, 64, 3)]
    last = model.post(*blocks)[-1]
    model.start()
    model.applied(last)
    model.stop()
    assert model.position is not None
    assert (model.position.entry, model.position.entries_applied, model.position.samples_learned) == (last, 5, 81)
    assert same(model.state, model.folded([encode(block) for block in blocks]))


def test_a_learner_goes_on_from_the_newest_checkpoint(model: Model) -> None:
    blocks = [samples(8, seed=seed) for seed in range(6)]
    model.start()
    model.applied(model.post(*blocks[:3])[-1])
    model.stop()
    model.start(holder="b")
    model.applied(model.post(*blocks[3:])[-1])
    model.stop()
    assert model.position is not None
    assert model.position.samples_learned == 48
    assert same(model.state, model.folded([encode(block) for block in blocks]))


def test_entries_that_do_not_decode_become_dead_letters_and_learning_goes_on(model: Model) -> None:
    good, later = samples(4, seed=1), samples(4, seed=2)
    undeclared = Samples(np.zeros((1, 3), np.float32), ["maybe"], None)
    payloads = [encode(good), b"\xc1garbage", encode(undeclared), encode(later)]
    ids = model.append(*payloads)
    model.start()
    model.applied(ids[-1])
    model.stop()
    assert [(entry, payload) for entry, _, payload in model.stream.dead()] == list(
        zip(ids[1:3], payloads[1:3], strict=True)
    )
    assert ["not msgpack" in model.stream.dead()[0][1], "'maybe'" in model.stream.dead()[1][1]] == [True, True]
    assert model.position is not None
    assert (model.position.entries_applied, model.position.samples_learned) == (4, 8)
    assert same(model.state, model.folded([payloads[0], payloads[3]]))


def test_an_update_that_is_not_finite_is_discarded_whole_and_dead_lettered(create: Callable[..., Model]) -> None:
    model = create(scale="none")
    good = samples(4)
    poison = Samples(np.full((2, 3), 1e30, np.float32), ["yes", "no"], None)
    ids = model.post(good, poison)
    model.start()
    model.applied(ids[-1])
    model.stop()
    [(entry, cause, payload)] = model.stream.dead()
    assert (entry, cause, payload) == (ids[1], "the update was not finite", encode(poison))
    assert model.position is not None
    assert model.position.samples_learned == 4
    assert same(model.state, model.folded([encode(good)]))


def test_a_second_learner_stands_by_and_takes_over_when_the_first_ends(model: Model) -> None:
    first = model.start(holder="a", lease_s=30.0)
    eventually(lambda: first.status == "learning")
    second = model.start(holder="b", lease_s=30.0)
    eventually(lambda: second.status == "standby")
    model.applied(model.post(samples(8))[-1])
    first.stop()
    eventually(lambda: second.status == "learning")
    last = model.post(samples(8, seed=1))[-1]
    model.applied(last)
    model.stop()
    assert model.position is not None
    assert model.position.samples_learned == 16


def test_a_learner_that_takes_longer_than_a_lease_for_what_it_read_keeps_the_lease(
    model: Model, factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Fold.apply

    def slowly(*args: Any, **others: Any) -> Any:
        time.sleep(0.12)
        return apply(*args, **others)

    monkeypatch.setattr(Fold, "apply", slowly)
    last = model.post(*(samples(4, seed=seed) for seed in range(30)))[-1]
    model.start(holder="a", lease_s=2.0)
    model.start(holder="b", lease_s=2.0)
    model.applied(last)
    with factory() as session:
        lease = leases.of(session, model.id)
    assert lease is not None
    assert lease.epoch == 1


def test_a_learner_whose_lease_was_taken_writes_nothing_more(model: Model, factory: Sessions) -> None:
    first = model.start(holder="a", checkpoint_s=1000.0, lease_s=1000.0)
    model.applied(model.post(samples(8))[-1])
    with factory.begin() as session:
        leases.seize(session, model.id)
        taken = leases.take(session, model.id, holder="b", lease_s=1000.0)
    first.stop()  # asks for a last checkpoint, which the new epoch fences
    first.join(20)
    assert taken is not None
    assert model.position is None


def test_a_snapshot_names_the_state_at_its_entry_and_adopt_goes_back_to_it(model: Model, factory: Sessions) -> None:
    blocks = [samples(8, seed=seed) for seed in range(3)]
    model.start()
    [_, entry] = model.post(blocks[0], Snapshot("one", "somebody"))
    model.applied(entry)
    with factory() as session:
        found = checkpoints.snapshot(session, model.id, "one")
    assert found is not None
    snapshot, _ = found
    assert (snapshot.entry, snapshot.samples_learned) == (str(entry), 8)
    ids = model.post(blocks[1], Adopt(snapshot.state_id, "snapshot one", "somebody"), blocks[2])
    model.applied(ids[-1])
    model.stop()
    assert model.position is not None
    assert (model.position.entries_applied, model.position.samples_learned) == (5, 24)  # these go on counting
    assert same(model.state, model.folded([encode(blocks[0]), encode(blocks[2])]))


def test_a_command_that_cannot_be_applied_is_recorded_with_its_reason(model: Model, factory: Sessions) -> None:
    model.start()
    [entry, second, twice] = model.post(
        Adopt(str(uuid.uuid4()), "snapshot gone", "x"), Snapshot("one", "x"), Snapshot("one", "x")
    )
    model.applied(twice)
    with factory() as session:
        rows = [models.command(session, model.id, e) for e in (entry, second, twice)]
    errors = [row.error if row else "no row" for row in rows]
    assert errors[0] is not None
    assert "there is no stored state" in errors[0]
    assert errors[1:] == [None, "there is a snapshot 'one' already"]


def test_a_deleted_model_ends_its_learner(model: Model, factory: Sessions) -> None:
    learner = model.start(lease_s=0.3)
    eventually(lambda: learner.status == "learning")
    with factory.begin() as session:
        models.remove(session, model.id)
    learner.join(20)
    assert learner.status == "gone"


def test_a_model_deleted_while_its_learner_recovers_ends_it(
    model: Model, factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.start()
    model.applied(model.post(samples(8))[-1])
    model.stop()

    def delete_first(sessions: Sessions, model_id: str, state_id: str) -> FoldState:
        with sessions.begin() as session:
            models.remove(session, model_id)
        return stored_state(sessions, model_id, state_id)

    monkeypatch.setattr("service.reign.stored_state", delete_first)
    learner = model.start()
    learner.join(20)
    assert learner.status == "gone"


def test_learning_goes_on_after_redis_was_away(factory: Sessions, tmp_path: Path) -> None:
    directory = tmp_path / "valkey"
    directory.mkdir()
    valkey = EmbeddedValkey(directory)
    valkey.start()
    client = sync_client(valkey.url)
    model = Model(factory, client, valkey.url)
    learner = model.start()
    model.applied(model.post(samples(8))[-1])
    valkey.stop()
    eventually(lambda: learner.status.startswith("retrying"))
    valkey = EmbeddedValkey(directory)
    valkey.start()
    model.applied(model.post(samples(8, seed=1))[-1])
    model.stop()
    client.close()
    valkey.stop()
    assert model.position is not None
    assert model.position.samples_learned == 16
    assert same(model.state, model.folded([encode(samples(8)), encode(samples(8, seed=1))]))
