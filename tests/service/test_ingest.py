"""Accepting samples: how posts become blocks, and that each is answered with the entries that hold its samples."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import entries
from service import redis_keys as keys
from service.append import Limits
from service.catalog import Model
from service.entries import Samples
from service.entry_id import ORIGIN, EntryId
from service.idempotency import IdempotencyKey
from service.ingest import Ingest
from service.problems import Invalid, TooMany, Unavailable, UnknownModel
from service.redis_clients import async_client
from service.repositories import models
from service.services import Services
from service.settings import Settings
from service.spec import ModelSpec
from service.spec_fields import BlockSpec
from service.stream import ModelStream
from tests.service.api import assembled

T = TypeVar("T")
Scenario = Callable[[Ingest, Model], Awaitable[T]]

FOREVER_MS = 10_000.0
LIMITS = Limits(ttl_ms=60_000, most=100)


class Log:
    """Models without learners: what is appended stays in the stream."""

    def __init__(self, services: Services, redis_url: str) -> None:
        self.services = services
        self._redis_url = redis_url

    def model(self, *, size: int = 4, wait_ms: float = 1.0) -> Model:
        spec = ModelSpec(inputs=1, classes=["no", "yes"], block=BlockSpec(size=size, wait_ms=wait_ms))
        return self.services.catalog.create(str(uuid.uuid4()), spec)[0]

    def run(self, model: Model, scenario: Scenario[T], limits: Limits = LIMITS) -> T:
        async def bounded() -> T:
            async with async_client(self._redis_url) as client, asyncio.timeout(30):
                ingest = Ingest(client, self.services.catalog, limits)
                result = await scenario(ingest, model)
                await asyncio.sleep(0)
                assert vars(ingest)["_batchers"] == {}, "nothing is kept for models without posts"
                return result

        return asyncio.run(bounded())

    def blocks(self, model: Model) -> dict[str, list[float]]:
        """What the entries hold, oldest first."""
        return {entry: block.x[:, 0].tolist() for entry, block in self.samples(model).items()}

    def samples(self, model: Model) -> dict[str, Samples]:
        found: dict[str, Samples] = {}
        stream, after = ModelStream(self.services.sync_redis, model.id), ORIGIN
        while page := stream.read(after, block=False):
            for entry, payload in page:
                block = entries.decode(payload, inputs=1)
                assert isinstance(block, Samples)
                found[str(entry)] = block
            after = page[-1][0]
        return found


@pytest.fixture(scope="module")
def log(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    path = tmp_path_factory.mktemp("ingest")
    services = assembled(Settings(data_dir=path, role="api"), redis_url, f"sqlite:///{path / 'a.db'}")
    yield Log(services, redis_url)
    services.engine.dispose()
    services.sync_redis.close()


def post(*values: float, weight: Sequence[float] | None = None) -> Samples:
    x = np.array(values, np.float32).reshape(-1, 1)
    return Samples(x, ["yes"] * len(values), None if weight is None else np.array(weight, np.float32))


def key(name: str, owner: str = "owner") -> IdempotencyKey:
    return IdempotencyKey(owner, name)


async def accepted(ingest: Ingest, model: Model, samples: Samples, key: IdempotencyKey | None) -> list[str]:
    return (await ingest.post(model, samples, key)).entries


def together(*posts: Samples, keyed: Sequence[IdempotencyKey | None] = ()) -> Scenario[list[Any]]:
    """Posts that arrive at the same time, and their answers or errors."""

    async def scenario(ingest: Ingest, model: Model) -> list[Any]:
        names = [*keyed, *[None] * (len(posts) - len(keyed))]
        calls = (accepted(ingest, model, samples, name) for samples, name in zip(posts, names, strict=True))
        return await asyncio.gather(*calls, return_exceptions=True)

    return scenario


# Blocks


def test_large_posts_are_kept_in_order_and_recognised_too(log: Log) -> None:
    model, values = log.model(size=2**15), list(map(float, range(2**16)))

    async def one_after_the_other(ingest: Ingest, model: Model) -> list[Any]:
        posts = [(values, "a"), ([-1.0], None), (values, "a"), ([-2.0, *values[1:]], "a")]
        return [
            (
                await asyncio.gather(
                    accepted(ingest, model, post(*x), None if name is None else key(name)), return_exceptions=True
                )
            )[0]
            for x, name in posts
        ]

    first, small, again, other = log.run(model, one_after_the_other)
    assert first == again
    assert list(log.blocks(model).values()) == [values[: 2**15], values[2**15 :], [-1.0]]
    assert list(log.blocks(model)) == [*first, *small]
    assert isinstance(other, Invalid)


def test_single_posts_that_arrive_together_share_a_block(log: Log) -> None:
    model = log.model(size=4)
    answers = log.run(model, together(post(1), post(2), post(3), post(4)))
    [entry] = log.blocks(model)
    assert answers == [[entry]] * 4
    assert log.blocks(model) == {entry: [1, 2, 3, 4]}


def test_a_larger_post_is_cut_in_order(log: Log) -> None:
    model = log.model(size=4)
    [answer] = log.run(model, together(post(*range(10))))
    assert log.blocks(model) == dict(zip(answer, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], strict=True))


def test_blocks_span_posts_and_each_post_names_the_entries_that_hold_it(log: Log) -> None:
    model = log.model(size=4)
    first, second, third = log.run(model, together(post(1, 2, 3), post(4, 5), post(6, 7, 8)))
    a, b = log.blocks(model)
    assert log.blocks(model) == {a: [1, 2, 3, 4], b: [5, 6, 7, 8]}
    assert (first, second, third) == ([a], [a, b], [b])


def test_entries_are_in_the_order_of_their_ids(log: Log) -> None:
    model = log.model(size=1)
    answers = log.run(model, together(*map(post, range(50))))
    ids = [EntryId.parse(entry) for [entry] in answers]
    assert ids == sorted(ids)
    assert list(log.blocks(model).values()) == [[value] for value in range(50)]


def test_posts_wait_for_a_full_block(log: Log) -> None:
    model = log.model(size=4, wait_ms=FOREVER_MS)

    async def scenario(ingest: Ingest, model: Model) -> list[list[str]]:
        waiting = [asyncio.create_task(accepted(ingest, model, post(value), None)) for value in (1, 2, 3)]
        other = log.model(size=1)
        await accepted(ingest, other, post(0), None)  # goes all the way to Redis and back meanwhile
        assert not any(task.done() for task in waiting)
        assert log.blocks(model) == {}
        return [*[await accepted(ingest, model, post(4), None)], *[await task for task in waiting]]

    answers = log.run(model, scenario)
    [entry] = log.blocks(model)
    assert answers == [[entry]] * 4


def test_a_full_block_waits_for_nobody(log: Log) -> None:
    model = log.model(size=4, wait_ms=FOREVER_MS)
    assert log.run(model, together(post(1, 2, 3, 4))) == [list(log.blocks(model))]


def test_a_post_that_is_alone_goes_after_its_wait(log: Log) -> None:
    for wait_ms in (0, 5):
        model = log.model(size=4, wait_ms=wait_ms)
        assert log.run(model, together(post(1))) == [list(log.blocks(model))]


def test_weights_and_none_share_a_block(log: Log) -> None:
    model = log.model(size=4)
    log.run(model, together(post(1), post(2, weight=[3]), post(3)))
    [block] = log.samples(model).values()
    assert block.weights().tolist() == [1, 3, 1]


def test_a_request_that_is_cancelled_loses_nobody_elses_post(log: Log) -> None:
    model = log.model(size=4, wait_ms=FOREVER_MS)

    async def scenario(ingest: Ingest, model: Model) -> list[Any]:
        tasks = [asyncio.create_task(accepted(ingest, model, post(value), None)) for value in (1, 2, 3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await accepted(ingest, model, post(4), None)
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = log.run(model, scenario)
    [entry] = log.blocks(model)
    assert isinstance(second, asyncio.CancelledError)
    assert first == third == [entry]
    assert set(log.blocks(model)[entry]) >= {1, 3, 4}


@settings(max_examples=30, deadline=None)
@given(
    rounds=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=3), size=st.integers(1, 5)
)
def test_blocks_hold_at_most_size_samples_and_together_all_posts_in_order(
    log: Log, rounds: list[list[int]], size: int
) -> None:
    model = log.model(size=size, wait_ms=0)
    values = iter(range(1_000))
    posts = [[post(*(next(values) for _ in range(n))) for n in together_] for together_ in rounds]

    async def scenario(ingest: Ingest, model: Model) -> list[list[list[str]]]:
        return [await together(*arriving)(ingest, model) for arriving in posts]

    answers = log.run(model, scenario)
    blocks = log.blocks(model)
    sent = [part.x[:, 0].tolist() for arriving in posts for part in arriving]
    assert all(1 <= len(block) <= size for block in blocks.values())
    assert [*chain(*blocks.values())] == [*chain(*sent)]
    for values_of_post, named in zip(sent, chain(*answers), strict=True):
        holding = [entry for entry, block in blocks.items() if set(block) & set(values_of_post)]
        assert named == holding


# Idempotency


def test_two_posts_with_one_key_at_the_same_time_are_appended_once(log: Log) -> None:
    model = log.model(size=4)
    first, again, other = log.run(model, together(post(1), post(1), post(2), keyed=[key("k"), key("k")]))
    assert first == again
    assert sorted(chain(*log.blocks(model).values())) == [1, 2]
    assert other in ([entry] for entry in log.blocks(model))


def test_two_payloads_under_one_key_at_the_same_time_are_one_accepted_and_one_refused(log: Log) -> None:
    model = log.model(size=4)
    first, second = log.run(model, together(post(1), post(2), keyed=[key("k"), key("k")]))
    assert log.blocks(model) == {first[0]: [1]}
    assert isinstance(second, Invalid)
    assert (second.kind, second.errors[0].field) == ("idempotency-key-reused", "Idempotency-Key")


def test_seen_and_new_posts_mix_in_a_batch(log: Log) -> None:
    model = log.model(size=2)
    [seen] = log.run(model, together(post(1, 2, 3), keyed=[key("seen")]))
    keyed = [None, key("seen"), key("new"), key("seen")]
    posts = [post(4), post(1, 2, 3), post(5), post(9)]
    unkeyed, again, new, reused = log.run(model, together(*posts, keyed=keyed))
    assert again == seen
    assert isinstance(reused, Invalid)
    assert unkeyed == new
    assert list(log.blocks(model).values()) == [[1, 2], [3], [4, 5]]


def test_owners_and_models_have_keys_of_their_own(log: Log) -> None:
    model, other = log.model(), log.model()
    owners = [key("k", "a"), key("k", "b")]
    first, second = log.run(model, together(post(1), post(2), keyed=owners))
    assert first == second  # one block
    [elsewhere] = log.run(other, together(post(3), keyed=[key("k", "a")]))
    assert log.blocks(other) == {elsewhere[0]: [3]}


def test_beyond_the_cap_only_posts_with_new_keys_are_refused(log: Log) -> None:
    model = log.model()
    limits = Limits(ttl_ms=30_000, most=1)
    [seen] = log.run(model, together(post(1), keyed=[key("1")]), limits)
    again, new, unkeyed = log.run(model, together(post(1), post(2), post(3), keyed=[key("1"), key("2")]), limits)
    assert again == seen
    assert isinstance(new, TooMany)
    assert new.retry_after_s == 3
    assert list(log.blocks(model).values()) == [[1], [3]]
    assert unkeyed == [list(log.blocks(model))[1]]


def test_an_expired_key_is_forgotten(log: Log) -> None:
    model = log.model()
    limits = Limits(ttl_ms=0, most=1)
    first, second = (log.run(model, together(post(value), keyed=[key("k")]), limits)[0] for value in (1, 2))
    assert log.blocks(model) == {first[0]: [1], second[0]: [2]}


# What goes wrong


def test_every_post_hears_of_an_error_that_nobody_expected(log: Log) -> None:
    model = log.model(size=4)
    unpackable = Samples(np.ones((1, 1), np.float32), [2**70], None)
    answers = log.run(model, together(post(1), unpackable))
    assert [type(answer) for answer in answers] == [OverflowError, OverflowError]
    assert log.blocks(model) == {}
    assert log.run(model, together(post(2))) == [list(log.blocks(model))]


def test_a_deleted_model_is_unknown(log: Log) -> None:
    model = log.model()
    log.services.catalog.delete(model)
    answers = log.run(model, together(post(1), post(2)))
    assert [type(answer) for answer in answers] == [UnknownModel, UnknownModel]


def test_a_stream_that_redis_lost_is_unavailable_and_says_what_to_do(log: Log) -> None:
    model = log.model()
    log.run(model, together(post(1)))
    ModelStream(log.services.sync_redis, model.id).delete()
    [answer] = log.run(model, together(post(2)))
    assert isinstance(answer, Unavailable)
    assert "accept-loss" in answer.detail
    assert answer.retry_after_s == 10
    assert log.blocks(model) == {}


def test_a_stream_that_was_replaced_is_found_by_the_next_post(log: Log) -> None:
    model = log.model()
    with log.services.sessions.begin() as session:
        row = models.by_id(session, model.id)
        assert row is not None
        row.stream_uuid = "another"
    log.services.sync_redis.set(keys.stream_uuid(model.id), "another")

    async def scenario(ingest: Ingest, model: Model) -> Any:
        [first] = await together(post(1))(ingest, model)
        current = await log.services.catalog.get(model.name)
        return first, await accepted(ingest, current, post(2), None)

    first, second = log.run(model, scenario)
    assert isinstance(first, Unavailable)
    assert "replaced" in first.detail
    assert log.blocks(model) == {second[0]: [2]}
