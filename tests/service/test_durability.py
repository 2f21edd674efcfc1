from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service import redis_clients
from service.append import Limits, Post, Seen, append
from service.durability import NotDurable, must_wait_for_sync
from service.embedded import EmbeddedValkey
from service.redis_clients import async_client, sync_client
from service.stream import ModelStream


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(tmp_path)
    valkey.start()
    yield valkey
    valkey.stop()


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    client = sync_client(valkey.url)
    yield client
    client.close()


def append_synced(valkey: EmbeddedValkey) -> list[str] | dict[str, Seen]:
    async def run() -> list[str] | dict[str, Seen]:
        async with async_client(valkey.url) as client:
            post = [Post("key", "digest", 0, 0)]
            return await append(client, "model", "the-log", [b"block"], post, Limits(60_000, 10), wait_aof=True)

    return asyncio.run(run())


def test_write_never_waits(client: redis.Redis) -> None:
    assert not must_wait_for_sync(client, "write")


def test_fsync_waits_where_the_server_syncs_once_a_second(client: redis.Redis) -> None:
    assert must_wait_for_sync(client, "fsync")


def test_fsync_need_not_wait_where_every_write_is_synced(client: redis.Redis) -> None:
    client.config_set("appendfsync", "always")
    assert not must_wait_for_sync(client, "fsync")


def test_fsync_is_refused_where_nothing_is_synced(client: redis.Redis) -> None:
    client.config_set("appendonly", "no")
    with pytest.raises(NotDurable, match="appendonly yes"):
        must_wait_for_sync(client, "fsync")
    assert not must_wait_for_sync(client, "write")


def test_an_append_that_waits_is_answered_once_synced_and_so_is_its_repetition(
    valkey: EmbeddedValkey, client: redis.Redis
) -> None:
    ModelStream(client, "model").create("the-log")
    first = append_synced(valkey)
    assert isinstance(first, list)
    assert append_synced(valkey) == {"key": Seen("digest", first)}


def test_an_append_that_is_not_synced_in_time_is_an_error_and_so_is_its_repetition(
    valkey: EmbeddedValkey, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_clients, "SYNC_TIMEOUT_MS", 200)
    ModelStream(client, "model").create("the-log")
    client.config_set("appendfsync", "no")
    for _ in range(2):
        with pytest.raises(redis.TimeoutError, match="not synced"):
            append_synced(valkey)
    assert ModelStream(client, "model").counts() == (1, 1)


def test_an_adopted_server_syncs_as_its_adopter_wants(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    adopter = EmbeddedValkey(tmp_path, sync_always=True)
    adopter.start()
    assert client.config_get("appendfsync") == {"appendfsync": "always"}
    adopter.stop()
