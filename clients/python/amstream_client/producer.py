"""Samples one at a time, sent in batches by a thread of its own."""

from __future__ import annotations

import threading
from time import monotonic, sleep
from types import TracebackType
from typing import Protocol, Self

from amstream_client.errors import AmstreamError
from amstream_client.outbox import OnRefused, Outbox, QueueFull
from amstream_client.payload import Inputs, Labels, Row, Time, Times, Weights
from amstream_client.wire import Accepted, Target


class Learns(Protocol):
    """What a producer needs of a client."""

    def learn(
        self,
        model: str,
        x: Inputs,
        y: Labels,
        weight: Weights | None = None,
        *,
        time: Times | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted: ...


class Producer:
    """Made by `Client.producer`, to be used as a context manager; `send` may be called by several threads.

    Samples are accepted in the order in which they were sent. A batch that fails for a passing reason is sent again under
    its key, so that nothing is learned twice. Leaving the context sends what waits, also after an exception.

    Attributes:
        accepted: how many samples were
        last_entry: of those that were accepted, for `min_entry`
    """

    def __init__(
        self,
        client: Learns,
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
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"amstream-producer-{model}", daemon=True)

    @property
    def accepted(self) -> int:
        return self._outbox.accepted

    @property
    def last_entry(self) -> str | None:
        return self._outbox.last_entry

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._outbox.ending = True
            self._changed.notify_all()
        self._thread.join()
        self._outbox.check()

    def send(
        self,
        x: Row,
        y: Target,
        weight: float = 1.0,
        *,
        time: Time = None,
        timeout_s: float | None = None,
    ) -> None:
        """Puts one sample behind those before it, x of shape (inputs,) or by name, and waits while too many wait.

        Raises:
            ProducerFailed: when one before it could not be sent
            QueueFull: after `timeout_s`, if it is given
            ValueError: for what cannot be sent
        """
        with self._changed:
            if self._outbox.ending or not self._thread.is_alive():
                self._outbox.check()
                raise RuntimeError("a producer sends inside its context: with client.producer(…) as producer")
            sample = self._outbox.sample(x, y, weight, time)
            free = self._changed.wait_for(lambda: not self._outbox.is_full or self._outbox.has_ended, timeout_s)
            self._outbox.check()
            if self._outbox.has_ended:
                raise RuntimeError("the producer has ended meanwhile")
            if not free:
                raise QueueFull(f"the queue of the producer for {self._outbox.model!r} is full")
            self._outbox.add(sample, monotonic())
            self._changed.notify_all()

    def flush(self) -> None:
        """Returns once all that was sent is accepted. Raises: ProducerFailed."""
        with self._changed:
            self._outbox.flush()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._outbox.is_empty or self._outbox.has_ended)
            self._outbox.check()

    def _run(self) -> None:
        try:
            while self._wait_until_due():
                self._post()
        except BaseException as error:  # whatever it is, whoever sends must hear of it
            with self._changed:
                self._outbox.end(error)
                self._changed.notify_all()

    def _wait_until_due(self) -> bool:
        """False at the end."""
        with self._changed:
            while not self._outbox.has_ended:
                due_in_s = self._outbox.due_in_s(monotonic())
                if due_in_s == 0:
                    return True
                self._changed.wait(due_in_s)
            return False

    def _post(self) -> None:
        with self._changed:
            post = self._outbox.post()
            self._changed.notify_all()
        pause_s = 0.0
        try:
            answer = self._client.learn(self._outbox.model, **post.arguments())
        except AmstreamError as error:
            with self._changed:
                pause_s = self._outbox.failed(error, monotonic())
                self._changed.notify_all()
        else:
            with self._changed:
                self._outbox.done(answer)
                self._changed.notify_all()
        sleep(pause_s)
