from __future__ import annotations

import asyncio
import uuid

import pytest
import redis

from service import redis_keys as keys
from service.append import AppendFull, Limits, Post, Seen, StreamGone, append
from service.entry_id import ORIGIN, EntryId
from service.redis_clients import async_client
from service.stream import READ_COUNT, ModelStream
from tests.service.learning import dead

LIMITS = Limits(ttl_ms=60_000, most=5)
UUID = "the-log"


@pytest.fixture
def stream(client: redis.Redis) -> ModelStream:
    stream = ModelStream(client, str(uuid.uuid4()))
    stream.create(UUID)
    return stream


def appended(
    redis_url: str,
    stream: ModelStream,
    blocks: list[bytes],
    posts: list[Post] | None = None,
    limits: Limits = LIMITS,
    known: str = UUID,
) -> list[str] | dict[str, Seen]:
    async def run() -> list[str] | dict[str, Seen]:
        async with async_client(redis_url) as client:
            return await append(client, stream._model_id, known, blocks, posts or [], limits)

    return asyncio.run(run())


def test_blocks_come_back_in_order_under_the_ids_that_append_named(redis_url: str, stream: ModelStream) -> None:
    blocks = [bytes([i]) for i in range(READ_COUNT + 5)]
    ids = appended(redis_url, stream, blocks)
    first = stream.read(ORIGIN, block=False)
    rest = stream.read(first[-1][0], block=False)
    assert [payload for _, payload in first + rest] == blocks
    assert [str(entry) for entry, _ in first + rest] == ids
    assert stream.counts() == (len(blocks), len(blocks))
    assert stream.last() == rest[-1][0]


def test_a_repeated_key_appends_nothing_and_names_the_earlier_entries(redis_url: str, stream: ModelStream) -> None:
    ids = appended(redis_url, stream, [b"a", b"b"], [Post("k", "digest", 0, 1)])
    again = appended(redis_url, stream, [b"a", b"b", b"new"], [Post("k", "other", 0, 1), Post("k2", "d", 2, 2)])
    assert isinstance(ids, list)
    assert again == {"k": Seen("digest", ids)}
    assert stream.counts() == (2, 2)


def test_a_key_is_forgotten_after_its_time(redis_url: str, stream: ModelStream) -> None:
    post = [Post("k", "digest", 0, 0)]
    first = appended(redis_url, stream, [b"a"], post, Limits(ttl_ms=0, most=5))
    second = appended(redis_url, stream, [b"a"], post)
    assert isinstance(second, list)
    assert second != first


def test_more_keys_than_the_cap_are_refused_whole(redis_url: str, stream: ModelStream) -> None:
    appended(redis_url, stream, [b"a"], [Post(f"k{i}", "d", 0, 0) for i in range(4)])
    with pytest.raises(AppendFull):
        appended(redis_url, stream, [b"b"], [Post("x", "d", 0, 0), Post("y", "d", 0, 0)])
    assert stream.counts() == (1, 1)
    assert isinstance(appended(redis_url, stream, [b"c"]), list)  # posts without a key are not concerned


def test_nothing_is_appended_to_another_log_than_the_known_one(redis_url: str, stream: ModelStream) -> None:
    with pytest.raises(StreamGone):
        appended(redis_url, stream, [b"a"], known="another")
    stream.delete()
    with pytest.raises(StreamGone):
        appended(redis_url, stream, [b"a"])
    assert stream.counts() == (0, 0)


def test_trimming_keeps_the_named_entry_and_what_follows(redis_url: str, stream: ModelStream) -> None:
    ids = appended(redis_url, stream, [b"a", b"b", b"c"])
    assert isinstance(ids, list)
    stream.trim(EntryId.parse(ids[1]), epoch=1)
    assert [payload for _, payload in stream.read(ORIGIN, block=False)] == [b"b", b"c"]
    assert stream.counts() == (3, 2)
    assert stream.holds(EntryId.parse(ids[1]))
    assert not stream.holds(EntryId.parse(ids[0]))


def test_a_lower_epoch_no_longer_trims(redis_url: str, stream: ModelStream) -> None:
    ids = appended(redis_url, stream, [b"a", b"b"])
    assert isinstance(ids, list)
    stream.trim(ORIGIN, epoch=2)
    stream.trim(EntryId.parse(ids[1]), epoch=1)
    assert stream.counts() == (2, 2)


def test_burying_an_entry_twice_leaves_one_dead_letter(stream: ModelStream) -> None:
    stream.bury(EntryId(5, 1), b"bytes", "cause")
    stream.bury(EntryId(6, 0), b"more", "another")
    stream.bury(EntryId(5, 1), b"bytes", "cause")
    assert dead(stream) == [(EntryId(5, 1), "cause", b"bytes"), (EntryId(6, 0), "another", b"more")]


def test_an_entry_without_our_field_comes_back_as_bytes_that_do_not_decode(
    client: redis.Redis, stream: ModelStream
) -> None:
    client.xadd(keys.stream(stream._model_id), {"foreign": "x"})
    [(_, payload)] = stream.read(ORIGIN, block=False)
    assert b"foreign" in payload


def test_a_restarted_log_goes_on_counting_and_comes_after_what_was_applied(redis_url: str, stream: ModelStream) -> None:
    appended(redis_url, stream, [b"a", b"b"])
    marker = stream.restart("new-log", b"marker", after=EntryId(2**41, 7), entries_added=3)
    assert marker > EntryId(2**41, 7)
    assert stream.counts() == (3, 1)
    assert stream.uuid() == "new-log"
    ids = appended(redis_url, stream, [b"c"], known="new-log")
    assert isinstance(ids, list)
    assert EntryId.parse(ids[0]) > marker
    assert stream.counts() == (4, 2)


def test_deleting_leaves_no_key_of_the_model(client: redis.Redis, redis_url: str, stream: ModelStream) -> None:
    appended(redis_url, stream, [b"a"], [Post("k", "d", 0, 0)])
    stream.bury(EntryId(1, 1), b"x", "y")
    stream.trim(ORIGIN, epoch=1)
    stream.delete()
    assert list(client.scan_iter(f"*{stream._model_id}*")) == []


def test_what_is_kept_for_a_time_is_forgotten(client: redis.Redis, redis_url: str, stream: ModelStream) -> None:
    model_id = stream._model_id
    for number in range(1500):
        past = number < 1200
        name = f"p{number}"
        client.hset(keys.predictions(model_id), name, "x")
        client.hset(keys.outcomes(model_id), name, "x")
        client.zadd(keys.predictions_expiry(model_id), {name: 1 if past else 2**53})
    appended(redis_url, stream, [b"a"], [Post("old", "d", 0, 0)], Limits(ttl_ms=0, most=5))
    stream.forget_expired()
    for key in (keys.predictions, keys.outcomes):
        assert client.hlen(key(model_id)) == 300
    assert client.zcard(keys.predictions_expiry(model_id)) == 300
    assert not client.hlen(keys.idempotency(model_id))
    assert not client.zcard(keys.idempotency_expiry(model_id))
