"""Appending to the log of a model, idempotently: what was posted under a key is there once. Commands of Redis 7.0 only.

Errors: `redis.RedisError` for what may pass by itself; `StreamGone` when this is not the log that the database knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from service import redis_keys as keys
from service.redis_clients import FORGET_EXPIRED, run_script


class StreamGone(Exception):
    """The stream's UUID in Redis is missing or another: Redis lost its data, or the model was deleted."""


@dataclass(frozen=True)
class Post:
    """One idempotent post within an append: its key's field, its payload's digest, and the blocks that hold its samples."""

    field: str
    digest: str
    first_block: int
    last_block: int


@dataclass(frozen=True)
class Seen:
    """What an earlier post with the same key was."""

    digest: str
    entries: list[str]


class AppendFull(Exception):
    """The model remembers as many Idempotency-Keys as it may."""


# KEYS: stream, uuid, idempotency, idempotency-expiry, samples-added
# ARGV: uuid, ttl in ms, most keys, number of blocks, per block its bytes and number of samples, then per post: field, digest,
# first block, last block
_APPEND = (
    FORGET_EXPIRED
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'gone'} end
forget_expired(now, KEYS[4], KEYS[3])
local blocks = tonumber(ARGV[4])
local first = 5 + 2 * blocks
local seen = {'seen'}
local posts = 0
for i = first, #ARGV, 4 do
  posts = posts + 1
  local known = redis.call('HGET', KEYS[3], ARGV[i])
  if known then
    seen[#seen + 1] = ARGV[i]
    seen[#seen + 1] = known
  end
end
if #seen > 1 then return seen end
if posts > 0 and redis.call('ZCARD', KEYS[4]) + posts > tonumber(ARGV[3]) then return {'full'} end
local ids = {'ok'}
for b = 1, blocks do
  local n = ARGV[4 + 2 * b]
  local before = redis.call('INCRBY', KEYS[5], n) - n
  ids[b + 1] = redis.call('XADD', KEYS[1], '*', 'e', ARGV[3 + 2 * b], 's', before)
end
for i = first, #ARGV, 4 do
  local own = {ARGV[i + 1]}
  for b = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]) do own[#own + 1] = ids[b + 2] end
  redis.call('HSET', KEYS[3], ARGV[i], table.concat(own, ' '))
  redis.call('ZADD', KEYS[4], now + tonumber(ARGV[2]), ARGV[i])
end
return ids
"""
)


@dataclass(frozen=True)
class Limits:
    """For Idempotency-Keys: how long one is remembered, and how many per model."""

    ttl_ms: int
    most: int


async def append(
    client: redis.asyncio.Redis,
    model_id: str,
    stream_uuid: str,
    blocks: Sequence[bytes],
    posts: Sequence[Post],
    limits: Limits,
    *,
    samples: Sequence[int] | None = None,
    wait_aof: bool = False,
) -> list[str] | dict[str, Seen]:
    """All blocks, or none, in one script.

    Args:
        samples: in each block; None for none, as in commands.
        wait_aof: return only once the server has synced its append-only file.
    Returns: the entry IDs of the blocks; or, when the keys of some posts were seen before, those posts by field, and then
        nothing was appended.
    Raises: StreamGone; AppendFull; redis.RedisError, after which it is unknown whether the blocks were appended.
    """
    script_keys = [
        keys.stream(model_id),
        keys.stream_uuid(model_id),
        keys.idempotency(model_id),
        keys.idempotency_expiry(model_id),
        keys.samples_added(model_id),
    ]
    arguments: list[bytes | str | int] = [stream_uuid, limits.ttl_ms, limits.most, len(blocks)]
    for block, n in zip(blocks, samples or [0] * len(blocks), strict=True):
        arguments += [block, n]
    for post in posts:
        arguments += [post.field, post.digest, post.first_block, post.last_block]
    status, *rest = await run_script(client, _APPEND, script_keys, arguments, wait_aof=wait_aof)
    if status == b"gone":
        raise StreamGone(f"the stream of model {model_id} is not the one that the database knows")
    if status == b"full":
        raise AppendFull
    if status == b"seen":
        return {field.decode(): _seen(value) for field, value in zip(rest[::2], rest[1::2], strict=True)}
    return [entry.decode() for entry in rest]


async def seen(client: redis.asyncio.Redis, model_id: str, field: str) -> Seen | None:
    """The earlier post under a key, by its field."""
    value: Any = await client.hget(keys.idempotency(model_id), field)
    return None if value is None else _seen(value)


def _seen(value: bytes) -> Seen:
    digest, *entries = value.decode().split(" ")
    return Seen(digest, entries)


async def entries_added(client: redis.asyncio.Redis, model_id: str) -> int:
    if not await client.exists(keys.stream(model_id)):
        return 0
    info: Any = await client.xinfo_stream(keys.stream(model_id))
    return int(info["entries-added"])
