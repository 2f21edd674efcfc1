"""Samples one at a time, sent in batches by a task of its own."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Protocol, Self

import anyio
from anyio.abc import TaskGroup

from amstream_client.errors import AmstreamError
from amstream_client.outbox import OnRefused, Outbox, QueueFull
from amstream_client.payload import Inputs, Labels, Row, Time, Times, Weights
from amstream_client.wire import Accepted, Target


class LearnsAsync(Protocol):
    async def learn(
        self,
        model: str,
        x: Inputs,
        y: Labels,
        weight: Weights | None = None,
        *,
        time: Times | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted: ...


class AsyncProducer:
    """As `Producer`, made by `AsyncClient.producer`. Cancelled, it sends no more, and what waits is dropped."""

    def __init__(
        self,
        client: LearnsAsync,
        model: str,
        *,
        batch: int,
        wait_s: float,
        queue: int,
        patience_s: float,
        on_refused: OnRefused | None,
    ) -> None:
        self._client = client
        self._outbox = Outbox(
            model, batch=batch, wait_s=wait_s, queue=queue, patience_s=patience_s, on_refused=on_refused
        )
        self._changed = anyio.Condition()
        self._tasks: TaskGroup | None = None

    @property
    def accepted(self) -> int:
        return self._outbox.accepted

    @property
    def last_entry(self) -> str | None:
        return self._outbox.last_entry

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await self._tasks.__aexit__(kind, error, traceback)
            return
        async with self._changed:
            self._outbox.ending = True
            self._changed.notify_all()
        await self._tasks.__aexit__(None, None, None)
        self._outbox.check()

    async def send(
        self,
        x: Row,
        y: Target,
        weight: float = 1.0,
        *,
        time: Time = None,
        timeout_s: float | None = None,
    ) -> None:
        """As `Producer.send`."""
        async with self._changed:
            if self._outbox.ending or self._tasks is None:
                self._outbox.check()
                raise RuntimeError("a producer sends inside its context: async with client.producer(…) as producer")
            sample = self._outbox.sample(x, y, weight, time)
            with anyio.move_on_after(timeout_s):
                while self._outbox.is_full and not self._outbox.has_ended:
                    await self._changed.wait()
            self._outbox.check()
            if self._outbox.has_ended:
                raise RuntimeError("the producer has ended meanwhile")
            if self._outbox.is_full:
                raise QueueFull(f"the queue of the producer for {self._outbox.model!r} is full")
            self._outbox.add(sample, monotonic())
            self._changed.notify_all()

    async def flush(self) -> None:
        """Returns once all that was sent is accepted. Raises: ProducerFailed."""
        async with self._changed:
            self._outbox.flush()
            self._changed.notify_all()
            while not (self._outbox.is_empty or self._outbox.has_ended):
                await self._changed.wait()
            self._outbox.check()

    async def _run(self) -> None:
        try:
            while await self._wait_until_due():
                await self._post()
        except Exception as error:  # whatever it is, whoever sends must hear of it
            async with self._changed:
                self._outbox.end(error)
                self._changed.notify_all()

    async def _wait_until_due(self) -> bool:
        """False at the end."""
        async with self._changed:
            while not self._outbox.has_ended:
                due_in_s = self._outbox.due_in_s(monotonic())
                if due_in_s == 0:
                    return True
                with anyio.move_on_after(due_in_s):
                    await self._changed.wait()
            return False

    async def _post(self) -> None:
        async with self._changed:
            post = self._outbox.post()
            self._changed.notify_all()
        pause_s = 0.0
        try:
            answer = await self._client.learn(self._outbox.model, **post.arguments())
        except AmstreamError as error:
            async with self._changed:
                pause_s = self._outbox.failed(error, monotonic())
                self._changed.notify_all()
        else:
            async with self._changed:
                self._outbox.done(answer)
                self._changed.notify_all()
        await anyio.sleep(pause_s)
