"""How far a fold is behind its log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from service import redis_keys as keys
from service.repositories.checkpoints import Position

# KEYS: stream, samples-added.  ARGV: the last entry applied.  Payloads stay where they are.
_LAG = """
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0, 0, 0} end
local added = 0
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'entries-added' then added = info[i + 1] end
end
local next = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)
if #next == 0 then return {added, redis.call('XLEN', KEYS[1]), 0, 0} end
local before = 0
local fields = next[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 's' then before = tonumber(fields[i + 1]) end
end
local samples = tonumber(redis.call('GET', KEYS[2]) or 0) - before
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {added, redis.call('XLEN', KEYS[1]), samples, now - tonumber(string.match(next[1][1], '^%d+'))}
"""


@dataclass(frozen=True)
class Lag:
    """Args: entries, samples: not yet applied; age_s: of the oldest of them, 0 when there is none; length: of the log."""

    entries: int
    samples: int
    age_s: float
    length: int


def lag_of(client: redis.Redis, log_id: str, position: Position) -> Lag:
    """How far `position` is behind. Args: log_id: of the model whose log it is. Raises: RedisError."""
    reply: Any = client.eval(_LAG, 2, keys.stream(log_id), keys.samples_added(log_id), str(position.entry))
    added, length, samples, age_ms = reply
    return Lag(max(0, added - position.entries_applied), max(0, samples), max(0, age_ms) / 1000, length)
