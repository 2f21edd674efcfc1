"""Requests as fast as a service answers them, by a client that costs little itself: bytes made beforehand, bare sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

NO_OP = "/no-op"
"""The route of `benchmarks.measured_service` that does nothing."""
COUNTING = "--counting"
"""Its option for a learner that only counts."""

TIMEOUT_S = 600.0
PIECE = 65536


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


class UnexpectedAnswer(Exception):
    """The service refused what the benchmark sent."""


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request; the connection stays open."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Wire:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, sent: bytes, *, expected: int = 200) -> Answer:
        """Raises: UnexpectedAnswer for another status."""
        self._socket.sendall(sent)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = bytes(received[:end]).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(received) < end + 4 + length:
            received += self._more()
        answer = Answer(int(head.split(None, 2)[1]), bytes(received[end + 4 :]))
        if answer.status != expected:
            raise UnexpectedAnswer(f"{answer.status}: {answer.body.decode(errors='replace')[:500]}")
        return answer

    def _more(self) -> bytes:
        piece = self._socket.recv(PIECE)
        if not piece:
            raise ConnectionError("the service closed the connection")
        return piece

    def close(self) -> None:
        self._socket.close()


@contextmanager
def wires(port: int, count: int) -> Iterator[list[Wire]]:
    opened = [Wire(port) for _ in range(count)]
    try:
        yield opened
    finally:
        for wire in opened:
            wire.close()


def send_all(port: int, requests: Sequence[bytes], *, connections: int, expected: int) -> list[Answer]:
    """All of them, over so many connections; in order, when it is one. Answers in the order of the requests."""
    with wires(port, connections) as opened, ThreadPoolExecutor(connections) as pool:

        def share(number: int) -> list[Answer]:
            return [opened[number].exchange(one, expected=expected) for one in requests[number::connections]]

        answers: list[Answer | None] = [None] * len(requests)
        for number, shared in enumerate(pool.map(share, range(connections))):
            answers[number::connections] = shared
    return [answer for answer in answers if answer is not None]


def latencies_s(wire: Wire, requests: Sequence[bytes], rounds: int) -> list[list[float]]:
    """Seconds of each request, `rounds` times one after the other, so that whatever else goes on hits them alike."""
    times: list[list[float]] = [[] for _ in requests]
    for _ in range(rounds):
        for one, found in zip(requests, times, strict=True):
            begun = time.perf_counter()
            wire.exchange(one)
            found.append(time.perf_counter() - begun)
    return times


def rate(port: int, sent: bytes, *, connections: int, seconds: float) -> float:
    """Answers a second, each connection sending again as soon as it is answered."""
    with wires(port, connections) as opened, ThreadPoolExecutor(connections) as pool:
        end = time.perf_counter() + seconds

        def work(wire: Wire) -> int:
            count = 0
            while time.perf_counter() < end:
                wire.exchange(sent)
                count += 1
            return count

        begun = time.perf_counter()
        total = sum(pool.map(work, opened))
        return total / (time.perf_counter() - begun)


@contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work`, which is to return soon after the event is set, while the block runs. Raises: what it raised."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, over)
        try:
            yield
        finally:
            over.set()
        running.result()
