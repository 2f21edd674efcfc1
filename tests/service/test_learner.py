from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import torch
from sqlalchemy import Engine, delete, update

from service import redis_keys as keys
from service.database import Sessions, sessions
from service.embedded import EmbeddedValkey
from service.entries import Adopt, Samples, Snapshot, encode
from service.fold import Fold
from service.loss import accept_loss
from service.repositories import checkpoints, leases, models
from service.state import FoldState
from service.stream import sync_client
from service.tables import CheckpointRow, ModelRow, TensorRow
from tests.service.learning import Model, eventually, samples


@pytest.fixture
def factory(engine: Engine) -> Sessions:
    return sessions(engine)


@pytest.fixture
def create(factory: Sessions, client: redis.Redis, redis_url: str) -> Iterator[Callable[..., Model]]:
    made: list[Model] = []

    def create_model(**spec: Any) -> Model:
        made.append(Model(factory, client, redis_url, **spec))
        return made[-1]

    yield create_model
    for model in made:
        model.stop()


@pytest.fixture
def model(create: Callable[..., Model]) -> Model:
    return create()


def same(left: FoldState, right: FoldState) -> bool:
    return left.tensors.keys() == right.tensors.keys() and all(
        torch.equal(tensor, right.tensors[name]) for name, tensor in left.tensors.items()
    )


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


def test_a_checkpoint_is_written_while_learning_goes_on(model: Model) -> None:
    [entry] = model.post(samples(8))
    model.start()
    eventually(lambda: model.position is not None and model.position.entry == entry)


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


def test_old_checkpoints_go_and_snapshots_stay(model: Model, factory: Sessions) -> None:
    model.start(checkpoint_samples=1, checkpoints_kept=2)
    model.applied(model.post(samples(1), Snapshot("kept", "x"))[-1])
    for seed in range(5):
        model.applied(model.post(samples(1, seed=seed))[-1])
    model.stop()
    with factory() as session:
        assert len(checkpoints.checkpoints(session, model.id)) == 2
        found = checkpoints.snapshot(session, model.id, "kept")
        assert found is not None
        assert checkpoints.state(session, model.id, found[0].state_id) is not None


def test_the_log_is_trimmed_to_what_recovery_needs(create: Callable[..., Model]) -> None:
    model = create(retain_s=0)
    model.start(checkpoint_samples=1, checkpoints_kept=2)
    for seed in range(6):
        last = model.post(samples(1, seed=seed))[-1]
        eventually(partial(model.is_checkpointed, last))
    model.stop()
    added, length = model.stream.counts()
    assert (added, length) == (6, 2)
    model.start()
    model.applied(model.post(samples(1))[-1])


def test_the_log_is_trimmed_though_an_older_database_was_brought_back(
    create: Callable[..., Model], client: redis.Redis
) -> None:
    model = create(retain_s=0)
    client.set(keys.epoch(model.id), 41)  # as a learner of the newer database left it
    model.start(checkpoint_samples=1, checkpoints_kept=1)
    for seed in range(3):
        eventually(partial(model.is_checkpointed, model.post(samples(1, seed=seed))[-1]))
    model.stop()
    assert model.stream.counts() == (3, 1)
    assert model.stream.epoch() == 42


def test_the_log_is_kept_for_as_long_as_the_spec_says(model: Model) -> None:
    model.start(checkpoint_samples=1, checkpoints_kept=1)
    for seed in range(3):
        model.applied(model.post(samples(1, seed=seed))[-1])
    model.stop()
    assert model.stream.counts() == (3, 3)


def test_a_learner_refuses_when_redis_lost_the_stream_and_goes_on_once_that_is_accepted(
    model: Model, factory: Sessions, client: redis.Redis
) -> None:
    blocks = [samples(8, seed=seed) for seed in range(2)]
    model.start()
    model.applied(model.post(blocks[0])[-1])
    model.stop()
    model.stream.delete()
    learner = model.start()
    eventually(lambda: learner.status.startswith("refused"))
    assert "Redis holds no stream" in learner.status
    assert f"amstream accept-loss {model.name}" in learner.status

    def is_told() -> bool:
        with factory() as session:
            lease = leases.of(session, model.id)
        return lease is not None and lease.refusal == learner.status.removeprefix("refused: ")

    eventually(is_told)
    accepted = accept_loss(factory, client, model.name)
    assert accepted.position.samples_learned == 8
    eventually(lambda: learner.status == "learning")
    client.set(keys.stream_uuid(model.id), "the-log")  # the harness appends under this name
    model.applied(model.post(blocks[1])[-1])
    assert model.stream.counts()[0] == 3
    with factory.begin() as session:
        session.execute(update(ModelRow).where(ModelRow.id == model.id).values(stream_uuid="the-log"))
    model.stop()
    assert same(model.state, model.folded([encode(block) for block in blocks]))


def test_after_an_accepted_loss_what_is_learned_anew_is_published_though_more_entries_were_before(
    model: Model, factory: Sessions, client: redis.Redis
) -> None:
    first = model.start(holder="a", checkpoint_s=1000.0, lease_s=1000.0)
    model.applied(model.post(samples(8), Snapshot("checkpointed", "x"), *(samples(8, seed=s) for s in range(5)))[-1])
    with factory.begin() as session:
        leases.seize(session, model.id)  # the last five blocks get into no checkpoint
    first.stop()
    first.join(20)
    model.stream.delete()
    accepted = accept_loss(factory, client, model.name)
    assert accepted.position.samples_learned == 8
    model.start(holder="b")
    model.applied(accepted.position.entry)
    version = model.publications.current(model.id)
    assert version is not None
    assert (version.model_version, version.samples_learned) == (3, 8)


def test_a_learner_refuses_another_stream_than_the_known_one(model: Model) -> None:
    model.stream.create("another-log")
    learner = model.start()
    eventually(lambda: learner.status.startswith("refused"))
    assert "another stream (another-log)" in learner.status


def test_a_learner_refuses_when_the_last_entry_of_its_checkpoint_is_gone(model: Model, client: redis.Redis) -> None:
    model.start()
    model.applied(model.post(samples(8))[-1])
    model.stop()
    client.delete(keys.stream(model.id))
    model.post(samples(8))
    learner = model.start()
    eventually(lambda: learner.status.startswith("refused"))
    assert "is gone" in learner.status
    assert model.position is not None
    assert model.position.samples_learned == 8


def test_a_learner_without_a_checkpoint_refuses_a_stream_that_lost_entries(model: Model, client: redis.Redis) -> None:
    model.post(samples(8), samples(8))
    client.xtrim(keys.stream(model.id), maxlen=1, approximate=False)
    learner = model.start()
    eventually(lambda: learner.status.startswith("refused"))
    assert "1 of 2 entries are gone" in learner.status


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(model: Model, factory: Sessions) -> None:
    blocks = [samples(8, seed=seed) for seed in range(2)]
    model.start()
    for block in blocks:
        eventually(partial(model.is_checkpointed, model.post(block)[-1]))
    model.stop()
    with factory.begin() as session:
        newest = checkpoints.newest(session, model.id)
        assert newest is not None
        damaged = TensorRow.state_id == newest.state_id
        session.execute(update(TensorRow).where(damaged, TensorRow.name == "A.1").values(data=b"\0" * 80))
    model.start()
    last = model.post(samples(8, seed=2))[-1]
    eventually(partial(model.is_checkpointed, last))
    model.stop()
    assert same(model.state, model.folded([encode(samples(8, seed=seed)) for seed in range(3)]))


def test_a_snapshot_command_that_is_replayed_from_an_older_checkpoint_stays_applied(
    model: Model, factory: Sessions
) -> None:
    model.start()
    eventually(partial(model.is_checkpointed, model.post(samples(8))[-1]))
    [entry] = model.post(Snapshot("one", "x"))
    eventually(partial(model.is_checkpointed, entry))
    model.stop()
    with factory.begin() as session:
        newest = checkpoints.newest(session, model.id)
        assert newest is not None
        session.execute(delete(CheckpointRow).where(CheckpointRow.id == newest.id))
    model.start()
    model.applied(entry)
    model.stop()
    with factory() as session:
        row = models.command(session, model.id, entry)
        assert row is not None
        assert row.error is None
        assert len(checkpoints.snapshots(session, model.id)) == 1


def test_a_learner_refuses_when_every_checkpoint_is_damaged(model: Model, factory: Sessions) -> None:
    model.start()
    model.applied(model.post(samples(8))[-1])
    model.stop()
    with factory.begin() as session:
        session.execute(update(TensorRow).where(TensorRow.name == "A.1").values(data=b"\0" * 80))
    learner = model.start()
    eventually(lambda: learner.status.startswith("refused"))
    assert "tensor 'A.1' does not match its sha256" in learner.status


def test_learning_goes_on_while_a_checkpoint_is_written(model: Model, factory: Sessions) -> None:
    model.start(checkpoint_samples=1, lease_s=1000.0)
    eventually(partial(model.is_checkpointed, model.post(samples(8))[-1]))
    with factory.begin() as session:  # holds back every write to the lease, and so every checkpoint
        leases.hold(session, model.id, 1, lease_s=1000.0)
        held = model.post(*(samples(8, seed=seed) for seed in range(3)))[-1]
        model.applied(held)
        later = model.post(samples(8, seed=3))[-1]
        model.applied(later)
    eventually(partial(model.is_checkpointed, later))


def test_a_stop_in_the_middle_of_what_was_read_ends_after_the_current_entry_and_loses_nothing(
    model: Model, factory: Sessions
) -> None:
    blocks = [encode(samples(8, seed=seed)) for seed in range(20)]
    learner = model.start(checkpoint_s=1000.0, lease_s=1000.0)
    eventually(lambda: learner.status == "learning")
    with factory.begin() as session:  # holds back the snapshot's checkpoint, and with it the learner
        leases.hold(session, model.id, 1, lease_s=1000.0)
        ids = model.append(blocks[0], b"garbage", encode(Snapshot("here", "x")), *blocks[1:])
        eventually(model.stream.dead)
        learner.stop()
    model.stop()
    assert model.position is not None
    assert model.position.entry in ids[1:3]
    model.start()
    model.applied(ids[-1])
    model.stop()
    assert same(model.state, model.folded(blocks))


def test_a_deleted_model_ends_its_learner(model: Model, factory: Sessions) -> None:
    learner = model.start(lease_s=0.3)
    eventually(lambda: learner.status == "learning")
    with factory.begin() as session:
        models.remove(session, model.id)
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
