"""What a learner passed over: entries that could not be decoded or whose update was not finite, kept until they are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from service import entries
from service import redis_keys as keys
from service.entries import Samples, UndecodableEntry
from service.entry_id import EntryId
from service.spec import ModelSpec


@dataclass(frozen=True)
class DeadLetter:
    """Args: payload: the entry's bytes, as they were accepted."""

    entry: EntryId
    cause: str
    payload: bytes

    def samples(self, spec: ModelSpec) -> int | None:
        """How many it holds; None where that cannot be told."""
        try:
            decoded = entries.decode(self.payload, inputs=spec.inputs)
        except UndecodableEntry:
            return None
        return len(decoded) if isinstance(decoded, Samples) else 0


async def dead_letters(
    client: redis.asyncio.Redis, model_id: str, *, after: EntryId, most: int
) -> Sequence[DeadLetter]:
    """In the order of the log. Raises: RedisError."""
    found: Any = await client.xrange(keys.dead_letters(model_id), min=f"({after}", count=most)
    return [
        DeadLetter(EntryId.parse(entry), fields[b"cause"].decode(), fields[keys.FIELD.encode()])
        for entry, fields in found
    ]


async def count(client: redis.asyncio.Redis, model_id: str) -> int:
    """Raises: RedisError."""
    return int(await client.xlen(keys.dead_letters(model_id)))


async def delete(client: redis.asyncio.Redis, model_id: str, *, until: EntryId) -> None:
    """Those up to an entry, that one included. Raises: RedisError."""
    await client.xtrim(keys.dead_letters(model_id), minid=str(until.next), approximate=False)
