"""A client that posts digits, with the client library's retries, while a test breaks something."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from amstream_client import Client
from tests.server import Server

DEADLINE_S = 60
PAUSE_S = 0.005
"""Between posts, so that what is learned, and folded again by the test, does not grow with the speed of the machine."""


class Producer(threading.Thread):
    """Posts to one model until told to finish; `posted` holds the inputs of what was accepted, post by post."""

    def __init__(self, server: Server, model: str) -> None:
        super().__init__(daemon=True)
        self._client = Client(server.url, server.admin_key, retries=1000, timeout_s=20, sleep=_briefly)
        self._model = model
        self._finishing = threading.Event()
        self.posted: list[NDArray[np.float32]] = []
        self.error: Exception | None = None

    @property
    def inputs(self) -> NDArray[np.float32]:
        return np.concatenate(self.posted)

    def run(self) -> None:
        x, y = load_digits(return_X_y=True)
        draw = random.Random(0)
        try:
            while not self._finishing.is_set():
                start, size = draw.randrange(len(y) - 20), draw.randrange(1, 20)
                xs = x[start : start + size].astype(np.float32)
                self._client.learn(self._model, xs, y[start : start + size].tolist())
                self.posted.append(xs)
                time.sleep(PAUSE_S)
        except Exception as error:  # told to the test's own thread
            self.error = error

    def wait_for_more(self, posts: int = 1) -> None:
        """Until so many more posts are accepted."""
        wanted, deadline = len(self.posted) + posts, time.monotonic() + DEADLINE_S
        while len(self.posted) < wanted and self.error is None:
            assert time.monotonic() < deadline, "nothing is accepted"
            time.sleep(0.001)

    def finish(self) -> str:
        """Makes one post more and returns its last entry: once that is applied, all are."""
        self._finishing.set()
        self.join(timeout=DEADLINE_S)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        again = self.posted[0]
        entries = self._client.learn(self._model, again, [0] * len(again)).entries
        self.posted.append(again)
        self._client.close()
        return entries[-1]


def _briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))
