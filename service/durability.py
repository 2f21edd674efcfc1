"""Can the Redis at hand keep what `AMSTREAM_ACK` promises?"""

from __future__ import annotations

import redis
import structlog

from service.redis_clients import SYNC_TIMEOUT_MS

log = structlog.get_logger()


class NotDurable(Exception):
    """The server cannot keep the promise; the message says what to change."""


def must_wait_for_sync(client: redis.Redis, ack: str) -> bool:
    """Whether accepting samples has to wait for the append-only file's sync.

    Raises: NotDurable; redis.RedisError when the server does not answer.
    """
    if ack == "write":
        if _setting(client, "appendonly") == "no":
            log.warning("redis keeps no append-only file: accepted samples do not survive its death")
        return False
    if _setting(client, "appendfsync") == "always" and _setting(client, "appendonly") == "yes":
        return False
    try:
        client.waitaof(1, 0, SYNC_TIMEOUT_MS)
    except redis.ResponseError as error:
        raise NotDurable(
            f"AMSTREAM_ACK=fsync needs a server with `appendonly yes`, and `appendfsync always` or WAITAOF ({error})"
        ) from error
    return True


def _setting(client: redis.Redis, name: str) -> str | None:
    """None where the server does not tell, as managed ones may not."""
    try:
        settings = client.config_get(name)
    except redis.ResponseError:
        return None
    return settings.get(name)
