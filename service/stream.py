"""The log of one model in Redis as its learner sees it: reading, trimming, dead letters. Commands of Redis 7.0 only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from service import redis_keys as keys
from service.entry_id import EntryId
from service.events import EventLog
from service.redis_clients import FORGET_EXPIRED

READ_BLOCK_MS = 100
READ_COUNT = 32

# KEYS: stream, epoch.  ARGV: epoch, entry.  Trims only for the newest epoch that ever trimmed, and only what is not deleted.
# It trims first: while Redis is full it takes a SET only from a script that has written already.
_TRIM = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local newest = redis.call('GET', KEYS[2])
if newest and tonumber(newest) > tonumber(ARGV[1]) then return -1 end
local trimmed = redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
return trimmed
"""

# KEYS: expiry, hashes
_FORGET = FORGET_EXPIRED + "return forget_expired(now, unpack(KEYS))"


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

    def forget_expired(self) -> None:
        """Idempotency-Keys, and predictions that have waited for their labels as long as they may."""
        for kept in (
            (keys.idempotency_expiry, keys.idempotency),
            (keys.predictions_expiry, keys.predictions, keys.outcomes),
        ):
            while self._client.eval(_FORGET, len(kept), *(key(self._model_id) for key in kept)):
                pass

    def sweep(self) -> None:
        """Removes what a learner has written after its model was deleted; never a log that the database merely forgot."""
        if not self._client.exists(keys.stream_uuid(self._model_id)):
            self.delete()

    def bury(self, entry: EntryId, payload: bytes, cause: str) -> None:
        """Adds the entry to the dead letters under its own ID; a replay that buries it again changes nothing."""
        dead = keys.dead_letters(self._model_id)
        try:
            self._client.xadd(dead, {"cause": cause, keys.FIELD: payload}, id=str(entry))
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise

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
