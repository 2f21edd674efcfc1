"""What a learner passed over: entries that could not be decoded or whose update was not finite, kept until they are deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from service import entries
from service import redis_keys as keys
from service.entries import Samples, UndecodableEntry
from service.entry_id import EntryId
from service.spec import ModelSpec

READ_AT_ONCE = 32
"""An entry may be a block of megabytes."""


@dataclass(frozen=True)
class DeadLetter:
    """Args: samples: how many it holds, None where that cannot be told; size_bytes: of the entry as it was accepted."""

    entry: EntryId
    cause: str
    samples: int | None
    size_bytes: int


async def dead_letters(
    client: redis.asyncio.Redis, model_id: str, spec: ModelSpec, *, after: EntryId, most: int
) -> Sequence[DeadLetter]:
    """In the order of the log. Raises: RedisError."""
    letters: list[DeadLetter] = []
    while len(letters) < most:
        at_once = min(READ_AT_ONCE, most - len(letters))
        found: Any = await client.xrange(keys.dead_letters(model_id), min=f"({after}", count=at_once)
        letters += [_letter(entry, fields, spec) for entry, fields in found]
        if len(found) < at_once:
            break
        after = letters[-1].entry
    return letters


def _letter(entry: bytes, fields: Mapping[bytes, bytes], spec: ModelSpec) -> DeadLetter:
    payload = fields[keys.FIELD.encode()]
    samples = None
    with contextlib.suppress(UndecodableEntry):
        decoded = entries.decode(payload, inputs=spec.inputs)
        samples = len(decoded) if isinstance(decoded, Samples) else 0
    return DeadLetter(EntryId.parse(entry), fields[b"cause"].decode(), samples, len(payload))


async def count(client: redis.asyncio.Redis, model_id: str) -> int:
    """Raises: RedisError."""
    return int(await client.xlen(keys.dead_letters(model_id)))


async def delete(client: redis.asyncio.Redis, model_id: str, *, until: EntryId) -> None:
    """Those up to an entry, that one included. Raises: RedisError."""
    await client.xtrim(keys.dead_letters(model_id), minid=str(until.next), approximate=False)
