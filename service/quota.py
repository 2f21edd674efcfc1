"""What one model may take of what all share: samples a minute, and the memory of the Redis that holds the log."""

from __future__ import annotations

import time

import redis.asyncio

from service import redis_keys
from service.problems import FieldError, TooLarge, TooMany
from service.rates import Exceeded, Rates

MEASURED_S = 1.0
"""How long a measured size counts: a log may grow over the limit by what comes within it."""

FULL_RETRY_S = 5

COUNTED = (redis_keys.stream, redis_keys.dead_letters, redis_keys.predictions)


class Quota:
    """Args:
    samples_per_minute: most samples a minute and model; None: as many as come
    log_bytes: most memory that one model may take, with dead letters and predictions that wait for their labels
    """

    def __init__(
        self, client: redis.asyncio.Redis, rates: Rates, *, samples_per_minute: int | None, log_bytes: int
    ) -> None:
        self._client = client
        self._rates = rates
        self._samples_per_minute = samples_per_minute
        self._log_bytes = log_bytes
        self._measured: dict[str, tuple[float, int]] = {}

    async def admit(self, model_id: str, name: str, samples: int) -> None:
        """Raises: TooLarge for samples that no minute has room for; TooMany; RedisError."""
        most = self._samples_per_minute
        if most is not None:
            if samples > most:
                error = FieldError("samples", samples, f"must be at most {most}")
                raise TooLarge(f"{samples} samples in one post; a model may be given {most} a minute", errors=[error])
            try:
                await self._rates.take("model", model_id, most, samples)
            except Exceeded as exceeded:
                raise TooMany(
                    f"model {name!r} was given nearly {most} samples within a minute, as many as it may",
                    kind="too-many-samples",
                    retry_after_s=exceeded.allowance.reset_s,
                ) from None
        await self.require_room(model_id, name)

    async def require_room(self, model_id: str, name: str) -> None:
        """Raises: TooMany; RedisError."""
        size = await self._size(model_id)
        if size >= self._log_bytes:
            raise TooMany(
                f"model {name!r} takes {size} bytes of Redis, as many as it may ({self._log_bytes}): "
                f"its learner lags behind, retain_s is long, or many predictions wait for their labels",
                kind="log-full",
                retry_after_s=FULL_RETRY_S,
            )

    async def _size(self, model_id: str) -> int:
        now = time.monotonic()
        known = self._measured.get(model_id)
        if known is not None and now - known[0] < MEASURED_S:
            return known[1]
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in COUNTED:
                pipeline.memory_usage(key(model_id))
            size = sum(part or 0 for part in await pipeline.execute())
        self._measured = {id_: each for id_, each in self._measured.items() if now - each[0] < MEASURED_S}
        self._measured[model_id] = now, size
        return size
