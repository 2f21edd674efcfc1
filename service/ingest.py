"""Accepting samples: posts that arrive together are coalesced, larger ones cut, the blocks appended idempotently."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgpack
import redis
import redis.asyncio
import structlog
from anyio.to_thread import run_sync

from service import append, entries
from service.append import AppendFull, Limits, Post, Seen, StreamGone
from service.catalog import Catalog, Model
from service.entries import Command, Samples, concatenated
from service.entry_id import EntryId
from service.idempotency import IdempotencyKey, Once
from service.meters import Meters
from service.problems import Invalid, TooMany
from service.quota import Quota

log = structlog.get_logger()

LARGE_BYTES = 2**17
T = TypeVar("T")

Appended = list[str] | dict[str, Seen]


@dataclass(frozen=True)
class Posted:
    """Args: repeated: whether they had been there before."""

    entries: list[str]
    repeated: bool = False


class _Pending:
    """A post on its way: its samples, its key and digest if it has one, and the future that answers it."""

    def __init__(self, samples: Samples, once: Once | None, answer: asyncio.Future[Posted]) -> None:
        self.samples = samples
        self.once = once
        self.answer = answer
        self.answered = False

    def succeed(self, posted: Posted) -> None:
        self.answered = True
        if not self.answer.done():  # done: whoever asked has gone
            self.answer.set_result(posted)

    def fail(self, error: Exception) -> None:
        if not self.answered and not self.answer.done():
            self.answer.set_exception(error)
        self.answered = True

    def answer_if_seen(self, seen: Mapping[str, Seen]) -> None:
        """Args: seen: posts that came before, by the fields of their keys."""
        if self.once is None or self.once.key.field not in seen:
            return
        earlier = seen[self.once.key.field]
        try:
            self.once.check(earlier)
        except Invalid as error:
            self.fail(error)
        else:
            self.succeed(Posted(earlier.entries, repeated=True))


async def _aside(work: Callable[[], T], parts: Sequence[Samples]) -> T:
    """In a worker thread, where samples are so many that everybody else would have to wait meanwhile."""
    return await run_sync(work) if sum(part.x.nbytes for part in parts) > LARGE_BYTES else work()


def _digest(samples: Samples) -> str:
    digest = hashlib.sha256(samples.x.tobytes())
    digest.update(msgpack.packb(list(samples.y)))
    digest.update(samples.weights().tobytes())
    if samples.time is not None:
        digest.update(samples.time.tobytes())
    return digest.hexdigest()


class Ingest:
    """Appends to the models' streams; one batcher per model while posts for it are on their way."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        catalog: Catalog,
        limits: Limits,
        quota: Quota | None = None,
        *,
        wait_aof: bool = False,
        meters: Meters | None = None,
    ) -> None:
        self._client = client
        self._quota = quota
        self._wait_aof = wait_aof
        self._catalog = catalog
        self._limits = limits
        self._meters = meters or Meters()
        self._batchers: dict[str, _Batcher] = {}

    async def post(self, model: Model, samples: Samples, key: IdempotencyKey | None) -> Posted:
        """The IDs of the entries that hold the samples, once they are in the stream.

        Raises: Invalid when the key came before with another payload, or there would be too many classes; UnknownModel,
            TooLarge, TooMany, Unavailable; RedisError, after which it is unknown whether they are.
        """
        self._catalog.check_classes(model, samples.y)
        if self._quota is not None:
            await self._quota.admit(model.id, model.name, len(samples))
        once = None if key is None else Once(key, await _aside(partial(_digest, samples), [samples]))
        batcher = self._batchers.get(model.id)
        if batcher is None:
            batcher = _Batcher(model, self._append, on_idle=lambda: self._batchers.pop(model.id))
            self._batchers[model.id] = batcher
        posted = await batcher.post(model, samples, once)
        if posted.repeated:
            self._meters.repeated(model.name)
        else:
            self._meters.accepted(model.name, len(samples))
        first, last = posted.entries[0], posted.entries[-1]
        log.debug("accepted", model=model.name, samples=len(samples), first_entry=first, last_entry=last)
        return posted

    async def command(self, model: Model, command: Command, once: Once | None = None) -> EntryId:
        """The ID of a command's entry; of the one that the same request appended before, if it did.

        Raises: Invalid when the key came before with another request; UnknownModel, TooMany, Unavailable, RedisError.
        """
        posts = [] if once is None else [Post(once.key.field, once.digest, 0, 0)]
        appended = await self._append(model, [entries.encode(command)], [0], posts)
        if isinstance(appended, list):
            return EntryId.parse(appended[0])
        [seen] = appended.values()
        return _same(seen, once)

    async def earlier(self, model: Model, once: Once) -> EntryId | None:
        """The entry of the command that the same request appended, if it came before. Raises: as `command`."""
        seen = await append.seen(self._client, model.id, once.key.field)
        return None if seen is None else _same(seen, once)

    async def _append(
        self, model: Model, blocks: Sequence[bytes], counts: Sequence[int], posts: Sequence[Post]
    ) -> Appended:
        model.require_own_log()
        try:
            return await append.append(
                self._client,
                model.id,
                model.stream_uuid,
                blocks,
                posts,
                self._limits,
                samples=counts,
                wait_aof=self._wait_aof,
            )
        except StreamGone as error:
            raise await self._catalog.without_stream(model) from error
        except AppendFull as error:
            raise TooMany(
                f"model {model.name!r} remembers {self._limits.most} Idempotency-Keys, as many as it may",
                kind="too-many-idempotency-keys",
                retry_after_s=max(1, self._limits.ttl_ms // 10_000),
            ) from error


def _same(seen: Seen, once: Once | None) -> EntryId:
    assert once is not None
    once.check(seen)
    return EntryId.parse(seen.entries[0])


class _Batcher:
    """Collects posts until a block is full or `wait_ms` has passed, then appends them in one call.

    Args: on_idle: called when no post is left.
    """

    def __init__(
        self,
        model: Model,
        append: Callable[[Model, Sequence[bytes], Sequence[int], Sequence[Post]], Awaitable[Appended]],
        *,
        on_idle: Callable[[], object],
    ) -> None:
        self._model = model
        self._append = append
        self._on_idle = on_idle
        self._waiting: list[_Pending] = []
        self._samples_waiting = 0
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def post(self, model: Model, samples: Samples, once: Once | None) -> Posted:
        """Args: model: as known now; its stream may be another one than that of earlier posts (`amstream accept-loss`)."""
        self._model = model
        pending = _Pending(samples, once, asyncio.get_running_loop().create_future())
        self._waiting.append(pending)
        self._samples_waiting += len(samples)
        if self._samples_waiting >= model.spec.block.size:
            self._full.set()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await pending.answer

    async def _work(self) -> None:
        """Runs while posts wait; one append at a time, so that their order in the stream is that of their arrival."""
        try:
            while self._waiting:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), self._model.spec.block.wait_ms / 1000)
                self._full.clear()
                batch, self._waiting = _without_repeated_keys(self._waiting)
                self._samples_waiting = sum(len(pending.samples) for pending in self._waiting)
                try:
                    await self._append_all(batch)
                except Exception as error:  # whatever it is, it is raised where the post came from
                    for pending in batch:
                        pending.fail(error)
        finally:
            self._on_idle()

    async def _append_all(self, batch: list[_Pending]) -> None:
        """Appends the posts that were not seen before, and answers all."""
        model = self._model
        while batch:
            parts = [pending.samples for pending in batch]
            blocks, counts, spans = await _aside(partial(_cut, parts, model.spec.block.size), parts)
            posts = [
                Post(pending.once.key.field, pending.once.digest, first, last)
                for pending, (first, last) in zip(batch, spans, strict=True)
                if pending.once is not None
            ]
            try:
                appended = await self._append(model, blocks, counts, posts)
            except TooMany as problem:  # keys: posts without one are none of those
                for pending in batch:
                    if pending.once is not None:
                        pending.fail(problem)
            else:
                if isinstance(appended, list):
                    for pending, (first, last) in zip(batch, spans, strict=True):
                        pending.succeed(Posted(appended[first : last + 1]))
                    return
                for pending in batch:
                    pending.answer_if_seen(appended)
            batch = [pending for pending in batch if not pending.answered]


def _without_repeated_keys(waiting: list[_Pending]) -> tuple[list[_Pending], list[_Pending]]:
    """(now, later): of posts with the same key, the first goes now, so that the others are recognised by it."""
    now: list[_Pending] = []
    later: list[_Pending] = []
    fields: set[str] = set()
    for pending in waiting:
        field = None if pending.once is None else pending.once.key.field
        (later if field in fields else now).append(pending)
        if field is not None:
            fields.add(field)
    return now, later


def _cut(parts: Sequence[Samples], size: int) -> tuple[list[bytes], list[int], list[tuple[int, int]]]:
    """The encoded blocks of all samples in order, how many each has, and for each part its (first, last) block."""
    whole = concatenated(parts)
    cut = [whole.slice(start, start + size) for start in range(0, len(whole), size)]
    spans, start = [], 0
    for part in parts:
        stop = start + len(part)
        spans.append((start // size, (stop - 1) // size))
        start = stop
    return [entries.encode(block) for block in cut], [len(block) for block in cut], spans
