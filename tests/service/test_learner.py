"""A learner folds its model's stream, alone, beside another one, and over what goes wrong."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from service.aside import log_between, stored_state
from service.database import Sessions
from service.embedded import EmbeddedValkey
from service.entries import Adopt, Samples, Snapshot, encode
from service.entry_id import EntryId
from service.fold import Fold
from service.redis_clients import sync_client
from service.repositories import checkpoints, leases, models
from service.state import FoldState
from tests.service.learning import Model, dead, eventually, same, samples


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
    assert [(entry, payload) for entry, _, payload in dead(model.stream)] == list(
        zip(ids[1:3], payloads[1:3], strict=True)
    )
    assert ["not msgpack" in dead(model.stream)[0][1], "'maybe'" in dead(model.stream)[1][1]] == [True, True]
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
    [(entry, cause, payload)] = dead(model.stream)
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


@pytest.fixture
def slow_adopt(model: Model, monkeypatch: pytest.MonkeyPatch) -> EntryId:
    """A command that learns ten entries anew, 0.3 s each."""
    model.start(checkpoint_samples=1)
    entry, *_ = model.post(Snapshot("begin", "x"), *(samples(4, seed=seed) for seed in range(10)))
    eventually(lambda: model.is_checkpointed(entry))
    model.stop()
    with model.sessions() as session:
        found = checkpoints.snapshot(session, model.id, "begin")
    assert found is not None

    def slowly(*args: Any) -> Iterator[tuple[EntryId, bytes]]:
        for one in log_between(*args):
            time.sleep(0.3)
            yield one

    monkeypatch.setattr("service.reign.log_between", slowly)
    return model.post(Adopt(found[0].state_id, "begin", "x", str(entry)))[-1]


def test_a_command_that_takes_longer_than_a_lease_keeps_it(
    model: Model, slow_adopt: EntryId, factory: Sessions
) -> None:
    with factory() as session:
        before = leases.of(session, model.id)
    model.start(holder="a", lease_s=2.0)
    model.start(holder="b", lease_s=2.0)
    model.applied(slow_adopt)
    with factory() as session:
        lease, row = leases.of(session, model.id), models.command(session, model.id, slow_adopt)
    assert before is not None
    assert lease is not None
    assert lease.epoch == before.epoch + 1
    assert row is not None
    assert row.error is None


def test_a_stop_in_the_middle_of_a_command_leaves_it_to_the_next_start(
    model: Model, slow_adopt: EntryId, factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = model.start()
    eventually(lambda: learner.status == "learning")
    time.sleep(0.2)
    model.stop()
    with factory() as session:
        lease = leases.of(session, model.id)
        assert models.command(session, model.id, slow_adopt) is None
    assert lease is not None
    assert lease.holder is None  # a standby need not wait
    monkeypatch.undo()
    model.start()
    model.applied(slow_adopt)
    model.stop()
    assert model.position is not None
    assert model.position.samples_learned == 40
    assert same(model.state, model.folded([encode(samples(4, seed=seed)) for seed in range(10)]))


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


def test_a_checkpoint_pruned_by_who_took_the_lease_meanwhile_is_no_deletion(
    model: Model, factory: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.start()
    model.applied(model.post(samples(8))[-1])
    model.stop()
    asked_for = []

    def pruned_once(sessions: Sessions, model_id: str, state_id: str) -> FoldState:
        asked_for.append(state_id)
        return stored_state(sessions, model_id, state_id if len(asked_for) > 1 else "pruned")

    monkeypatch.setattr("service.reign.stored_state", pruned_once)
    learner = model.start()
    eventually(lambda: learner.status == "learning")
    model.applied(model.post(samples(8, seed=1))[-1])


def test_dead_letters_of_one_read_are_all_kept_in_their_order(create: Callable[..., Model]) -> None:
    model = create(scale="none")
    poison = encode(Samples(np.full((2, 3), 1e30, np.float32), ["yes", "no"], None))
    ids = model.append(encode(samples(4)), poison, b"\xc1garbage", poison, b"\xc1more")
    model.start()
    model.applied(ids[-1])
    assert [entry for entry, _, _ in dead(model.stream)] == ids[1:]


def test_of_a_model_deleted_while_it_learns_nothing_is_left(
    model: Model, factory: Sessions, client: redis.Redis
) -> None:
    learner = model.start(lease_s=0.3)
    model.applied(model.post(samples(8))[-1])
    with factory.begin() as session:
        models.remove(session, model.id)
    model.stream.delete()
    model.stream.events.say("learned", entry="1-1")
    learner.join(20)
    assert model.publications.current(model.id) is None
    assert not client.keys(f"am:*{model.id}*")


def test_a_log_that_the_database_merely_forgot_stays(model: Model, factory: Sessions) -> None:
    learner = model.start(lease_s=0.3)
    model.applied(model.post(samples(8))[-1])
    with factory.begin() as session:
        models.remove(session, model.id)
    learner.join(20)
    assert model.stream.counts() == (1, 1)


def test_a_learner_makes_room_in_a_redis_that_is_full(factory: Sessions, tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    with contextlib.closing(sync_client(valkey.url)) as client:
        model = Model(factory, client, valkey.url, retain_s=0)
        last = model.post(*(samples(64, seed=seed) for seed in range(20)))[-1]
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            client.set("more", "x")
        model.start(checkpoints_kept=1)
        eventually(lambda: model.stream.counts() == (20, 1))
        client.config_set("maxmemory", 0)
        model.stop()
        assert model.position is not None
        assert model.position.entry == last
        assert model.stream.epoch() == 1
    valkey.stop()


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
