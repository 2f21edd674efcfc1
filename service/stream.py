"""The log of one model in Redis: idempotent append, reading, trimming, dead letters. Commands of Redis 7.0 only.

Errors: `redis.RedisError` for what may pass by itself; `StreamGone` when this is not the log that the database knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from service import redis_keys as keys
from service.entry_id import EntryId
from service.events import EventLog

READ_BLOCK_MS = 100
READ_COUNT = 32
SOCKET_TIMEOUT_S = 5.0
SYNC_TIMEOUT_MS = 4000

# A silent retry of XADD after a lost reply would store an entry twice, so no client here ever retries by itself.
_CLIENT_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": SOCKET_TIMEOUT_S,
    "protocol": 2,
    "health_check_interval": 0,
}


def sync_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_CLIENT_OPTIONS)


def async_client(url: str, *, timeout_s: float = SOCKET_TIMEOUT_S) -> redis.asyncio.Redis:
    options = _CLIENT_OPTIONS | {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **options)


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
_APPEND = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'gone'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 1000)
if #expired > 0 then
  redis.call('ZREM', KEYS[4], unpack(expired))
  redis.call('HDEL', KEYS[3], unpack(expired))
end
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

# KEYS: stream, epoch.  ARGV: epoch, entry.  Trims only for the newest epoch that ever trimmed, and only what is not deleted.
_TRIM = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local newest = redis.call('GET', KEYS[2])
if newest and tonumber(newest) > tonumber(ARGV[1]) then return -1 end
redis.call('SET', KEYS[2], ARGV[1])
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
"""


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


async def run_script(
    client: redis.asyncio.Redis,
    script: str,
    script_keys: Sequence[str],
    arguments: Sequence[bytes | str | int],
    *,
    wait_aof: bool,
) -> Any:
    """Its reply. Args: wait_aof: return only once the server has synced its append-only file."""
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.eval(script, len(script_keys), *script_keys, *arguments)
        if wait_aof:
            pipeline.set(keys.ACKNOWLEDGED, 1)
            pipeline.waitaof(1, 0, SYNC_TIMEOUT_MS)
        reply, *synced = await pipeline.execute()
    if wait_aof and synced[-1][0] < 1:
        raise redis.TimeoutError(f"the append-only file was not synced within {SYNC_TIMEOUT_MS} ms")
    return reply


def _seen(value: bytes) -> Seen:
    digest, *entries = value.decode().split(" ")
    return Seen(digest, entries)


class ModelStream:
    """The learner's side of one model's log.

    Args: log_of: the model whose log this one is fed with, for a shadow: it never trims that.
    Attributes: events: what listeners are told.
    """

    def __init__(self, client: redis.Redis, model_id: str, *, log_of: str | None = None) -> None:
        self._client = client
        self._model_id = model_id
        self._log_of = log_of
        self._stream = keys.stream(log_of or model_id)
        self.events = EventLog(client, model_id)

    def uuid(self) -> str | None:
        value: Any = self._client.get(keys.stream_uuid(self._log_of or self._model_id))
        return None if value is None else value.decode()

    def create(self, stream_uuid: str) -> None:
        self._client.set(keys.stream_uuid(self._model_id), stream_uuid)

    def delete(self) -> None:
        self._client.delete(*keys.all_of(self._model_id))

    def read(self, after: EntryId, *, block: bool) -> list[tuple[EntryId, bytes]]:
        """The next entries after `after`, at most READ_COUNT; waits READ_BLOCK_MS for one when `block`.

        An entry without the expected field comes back as its fields' bytes, which then do not decode.
        """
        wait = READ_BLOCK_MS if block else None
        reply: Any = self._client.xread({self._stream: str(after)}, count=READ_COUNT, block=wait)
        if not reply:
            return []
        [(_, entries)] = reply
        return [(EntryId.parse(entry), _payload(fields)) for entry, fields in entries]

    def holds(self, entry: EntryId) -> bool:
        return bool(self._client.xrange(self._stream, str(entry), str(entry), count=1))

    def counts(self) -> tuple[int, int]:
        """(entries ever added, entries there now)."""
        if not self._client.exists(self._stream):
            return 0, 0
        info: Any = self._client.xinfo_stream(self._stream)
        return info["entries-added"], info["length"]

    def first(self) -> EntryId | None:
        """The oldest entry that is left."""
        entries: Any = self._client.xrange(self._stream, count=1)
        return EntryId.parse(entries[0][0]) if entries else None

    def last(self) -> EntryId | None:
        return self.last_until(None)

    def last_until(self, at: EntryId | None) -> EntryId | None:
        """The last entry not after `at`, None for any."""
        entries: Any = self._client.xrevrange(self._stream, max="+" if at is None else str(at), count=1)
        return EntryId.parse(entries[0][0]) if entries else None

    def epoch(self) -> int:
        """The highest that has trimmed, 0 when none has."""
        value: Any = self._client.get(keys.epoch(self._model_id))
        return int(value or 0)

    def trim(self, keep_from: EntryId, *, epoch: int) -> None:
        """Forgets what lies before `keep_from`, unless a newer epoch has trimmed."""
        if self._log_of is not None:
            return
        self._client.eval(_TRIM, 2, self._stream, keys.epoch(self._model_id), str(epoch), str(keep_from))

    def bury(self, entry: EntryId, payload: bytes, cause: str) -> None:
        """Adds the entry to the dead letters under its own ID; a replay that buries it again changes nothing."""
        dead = keys.dead_letters(self._model_id)
        try:
            self._client.xadd(dead, {"cause": cause, keys.FIELD: payload}, id=str(entry))
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise

    def dead(self) -> list[tuple[EntryId, str, bytes]]:
        """The dead letters: entry, cause, original bytes."""
        entries: Any = self._client.xrange(keys.dead_letters(self._model_id))
        return [(EntryId.parse(entry), f[b"cause"].decode(), f[keys.FIELD.encode()]) for entry, f in entries]

    def restart(self, stream_uuid: str, marker: bytes, *, after: EntryId, entries_added: int) -> EntryId:
        """A new log whose first entry is `marker`, counted as the entry number `entries_added`.

        Its ID is later than `after` and than every entry that Redis has given an ID to so far.
        """
        last = self.last() or after
        self.delete()
        seconds, microseconds = self._client.time()
        marker_id = EntryId(max(after.ms, last.ms, seconds * 1000 + microseconds // 1000) + 1, 0)
        self._client.xadd(self._stream, {keys.FIELD: marker}, id=str(marker_id))
        xsetid = "return redis.call('XSETID', KEYS[1], ARGV[1], 'ENTRIESADDED', ARGV[2])"
        self._client.eval(xsetid, 1, self._stream, str(marker_id), str(entries_added))
        self.create(stream_uuid)
        return marker_id


def _payload(fields: Mapping[bytes, bytes]) -> bytes:
    payload = fields.get(keys.FIELD.encode())
    return repr(dict(fields)).encode() if payload is None else payload


async def entries_added(client: redis.asyncio.Redis, model_id: str) -> int:
    if not await client.exists(keys.stream(model_id)):
        return 0
    info: Any = await client.xinfo_stream(keys.stream(model_id))
    return int(info["entries-added"])
