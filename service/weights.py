"""Published weights between processes: the learner says its newest version by Pub/Sub, API replicas follow."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import redis
import redis.asyncio
import safetensors.torch
import structlog
from anyio.to_thread import run_sync
from safetensors import SafetensorError

from models import Architecture, ConvolutionalNet, Filters, Net, Predictor
from models.blocks import part_of
from models.prequential import ClassificationMetrics
from models.prequential_values import RegressionMetrics
from models.scaling import Moments
from models.target_scale import TargetScale
from service import redis_keys as keys
from service.entry_id import EntryId
from service.knowledge import METRICS, TARGET
from service.publications import Publications, Published
from service.spec import ModelSpec
from service.version import Version

RECONNECT_S = 0.5
SILENCE_S = 5.0
MOST_AT_ONCE = 64
CHECK_S = 0.5
DELETED = b"deleted"
"""Said instead of weights."""

log = structlog.get_logger()


def encode(published: Published) -> bytes:
    """Length of the header (4 bytes, big-endian), header as JSON, tensors as safetensors."""
    version = published.version
    header = json.dumps(
        {
            "epoch": published.epoch,
            "model_version": version.model_version,
            "applied_entry": str(version.applied_entry),
            "samples_learned": version.samples_learned,
            "labels": version.labels,
            "in_force": version.in_force.model_dump(mode="json"),
            "newest_time": version.newest_time,
            "net": _described(version.predictor.net),
        }
    ).encode()
    parts = {"": version.predictor.tensors(), METRICS: version.metrics.tensors()}
    if version.target_scale is not None:
        parts[TARGET] = vars(version.target_scale.moments)
    tensors = {
        prefix + name: t.cpu().contiguous().clone() for prefix, part in parts.items() for name, t in part.items()
    }
    return len(header).to_bytes(4, "big") + header + safetensors.torch.save(tensors)


def decode(message: bytes) -> Published:
    """Raises: ValueError for bytes that `encode` did not make."""
    try:
        start = 4 + int.from_bytes(message[:4], "big")
        header = json.loads(message[4:start])
        tensors = safetensors.torch.load(message[start:])
        metrics, target = part_of(tensors, METRICS), part_of(tensors, TARGET)
        weights = {name: tensor for name, tensor in tensors.items() if not name.startswith((METRICS, TARGET))}
        version = Version(
            model_version=header["model_version"],
            applied_entry=EntryId.parse(header["applied_entry"]),
            samples_learned=header["samples_learned"],
            predictor=Predictor.from_tensors(weights, _net(header["net"])),
            labels=tuple(header["labels"]),
            target_scale=TargetScale(Moments(**target)) if target else None,
            in_force=ModelSpec.model_validate_json(json.dumps(header["in_force"])),
            newest_time=header["newest_time"],
            metrics=(RegressionMetrics if target else ClassificationMetrics).from_tensors(metrics),
        )
        return Published(header["epoch"], version)
    except (ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"not published weights: {error!r}") from error


def _described(net: Net) -> dict[str, Any]:
    assert isinstance(net, Architecture | ConvolutionalNet)
    return asdict(net)


def _net(fields: dict[str, Any]) -> Net:
    """From JSON, which has lists where there were tuples, and maps where there were filters."""
    listed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    if "filters" not in listed:
        return Architecture(**listed)
    return ConvolutionalNet(**listed | {"filters": tuple(Filters(**one) for one in listed["filters"])})


class PubSubPublisher:
    """Says versions to those who follow; while nobody does, making the message is saved.

    Args: interval_s: least time between two publications of a model.
    """

    repeat_s = 1.0  # for replicas that missed the last one: Pub/Sub forgets

    def __init__(self, client: redis.Redis, *, interval_s: float) -> None:
        self._client = client
        self.interval_s = interval_s

    def publish(self, model_id: str, published: Published) -> None:
        if self._client.pubsub_numpat():
            self._client.publish(keys.weights_channel(model_id), encode(published))

    def forget(self, model_id: str) -> None:
        """Says that the model was deleted. Raises: RedisError."""
        self._client.publish(keys.weights_channel(model_id), DELETED)


class Everywhere:
    """For a process that uses what it learns, beside others that follow: every version here, and as often as may be there."""

    interval_s = 0.0
    repeat_s = PubSubPublisher.repeat_s

    def __init__(self, here: Publications, there: PubSubPublisher) -> None:
        self._here = here
        self._there = there
        self._said_at: dict[str, float] = {}

    def publish(self, model_id: str, published: Published) -> None:
        """What there is no time for is made up for by the repetition. Raises: RedisError."""
        self._here.publish(model_id, published)
        now = time.monotonic()
        if now - self._said_at.get(model_id, float("-inf")) >= self._there.interval_s:
            self._said_at[model_id] = now
            self._there.publish(model_id, published)

    def forget(self, model_id: str) -> None:
        """For a deleted model. Raises: RedisError."""
        self._here.forget(model_id)
        self._said_at.pop(model_id, None)
        self._there.forget(model_id)


async def follow_while(
    needed: Callable[[], bool], client: redis.asyncio.Redis, publications: Publications, *, check_s: float = CHECK_S
) -> None:
    """As `follow`, at the times when it is needed. Args: check_s: how often that is asked."""
    following: asyncio.Task[None] | None = None
    try:
        while True:
            if needed() and following is None:
                following = asyncio.create_task(follow(client, publications))
            elif not needed() and following is not None:
                await cancelled(following)
                following = None
            await asyncio.sleep(check_s)
    finally:
        if following is not None:
            await cancelled(following)


async def cancelled(task: asyncio.Task[None]) -> None:
    """Returns once it has ended; asks again, should a library have swallowed the first request."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1)


async def follow(client: redis.asyncio.Redis, publications: Publications, *, silence_s: float = SILENCE_S) -> None:
    """Takes over what learners publish, until cancelled; subscribes anew when Redis was away.

    Args: silence_s: after so long without a message, Redis is asked whether it is still there.
    """
    while True:
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.psubscribe(keys.WEIGHTS_PATTERN)
                while True:
                    for channel, message in (await _newest(pubsub, silence_s)).items():
                        model_id = keys.model_of_channel(channel.decode())
                        if message == DELETED:
                            publications.forget(model_id)
                            continue
                        published = await run_sync(_decoded, model_id, message)
                        if published is not None:
                            publications.publish(model_id, published)
        except redis.RedisError as error:
            log.warning("not following weights", cause=str(error))
        except Exception:  # a defect: said loudly, and no reason for this replica to predict with old weights for ever
            log.exception("not following weights")
        await asyncio.sleep(RECONNECT_S)


async def _newest(pubsub: redis.asyncio.client.PubSub, silence_s: float) -> dict[bytes, bytes]:
    """Waits for messages and takes those that have arrived; of each channel only the last one counts.

    Raises: redis.TimeoutError when the connection is dead, which shows in no other way to those who only listen.
    """
    message = await pubsub.get_message(timeout=silence_s)
    if message is None:
        await pubsub.ping()
        message = await pubsub.get_message(timeout=silence_s)
        if message is None:
            raise redis.TimeoutError(f"no answer within {silence_s:g} s")
    newest = {}
    for _ in range(MOST_AT_ONCE):
        if message is None:
            break
        if message["type"] == "pmessage":
            newest[message["channel"]] = message["data"]
        message = await pubsub.get_message(timeout=0.0)
    return newest


def _decoded(model_id: str, message: bytes) -> Published | None:
    try:
        return decode(message)
    except ValueError as error:
        log.warning("weights not understood", model_id=model_id, cause=str(error))
        return None
