"""How often a minute: counted by the library `limits` in a sliding window, per process or in a Redis that replicas share."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from service import redis_keys
from service.keyring import Caller
from service.redis_clients import async_client

WINDOW_S = 60
PATIENCE_S = 0.5
"""For an answer of the shared Redis. A request that waits longer for its count would be worse than one too many."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit: most a minute, remaining of them now, and in how many seconds there is more."""

    most: int
    remaining: int
    reset_s: int


class Exceeded(Exception):
    def __init__(self, allowance: Allowance) -> None:
        super().__init__(allowance)
        self.allowance = allowance


class Rates:
    """Where the shared Redis is away, each process counts for itself meanwhile.

    Args:
        url: a Redis whose counts all API processes share; None: each has its own
        requests_per_minute: for keys that have no limit of their own; None: as many as they like
    """

    def __init__(self, url: str | None, *, requests_per_minute: int | None) -> None:
        self._requests_per_minute = requests_per_minute
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._client = None if url is None else async_client(url, timeout_s=PATIENCE_S)
        self._shared = None if self._client is None else SlidingWindowCounterRateLimiter(_storage(self._client))
        self._away = False

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def request(self, caller: Caller) -> Allowance | None:
        """Counts one request. None where nothing limits the key. Raises: Exceeded."""
        most = caller.requests_per_minute or self._requests_per_minute
        if most is None:
            return None
        return await self.take("key", caller.key_id, most)

    async def take(self, kind: str, name: str, most: int, n: int = 1) -> Allowance:
        """Counts `n` of at most `most` a minute, or nothing. Raises: Exceeded."""
        if self._shared is not None:
            try:
                allowance = await _take(self._shared, kind, name, most, n)
            except redis.RedisError as error:
                self._lost(error)
            else:
                self._away = False
                return allowance
        return await _take(self._own, kind, name, most, n)

    def _lost(self, error: redis.RedisError) -> None:
        if not self._away:
            log.warning("away", part="the Redis that counts requests", cause=str(error))
        self._away = True


async def _take(limiter: SlidingWindowCounterRateLimiter, kind: str, name: str, most: int, n: int) -> Allowance:
    item = RateLimitItemPerMinute(most)
    accepted = await limiter.hit(item, kind, name, cost=n)
    reset_at, remaining = await limiter.get_window_stats(item, kind, name)
    allowance = Allowance(most, remaining, min(WINDOW_S, max(1, math.ceil(reset_at - time.time()))))
    if not accepted:
        raise Exceeded(allowance)
    return allowance


def _storage(client: redis.asyncio.Redis) -> RedisStorage:
    pool: Any = client.connection_pool
    return RedisStorage(
        "async+redis://", implementation="redispy", key_prefix=redis_keys.RATES_PREFIX, connection_pool=pool
    )
