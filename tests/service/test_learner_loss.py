"""A learner refuses to go on over a loss, says so, and goes on once it is accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from sqlalchemy import update

from service import redis_keys as keys
from service.database import Sessions
from service.entries import Snapshot, encode
from service.loss import accept_loss
from service.problems import Conflict
from service.repositories import leases
from service.tables import ModelRow, TensorRow
from tests.service.learning import Model, eventually, same, samples


@pytest.fixture
def model(create: Callable[..., Model]) -> Model:
    return create()


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


def test_a_learner_refuses_when_every_checkpoint_is_damaged(model: Model, factory: Sessions) -> None:
    model.start()
    model.applied(model.post(samples(8))[-1])
    model.stop()
    with factory.begin() as session:
        session.execute(update(TensorRow).where(TensorRow.name == "A.1").values(data=b"\0" * 80))
    learner = model.start()
    eventually(lambda: learner.status.startswith("refused"))
    assert "tensor 'A.1' does not match its sha256" in learner.status


def test_a_loss_is_accepted_only_where_there_is_one(model: Model, factory: Sessions, client: redis.Redis) -> None:
    model.post(samples(8))
    with pytest.raises(Conflict, match="nothing is lost"):
        accept_loss(factory, client, model.name)
    model.start()
    eventually(lambda: model.position is not None)
    model.stop()
    first = model.stream.last()
    model.post(samples(5), samples(3))
    with pytest.raises(Conflict, match="nothing is lost"):
        accept_loss(factory, client, model.name)
    assert model.stream.counts() == (3, 3)
    client.xdel(keys.stream(model.id), str(first))
    accepted = accept_loss(factory, client, model.name)
    assert (accepted.position.samples_learned, accepted.discarded, accepted.unlearned) == (8, 2, 8)
