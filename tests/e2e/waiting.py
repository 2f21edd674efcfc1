"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_S = 60


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
