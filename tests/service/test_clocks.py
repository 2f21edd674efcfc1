"""A clock jumps an hour: samples are learned once and in order, leases fence, and keys are recognised all the same.

This process's clock is moved. Redis's cannot be; what that would leave behind is made instead: entries and expiries an hour
ahead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
import torch

from service import redis_keys as keys
from service.append import Limits, Post, Seen, append
from service.entries import Resume, Samples, encode
from service.entry_id import EntryId
from service.redis_clients import async_client
from tests.service.learning import Model, eventually, samples

HOUR_S = 3600.0
FREQUENT: dict[str, Any] = {"checkpoint_samples": 1, "checkpoints_kept": 2}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = time.time
        self.ahead_s = 0.0
        monkeypatch.setattr(time, "time", lambda: now() + self.ahead_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def check_learned(model: Model, blocks: list[Samples]) -> None:
    """All blocks, each once, in order."""
    assert model.position is not None
    assert model.position.samples_learned == sum(map(len, blocks))
    expected = model.folded([encode(block) for block in blocks]).tensors
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state.tensors.items())


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
@pytest.mark.parametrize("retain_s", [0.0, HOUR_S / 2])
def test_learning_goes_on_over_a_jump_and_the_log_keeps_what_recovery_needs(
    create: Callable[..., Model], clock: Clock, jump_s: float, retain_s: float
) -> None:
    model = create(retain_s=retain_s)
    blocks = [samples(8, seed=seed) for seed in range(9)]
    for jumped in range(3):
        model.start(holder=str(jumped), **FREQUENT)
        for number in range(3):
            if number == 1:
                clock.ahead_s += jump_s if jumped % 2 == 0 else -jump_s
            [entry] = model.post(blocks[3 * jumped + number])
            eventually(partial(model.is_checkpointed, entry))
        model.stop()
        assert model.stream.counts()[1] >= FREQUENT["checkpoints_kept"]
    check_learned(model, blocks)


def test_a_standby_whose_clock_is_ahead_takes_over_and_the_other_writes_nothing_more(
    create: Callable[..., Model], clock: Clock
) -> None:
    model = create()
    blocks = [samples(8, seed=seed) for seed in range(4)]
    first = model.start(holder="a", lease_s=600.0)
    eventually(partial(model.is_checkpointed, model.post(blocks[0])[-1]))
    clock.ahead_s = HOUR_S
    second = model.start(holder="b", lease_s=600.0)
    eventually(lambda: second.status == "learning")
    eventually(partial(model.is_checkpointed, model.post(blocks[1])[-1]))
    eventually(lambda: first.status == "standby")
    clock.ahead_s = 0.0
    eventually(partial(model.is_checkpointed, model.post(blocks[2])[-1]))
    second.stop()
    eventually(lambda: first.status == "learning")
    eventually(partial(model.is_checkpointed, model.post(blocks[3])[-1]))
    model.stop()
    check_learned(model, blocks)


def an_hour_ahead(client: redis.Redis, model: Model, *blocks: Samples) -> list[EntryId]:
    """Appends as a Redis does whose clock is set back an hour afterwards."""
    ms = int((time.time() + HOUR_S) * 1000)
    stream = keys.stream(model.id)
    ids: list[Any] = [
        client.xadd(stream, {keys.FIELD: encode(block)}, id=f"{ms + number}-0") for number, block in enumerate(blocks)
    ]
    return [EntryId.parse(entry) for entry in ids]


def test_entries_stay_in_order_when_the_clock_of_redis_is_set_back(
    create: Callable[..., Model], client: redis.Redis
) -> None:
    model = create(retain_s=0)
    blocks = [samples(8, seed=seed) for seed in range(6)]
    early = an_hour_ahead(client, model, *blocks[:2])
    model.start(**FREQUENT)
    eventually(partial(model.is_checkpointed, early[-1]))
    late = model.post(*blocks[2:4])
    assert [*early, *late] == sorted(early + late)
    eventually(partial(model.is_checkpointed, late[-1]))
    model.stop()
    model.start(holder="b", **FREQUENT)
    eventually(partial(model.is_checkpointed, model.post(*blocks[4:])[-1]))
    model.stop()
    check_learned(model, blocks)


def test_a_log_restarted_after_its_clock_was_set_back_goes_on_behind_the_last_entry(
    create: Callable[..., Model], client: redis.Redis
) -> None:
    model = create()
    checkpointed, last = an_hour_ahead(client, model, samples(1), samples(1, seed=1))
    marker = model.stream.restart("the-log", encode(Resume()), after=checkpointed, entries_added=2)
    assert last < marker < model.post(samples(1))[0]


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
def test_a_repeated_post_is_recognised_after_the_clock_of_redis_jumped_by_less_than_keys_are_kept(
    create: Callable[..., Model], client: redis.Redis, redis_url: str, jump_s: float
) -> None:
    model = create()

    async def post() -> list[str] | dict[str, Seen]:
        limits = Limits(ttl_ms=int(2 * HOUR_S * 1000), most=10)
        async with async_client(redis_url) as connection:
            return await append(connection, model.id, "the-log", [b"block"], [Post("key", "digest", 0, 0)], limits)

    first = asyncio.run(post())
    assert isinstance(first, list)
    client.zincrby(keys.idempotency_expiry(model.id), -jump_s * 1000, "key")
    assert asyncio.run(post()) == {"key": Seen("digest", first)}
    assert model.stream.counts() == (1, 1)
