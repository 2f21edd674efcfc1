"""Bodies that trickle, below HTTP libraries."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api.slow_body import LEAST_BYTES_PER_S, SlowBody
from service.problems import RequestTimeout


class Sender:
    """Sends parts of so many bytes after so many seconds each, and then nothing but that it has gone."""

    def __init__(self, *parts: tuple[float, int]) -> None:
        self._parts = list(parts)

    async def receive(self) -> Message:
        if not self._parts:
            await asyncio.sleep(0.3)
            return {"type": "http.disconnect"}
        wait_s, size = self._parts.pop(0)
        await asyncio.sleep(wait_s)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(self._parts)}


def read(sender: Sender, *, slow_s: float, busy_s: float = 0.0, after: int = 0) -> int:
    """How many bytes an application gets that is busy for a while after each part, and then asks so often for more."""
    received = 0

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        nonlocal received
        more = True
        while more:
            message = await receive()
            received += len(message["body"])
            more = message["more_body"]
            await asyncio.sleep(busy_s)
        for _times in range(after):
            assert (await receive())["type"] == "http.disconnect"

    async def send(_: Message) -> None:
        pass

    scope = {"type": "http", "headers": [(b"transfer-encoding", b"chunked")]}
    asyncio.run(SlowBody(application, slow_s=slow_s)(scope, sender.receive, send))
    return received


def test_a_body_that_never_ends_is_given_up() -> None:
    with pytest.raises(RequestTimeout, match=r"^3 bytes of the body came"):
        read(Sender((0, 3), (60, 1), (60, 1)), slow_s=0.05)


def test_small_steps_do_not_help() -> None:
    with pytest.raises(RequestTimeout):
        read(Sender(*[(0.02, 1)] * 1000), slow_s=0.1)


def test_what_comes_fast_enough_may_take_longer() -> None:
    size = LEAST_BYTES_PER_S
    assert read(Sender((0, size), (0.2, size), (0.2, size)), slow_s=0.1) == 3 * size


def test_the_time_that_the_server_takes_does_not_count() -> None:
    assert read(Sender((0, 1), (0, 1), (0, 1)), slow_s=0.1, busy_s=0.2) == 3


def test_waiting_for_the_client_to_go_is_no_slow_body() -> None:
    assert read(Sender((0, 1)), slow_s=0.1, after=1) == 1
