"""Connections to Redis, and scripts run on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from service import redis_keys as keys

SOCKET_TIMEOUT_S = 5.0
SYNC_TIMEOUT_MS = 4000

# A silent retry of XADD after a lost reply would store an entry twice, so no client here ever retries by itself.
_CLIENT_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": SOCKET_TIMEOUT_S,
    "protocol": 2,
    "health_check_interval": 0,
}


FORGET_EXPIRED = """
local function forget_expired(now, expiry, ...)
  local expired = redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, 1000)
  if #expired > 0 then
    redis.call('ZREM', expiry, unpack(expired))
    for _, hash in ipairs({...}) do redis.call('HDEL', hash, unpack(expired)) end
  end
  return #expired
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
"""How scripts begin that keep things for a time: fields go from hashes, a thousand at once, when a sorted set says so."""


def sync_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_CLIENT_OPTIONS)


def async_client(url: str, *, timeout_s: float = SOCKET_TIMEOUT_S) -> redis.asyncio.Redis:
    options = _CLIENT_OPTIONS | {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    return redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **options)


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
