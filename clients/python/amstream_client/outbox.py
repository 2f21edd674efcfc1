"""What a producer has still to send: the same for threads and for tasks. It waits for nothing, and knows no network."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from amstream_client.errors import AmstreamError, ApiError, ConnectionFailed, Invalid, TooLarge, Unavailable
from amstream_client.limits import LARGEST_WEIGHT
from amstream_client.payload import Row, Time, to_rows, to_seconds, to_targets
from amstream_client.retry import backoff_s
from amstream_client.wire import Accepted, Target


@dataclass(frozen=True, eq=False)
class Sample:
    x: NDArray[np.float32] | dict[str, float | None]  # (inputs,), or by name
    y: Target
    weight: float = 1.0
    time: float | None = None  # when it happened, in seconds since 1970


@dataclass(frozen=True)
class Post:
    """Samples that go out together, under one key however often they are tried."""

    samples: Sequence[Sample]
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    def arguments(self) -> dict[str, Any]:
        """Of `learn`."""
        weights = [sample.weight for sample in self.samples]
        times = [sample.time for sample in self.samples]
        return {
            "x": [sample.x for sample in self.samples],
            "y": [sample.y for sample in self.samples],
            "weight": weights if any(weight != 1 for weight in weights) else None,
            "time": times if any(time is not None for time in times) else None,
            "idempotency_key": self.key,
        }


OnRefused: TypeAlias = Callable[[Sequence[Sample], ApiError], None]


class ProducerFailed(AmstreamError):
    """A producer's end. `__cause__` says why; `unsent` holds the samples that were not accepted, in their order.

    Where the service may have accepted the first of them all the same, without an answer, `maybe_accepted` counts those.
    """

    def __init__(self, message: str, unsent: Sequence[Sample], maybe_accepted: int = 0) -> None:
        super().__init__(message, unsent, maybe_accepted)
        self.message = message
        self.unsent = unsent
        self.maybe_accepted = maybe_accepted

    def __str__(self) -> str:
        return f"{self.message} ({len(self.unsent)} samples not sent)"


class QueueFull(AmstreamError):
    """As many samples wait as may; `send` was told not to wait for longer."""


class Outbox:
    """Args:
    batch: most samples a post
    wait_s: how long the first sample of a post waits for others
    queue: most samples that wait
    patience_s: how long one post is tried when the service is away
    on_refused: gets samples that the service refuses for good, so that the producer goes on; without it, it fails
    """

    def __init__(
        self, model: str, *, batch: int, wait_s: float, queue: int, patience_s: float, on_refused: OnRefused | None
    ) -> None:
        if not 1 <= batch <= queue:
            raise ValueError(f"batch must be from 1 to queue = {queue}, not {batch}")
        self.model = model
        self.accepted = 0
        self.last_entry: str | None = None
        self.ending = False
        self._batch = batch
        self._wait_s = wait_s
        self._most = queue
        self._patience_s = patience_s
        self._on_refused = on_refused
        self._waiting: deque[tuple[float, Sample]] = deque()
        self._post: Post | None = None
        self._failed_attempts = 0
        self._first_failure_at = 0.0
        self._flushes = 0
        self._failure: ProducerFailed | None = None

    def sample(self, x: Row, y: Target, weight: float, time: Time) -> Sample:
        """Raises: ValueError for what cannot be sent."""
        [row] = to_rows([x])
        [target] = to_targets([y])
        if not 0 <= weight <= LARGEST_WEIGHT:
            raise ValueError(f"weight must be a number from 0 to {LARGEST_WEIGHT:g}, not {weight}")
        if self._waiting and _form(row) != (form := _form(self._waiting[-1][1].x)):
            raise ValueError(f"x has {_form(row)}, the sample before it {form}")
        [seconds] = to_seconds([time], 1)
        return Sample(row, target, float(weight), seconds)

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._most

    @property
    def is_empty(self) -> bool:
        """Everything was accepted, or given up."""
        return self._post is None and not self._waiting

    @property
    def has_ended(self) -> bool:
        return self._failure is not None or (self.ending and self.is_empty)

    def add(self, sample: Sample, now: float) -> None:
        self._waiting.append((now, sample))

    def flush(self) -> None:
        """What waits now goes out without waiting for more."""
        self._flushes = len(self._waiting)

    def due_in_s(self, now: float) -> float | None:
        """When the next post goes out; None while nothing waits."""
        if self._post is not None:
            return 0.0
        if not self._waiting:
            return None
        if self.ending or self._flushes or len(self._waiting) >= self._batch:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._wait_s - now)

    def post(self) -> Post:
        """The next one, or that which failed, again."""
        if self._post is None:
            taken = [sample for _, sample in islice(self._waiting, self._batch)]
            for _ in taken:
                self._waiting.popleft()
            self._flushes = max(0, self._flushes - len(taken))
            self._post = Post(taken)
            self._failed_attempts = 0
        return self._post

    def done(self, answer: Accepted) -> None:
        self.accepted += answer.accepted
        self.last_entry = answer.entries[-1] if answer.entries else self.last_entry
        self._post = None

    def failed(self, error: AmstreamError, now: float) -> float:
        """How long to wait before going on, with the same post or the next one; or the end: `check` raises from now on."""
        if isinstance(error, Invalid | TooLarge) and self._on_refused is not None and self._post is not None:
            self._on_refused(self._post.samples, error)
            self._post = None
            return 0.0
        if isinstance(error, ConnectionFailed | Unavailable):
            if not self._failed_attempts:
                self._first_failure_at = now
            asked_s = (error.retry_after_s or 0.0) if isinstance(error, Unavailable) else 0.0
            pause_s = asked_s + backoff_s(self._failed_attempts)
            self._failed_attempts += 1
            if now + pause_s - self._first_failure_at <= self._patience_s:
                return pause_s
        self.end(error)
        return 0.0

    def end(self, cause: BaseException) -> None:
        in_flight = [] if self._post is None else list(self._post.samples)
        unsent = [*in_flight, *(sample for _, sample in self._waiting)]
        maybe = 0 if isinstance(cause, ApiError) and not isinstance(cause, Unavailable) else len(in_flight)
        self._failure = ProducerFailed(f"the producer for {self.model!r} ended: {cause}", unsent, maybe)
        self._failure.__cause__ = cause

    def check(self) -> None:
        """Raises: ProducerFailed."""
        if self._failure is not None:
            raise self._failure


def _form(row: NDArray[np.float32] | dict[str, float | None]) -> str:
    """What samples that go out together have in common."""
    return "names" if isinstance(row, dict) else f"{len(row)} values"
