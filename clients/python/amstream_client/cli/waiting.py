"""Waiting until what was accepted is learned."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from amstream_client.client import Client
from amstream_client.errors import AmstreamError, Forbidden, Unavailable, WrongTask
from amstream_client.retry import backoff_s

LONGEST_PAUSE_S = 1.0
STILL_S = 30.0  # about as long as a prediction waits for its entry


def wait_until_learned(client: Client, model: str, inputs: int, entry: str) -> None:
    """Waits for as long as the learner gets on; raises AmstreamError when it stands still."""
    probe = np.zeros((1, inputs))
    version = None
    while True:
        try:
            client.predict(model, probe, min_entry=entry)
            return
        except WrongTask:
            return  # an answer all the same, by a version that has learned the entry
        except Forbidden:  # a key that may learn alone may see how far the model got
            look_until_learned(client, model, entry)
            return
        except Unavailable:
            reached = client.model(model).model_version
            if reached == version:
                raise
            version = reached


def look_until_learned(client: Client, model: str, entry: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """The same, by the model's resource."""
    seen: str | None = None
    looks, still_s = 0, 0.0
    while True:
        applied = client.model(model).applied_entry
        if applied is not None and _place(applied) >= _place(entry):
            return
        if applied != seen:
            seen, still_s = applied, 0.0
        if still_s > STILL_S:
            raise AmstreamError(f"the model stands still at entry {applied}, before {entry}")
        pause_s = min(LONGEST_PAUSE_S, backoff_s(looks))
        sleep(pause_s)
        looks += 1
        still_s += pause_s


def _place(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)
