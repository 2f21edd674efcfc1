"""What happens to a model, for whoever listens: a short stream in Redis beside the log, that says but decides nothing.

An event may come twice, when a learner starts again from its checkpoint; those that name an entry are told apart by it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis
import redis.asyncio
import structlog

from service import redis_keys as keys
from service.entry_id import ORIGIN, EntryId

log = structlog.get_logger()

Kind = Literal["learned", "checkpoint", "drift", "new-class", "adopted", "dead-letter", "missed"]
KEPT = 1000
BLOCK_MS = 1000
"""Below the client's socket timeout."""
AT_ONCE = 100


@dataclass(frozen=True)
class Event:
    """Args: id: place among the events, None for `missed`, which says that some are gone that would have come here."""

    id: EntryId | None
    kind: str
    data: Mapping[str, Any]


class EventLog:
    """The learner's side of one model's events."""

    def __init__(self, client: redis.Redis, model_id: str) -> None:
        self._client = client
        self._key = keys.events(model_id)

    def say(self, kind: Kind, **data: Any) -> None:
        """Unless Redis is full: then learning must go on, for it is what makes room. Raises: RedisError."""
        try:
            self._client.xadd(self._key, {"kind": kind, "data": json.dumps(data)}, maxlen=KEPT, approximate=True)
        except redis.ResponseError as error:
            log.warning("event lost", kind=kind, cause=str(error))


async def newest(client: redis.asyncio.Redis, model_id: str) -> EntryId:
    """The last event until now, to listen from now on. Raises: RedisError."""
    found: Any = await client.xrevrange(keys.events(model_id), count=1)
    return EntryId.parse(found[0][0]) if found else ORIGIN


async def listen(client: redis.asyncio.Redis, model_id: str, after: EntryId) -> AsyncGenerator[Event | None]:
    """Events after one of them; None whenever nothing has come for BLOCK_MS.

    A listener that is slower than the events, or comes back late, is told by `missed`. Raises: RedisError.
    """
    key = keys.events(model_id)
    while True:
        if await _is_behind(client, key, after):
            yield Event(None, "missed", {"after": str(after)})
        reply: Any = await client.xread({key: str(after)}, count=AT_ONCE, block=BLOCK_MS)
        for _, entries in reply or []:
            for entry, fields in entries:
                after = EntryId.parse(entry)
                yield Event(after, fields[b"kind"].decode(), json.loads(fields[b"data"]))
        if not reply:
            yield None


async def _is_behind(client: redis.asyncio.Redis, key: str, after: EntryId) -> bool:
    """Whether events after `after` are gone: then the oldest that is left is later, and others were there before it."""
    if after == ORIGIN:
        return False
    oldest: Any = await client.xrange(key, count=1)
    return bool(oldest) and EntryId.parse(oldest[0][0]) > after
