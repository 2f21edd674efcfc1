"""What a learner writes: checkpoints beside the learning, the log cut to what they need, and where it goes on from them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import redis
from sqlalchemy import delete, update

from service import redis_keys as keys
from service.database import Sessions
from service.entries import Snapshot, encode
from service.entry_id import ORIGIN
from service.repositories import checkpoints, leases, models
from service.shadows import add_shadow
from service.tables import CheckpointRow, TensorRow
from tests.service.learning import Model, dead, eventually, same, samples


@pytest.fixture
def model(create: Callable[..., Model]) -> Model:
    return create()


def test_a_checkpoint_is_written_while_learning_goes_on(model: Model) -> None:
    [entry] = model.post(samples(8))
    model.start()
    eventually(lambda: model.position is not None and model.position.entry == entry)


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


def test_the_log_is_trimmed_by_time_alone(create: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    model = create(retain_s=1000)
    model.start(checkpoints_kept=1)
    eventually(partial(model.is_checkpointed, model.post(*(samples(1, seed=seed) for seed in range(3)))[-1]))
    assert model.stream.counts() == (3, 3)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2000)
    eventually(lambda: model.stream.counts() == (3, 1))


def test_time_alone_trims_nothing_that_recovery_needs(create: Callable[..., Model], factory: Sessions) -> None:
    model = create(retain_s=0)
    with factory() as session:
        assert checkpoints.oldest(session, model.id) == ORIGIN
    model.start(checkpoint_s=0.05, checkpoints_kept=3)
    entries = [model.post(samples(1, seed=seed))[-1] for seed in range(3)]
    for seed, entry in enumerate(entries):
        eventually(partial(model.is_checkpointed, entry))
        entries.append(model.post(samples(1, seed=3 + seed))[-1])
        if seed == 2:
            break
    eventually(partial(model.is_checkpointed, entries[-1]))
    model.stop()
    with factory() as session:
        kept = [one.position.entry for one in checkpoints.checkpoints(session, model.id)]
        assert checkpoints.oldest(session, model.id) == kept[-1]
    assert model.stream.first() == kept[-1]


def test_a_log_kept_for_ever_is_never_trimmed(create: Callable[..., Model]) -> None:
    model = create(retain_s=1e308)
    model.start(checkpoint_samples=1, checkpoints_kept=1)
    for seed in range(3):
        eventually(partial(model.is_checkpointed, model.post(samples(1, seed=seed))[-1]))
    model.stop()
    assert model.stream.counts() == (3, 3)


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


def test_a_stop_in_the_middle_of_what_was_read_ends_after_the_current_entry_and_loses_nothing(
    model: Model, factory: Sessions
) -> None:
    blocks = [encode(samples(8, seed=seed)) for seed in range(20)]
    learner = model.start(checkpoint_s=1000.0, lease_s=1000.0)
    eventually(lambda: learner.status == "learning")
    with factory.begin() as session:  # holds back the snapshot's checkpoint, and with it the learner
        leases.hold(session, model.id, 1, lease_s=1000.0)
        ids = model.append(blocks[0], b"garbage", encode(Snapshot("here", "x")), *blocks[1:])
        eventually(partial(dead, model.stream))
        learner.stop()
    model.stop()
    assert model.position is not None
    assert model.position.entry in ids[1:3]
    model.start()
    model.applied(ids[-1])
    model.stop()
    assert same(model.state, model.folded(blocks))


def test_no_log_is_trimmed_between_a_shadows_first_look_at_it_and_its_first_checkpoint(
    model: Model, factory: Sessions
) -> None:
    def renewed() -> bool:
        with factory.begin() as session:
            return leases.hold(session, model.id, 1, lease_s=10)

    with factory.begin() as session:
        assert leases.take(session, model.id, holder="a", lease_s=10) == 1
    spec = model.spec.model_copy(update={"shadow_of": model.name})
    with ThreadPoolExecutor() as pool, factory.begin() as session:
        add_shadow(session, spec, model_id=str(uuid.uuid4()), name="shadow")
        renewal = pool.submit(renewed)
        time.sleep(0.3)
        assert not renewal.done()
        session.commit()
        assert renewal.result(20)
