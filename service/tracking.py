"""Predictions that wait for their labels, and labels that come later: each is learned once, with what was predicted.

A prediction lives in Redis beside the log, for a time, and at most so many of a model. Its label and the log's entry are
written in one script, so a label that is sent twice, or by two at once, is in the log once.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import redis.asyncio
from numpy.typing import NDArray

from service import entries
from service import redis_keys as keys
from service.catalog import Catalog, Model
from service.entries import Samples, Target
from service.prediction import Predicted
from service.problems import Conflict, FieldError, Gone, TooMany, UnknownPrediction
from service.quota import Quota
from service.redis_clients import FORGET_EXPIRED, run_script

# KEYS: predictions, outcomes, expiry, stream, uuid, samples-added.  ARGV: uuid, ttl in ms, most, then per prediction: ID, bytes
_TRACK = (
    FORGET_EXPIRED
    + """
if redis.call('GET', KEYS[5]) ~= ARGV[1] then return 'gone' end
forget_expired(now, KEYS[3], KEYS[1], KEYS[2])
if redis.call('ZCARD', KEYS[3]) + (#ARGV - 3) / 2 > tonumber(ARGV[3]) then return 'full' end
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), ARGV[i])
end
return 'ok'
"""
)

# KEYS: as above.  ARGV: uuid, entry's bytes, then per prediction: ID, outcome that was read (or ''), label as JSON
_LABEL = """
if redis.call('GET', KEYS[5]) ~= ARGV[1] then return {'gone'} end
for i = 3, #ARGV, 3 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then return {'changed'} end
  if (redis.call('HGET', KEYS[2], ARGV[i]) or '') ~= ARGV[i + 1] then return {'changed'} end
end
local n = (#ARGV - 2) / 3
local before = redis.call('INCRBY', KEYS[6], n) - n
local entry = redis.call('XADD', KEYS[4], '*', 'e', ARGV[2], 's', before)
for i = 3, #ARGV, 3 do redis.call('HSET', KEYS[2], ARGV[i], entry .. ' ' .. ARGV[i + 2]) end
return {'ok', entry}
"""


@dataclass(frozen=True)
class Outcome:
    """The label that came, and the entry that holds it."""

    label: Target
    entry: str


@dataclass(frozen=True)
class Tracked:
    """A prediction as it was made. Args: said: probabilities by the order of classes, or values; made_at: Unix seconds."""

    id: str
    x: NDArray[np.float32]
    said: NDArray[np.float64]
    classes: list[Any]
    model_version: int
    applied_entry: str | None
    made_at: float
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Labelled:
    """What became of a label. Args: repeated: it had come before; corrected: another one had."""

    id: str
    entry: str
    repeated: bool
    corrected: bool


class Tracking:
    """Args:
    ttl_s: how long a prediction waits for its label.
    most: predictions of one model that may wait.
    wait_aof: whether accepting a label waits for the append-only file's sync.
    """

    def __init__(
        self, client: redis.asyncio.Redis, catalog: Catalog, quota: Quota, *, ttl_s: float, most: int, wait_aof: bool
    ) -> None:
        self._quota = quota
        self._client = client
        self._catalog = catalog
        self._wait_aof = wait_aof
        self._ttl_s = ttl_s
        self._most = most

    async def track(self, model: Model, predicted: Predicted) -> list[str]:
        """IDs for predictions, that are kept until their labels come.

        Raises: Conflict for a shadow; TooMany; Unavailable; RedisError.
        """
        model.require_own_log()
        await self._quota.require_room(model.id, model.name)
        said = predicted.probabilities if predicted.values is None else predicted.values
        version = predicted.version
        now = time.time()
        ids = [f"{int(now * 1000):x}-{secrets.token_hex(8)}" for _ in said]
        arguments: list[bytes | str | int] = [model.stream_uuid, int(self._ttl_s * 1000), self._most]
        for one, row, outputs in zip(ids, predicted.x, said, strict=True):
            record = {
                "x": row.astype("<f4").tobytes(),
                "said": outputs.astype("<f8").tobytes(),
                "classes": list(version.labels),
                "version": version.model_version,
                "applied": version.applied_entry.shown,
                "at": now,
            }
            arguments += [one, msgpack.packb(record)]
        status = await run_script(self._client, _TRACK, _keys(model), arguments, wait_aof=False)
        if status == b"gone":
            raise await self._catalog.without_stream(model)
        if status == b"full":
            raise TooMany(
                f"{self._most} predictions of model {model.name!r} wait for their labels, as many as may",
                kind="too-many-tracked",
                retry_after_s=60,
            )
        return ids

    async def get(self, model: Model, prediction: str) -> Tracked:
        """Raises: UnknownPrediction; Gone when its time has passed; RedisError."""
        [found] = await self._read(model, [prediction])
        return found

    async def label(
        self, model: Model, labels: Mapping[str, Target], *, weight: float, correct: bool
    ) -> list[Labelled]:
        """Appends what was not there yet, in blocks, with the predictions as they were made.

        Args: labels: by the IDs of predictions. correct: whether another label than the one that came before is taken.
        Raises: UnknownPrediction, Gone; Conflict naming the prediction that has another label, or for a shadow; Invalid
            when there would be too many classes; TooLarge, TooMany; Unavailable; RedisError.
        """
        model.require_own_log()
        self._catalog.check_classes(model, list(labels.values()))
        await self._quota.admit(model.id, model.name, len(labels))
        entries_of: dict[str, str] = {}
        corrected = set()
        while True:
            found = await self._read(model, list(labels))
            new = [one for one in found if one.outcome is None or one.outcome.label != labels[one.id]]
            if not correct:
                _check_unlabelled(new, labels)
            for start in range(0, len(new), model.spec.block.size):
                block = new[start : start + model.spec.block.size]
                entry = await self._append(model, block, labels, weight)
                if entry is None:
                    break
                entries_of |= dict.fromkeys((one.id for one in block), entry)
                corrected |= {one.id for one in block if one.outcome is not None}
            else:
                return [
                    Labelled(
                        one.id,
                        entries_of.get(one.id) or (one.outcome.entry if one.outcome else ""),
                        repeated=one.id not in entries_of,
                        corrected=one.id in corrected,
                    )
                    for one in found
                ]

    async def _append(
        self, model: Model, new: Sequence[Tracked], labels: Mapping[str, Target], weight: float
    ) -> str | None:
        """The entry; None when somebody labelled one of them meanwhile."""
        widest = max(len(one.said) for one in new)
        said = np.zeros((len(new), widest))
        for row, one in zip(said, new, strict=True):
            row[: len(one.said)] = one.said
        was = [one.outcome.label if one.outcome else None for one in new]
        samples = Samples(
            x=np.stack([one.x for one in new]),
            y=[labels[one.id] for one in new],
            weight=None if weight == 1 else np.full(len(new), weight, np.float32),
            said=said,
            was=was if any(label is not None for label in was) else None,
        )
        arguments: list[bytes | str | int] = [model.stream_uuid, entries.encode(samples)]
        for one in new:
            read = "" if one.outcome is None else f"{one.outcome.entry} {json.dumps(one.outcome.label)}"
            arguments += [one.id, read, json.dumps(labels[one.id])]
        status, *rest = await run_script(self._client, _LABEL, _keys(model), arguments, wait_aof=self._wait_aof)
        if status == b"gone":
            raise await self._catalog.without_stream(model)
        return None if status == b"changed" else str(rest[0].decode())

    async def _read(self, model: Model, ids: Sequence[str]) -> list[Tracked]:
        predictions, outcomes, *_ = _keys(model)
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hmget(predictions, ids)
            pipeline.hmget(outcomes, ids)
            records, labels = await pipeline.execute()
        return [self._decoded(model, *one) for one in zip(ids, records, labels, strict=True)]

    def _decoded(self, model: Model, prediction: str, record: bytes | None, outcome: bytes | None) -> Tracked:
        made_at = _made_at(prediction)
        if made_at is None or (record is None and time.time() - made_at < self._ttl_s):
            raise UnknownPrediction(model.name, prediction)
        if record is None or time.time() - made_at > self._ttl_s:
            raise Gone(f"prediction {prediction} waited {self._ttl_s:g} s for its label, and is forgotten")
        body = msgpack.unpackb(record)
        came = None
        if outcome is not None:
            entry, _, label = outcome.decode().partition(" ")
            came = Outcome(json.loads(label), entry)
        return Tracked(
            id=prediction,
            x=np.frombuffer(body["x"], "<f4"),
            said=np.frombuffer(body["said"], "<f8"),
            classes=body["classes"],
            model_version=body["version"],
            applied_entry=body["applied"],
            made_at=body["at"],
            outcome=came,
        )


def _check_unlabelled(found: Sequence[Tracked], labels: Mapping[str, Target]) -> None:
    """Raises: Conflict."""
    for one in found:
        if one.outcome is not None:
            raise Conflict(
                f"prediction {one.id} has the label {one.outcome.label!r} already, in entry {one.outcome.entry}",
                errors=[FieldError("label", labels[one.id], "differs; send it with correct = true if it is right")],
            )


def _made_at(prediction: str) -> float | None:
    """Unix seconds, as its ID says; None for what is no ID."""
    when, _, rest = prediction.partition("-")
    try:
        return int(when, 16) / 1000 if len(rest) == 16 and len(when) < 16 else None
    except ValueError:
        return None


def _keys(model: Model) -> list[str]:
    makers = (
        keys.predictions,
        keys.outcomes,
        keys.predictions_expiry,
        keys.stream,
        keys.stream_uuid,
        keys.samples_added,
    )
    return [make(model.id) for make in makers]
