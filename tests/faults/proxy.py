"""A seeded TCP proxy that does to connections, requests and replies what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from enum import StrEnum, auto
from pathlib import Path
from typing import Any, Self

CHUNK = 2**20
QUIET_S = 0.02  # nothing for so long: a request or reply is complete
LATE_REPLY_S = 10.0

Upstream = tuple[str, int] | Path
"""(host, port), or a Unix socket."""


class Fault(StrEnum):
    """What happens to one exchange, a request and its reply. All but the delay and the repetitions end the connection."""

    CUT_BEFORE = auto()  # the request is not forwarded
    CUT_REQUEST = auto()  # half of it is
    DROP_REPLY = auto()  # the server has answered, and nobody hears it
    CUT_REPLY = auto()  # half of the answer is heard
    DELAY_REPLY = auto()
    REPEAT_REPLY = auto()
    REPEAT_REQUEST = auto()  # on another connection, at once
    LATE_REQUEST = auto()  # forwarded a while after its connection ended, perhaps after its own repetition
    REFUSE = auto()  # not forwarded, and new connections are refused for a while


def never(request: bytes) -> float:
    return 0.0


class Proxy:
    """Forwards connections, and spoils an exchange with a probability that may depend on how its request begins.

    Every kind of fault happens once before any happens twice. The same exchanges in the same order meet the same faults.

    Args:
        chance: the beginning of a request → the probability of a fault; assign it at any time
        kinds: which faults
        longest_s: of a delay, a late delivery, a refusal
    """

    def __init__(
        self,
        upstream: Upstream,
        seed: int,
        *,
        chance: Callable[[bytes], float] = never,
        kinds: Sequence[Fault] = tuple(Fault),
        longest_s: float = 0.05,
    ) -> None:
        self.chance = chance
        self.kinds = kinds
        self.happened: Counter[Fault] = Counter()
        self._upstream = upstream
        self._longest_s = longest_s
        self._draw = random.Random(seed)
        self._deck: list[Fault] = []
        self._held = _bound(("127.0.0.1", 0))  # keeps the port while nobody listens there
        self.port: int = self._held.getsockname()[1]
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def spoiling(self, chance: Callable[[bytes], float], kinds: Sequence[Fault] = tuple(Fault)) -> Iterator[None]:
        """Faults meanwhile, none afterwards; ends once what was to be late has arrived."""
        self.kinds, self._deck, self.chance = kinds, [], chance
        try:
            yield
        finally:
            self.chance = never
            self._wait_for(self._deliveries())

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait_for(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_for(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._held.close()

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _listen(self) -> None:
        # Not an asyncio.Server: one that is closed while a connection arrives leaves that connection's socket open.
        if self._listener is None:
            self._listener = _bound(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self._listener.listen(100)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _end(self) -> None:
        self._stop_listening()
        await asyncio.sleep(0)  # connections just accepted begin, so that they can end
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliveries(self) -> None:
        while deliveries := [task for task in self._tasks if task.get_name() == "delivery"]:
            await asyncio.wait(deliveries)

    # One connection

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # the client has gone
            connection, _ = listener.accept()
            self._begin(self._serve(connection), "connection")

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK)
        await _Connection(self, reader, writer).serve()

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(str(self._upstream), limit=CHUNK)
        return await asyncio.open_connection(*self._upstream, limit=CHUNK)

    # Faults

    def fault(self, request: bytes) -> Fault | None:
        if self._draw.random() >= self.chance(request):
            return None
        if not self._deck:
            self._deck = self._draw.sample(self.kinds, len(self.kinds))
        fault = self._deck.pop()
        self.happened[fault] += 1
        return fault

    def a_while(self) -> float:
        return self._draw.uniform(0.0, self._longest_s)

    def deliver(self, request: bytes, after_s: float) -> None:
        """On a connection of its own; the reply goes nowhere."""
        self._begin(self._deliver(request, after_s), "delivery")

    async def _deliver(self, request: bytes, after_s: float) -> None:
        await asyncio.sleep(after_s)
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await self.connect()
            try:
                writer.write(request)
                await asyncio.wait_for(reader.read(CHUNK), LATE_REPLY_S)
            finally:
                await _closed(writer)

    def refuse(self, for_s: float) -> None:
        if self._listener is not None:
            self._stop_listening()
            self._begin(self._listen_again(for_s), "delivery")

    async def _listen_again(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._listen()


class _Connection:
    """Two pumps; when one ends, so does the connection."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._answered = True  # what is read next from the client begins an exchange
        self._fault: Fault | None = None

    async def serve(self) -> None:
        writers = [self._writer]
        pumps: list[asyncio.Task[None]] = []
        try:
            reader, writer = await self._proxy.connect()
            writers.append(writer)
            pumps = [asyncio.create_task(self._requests(writer)), asyncio.create_task(self._replies(reader))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            return  # nobody upstream: the client sees its connection end
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in writers:
                await _closed(each)

    async def _requests(self, upstream: asyncio.StreamWriter) -> None:
        while data := await self._reader.read(CHUNK):
            if self._answered:
                self._answered = False
                self._fault = self._proxy.fault(data)
            if self._fault is Fault.CUT_BEFORE:
                return
            if self._fault is Fault.REFUSE:
                self._proxy.refuse(self._proxy.a_while())
                return
            if self._fault is Fault.CUT_REQUEST:
                upstream.write(data[: len(data) // 2])
                await upstream.drain()
                return
            if self._fault is Fault.LATE_REQUEST:
                self._proxy.deliver(data + await _rest(self._reader), self._proxy.a_while())
                return
            if self._fault is Fault.REPEAT_REQUEST:
                self._fault = None
                data += await _rest(self._reader)
                self._proxy.deliver(data, 0.0)
            upstream.write(data)
            await upstream.drain()

    async def _replies(self, upstream: asyncio.StreamReader) -> None:
        while data := await upstream.read(CHUNK):
            fault, self._fault = self._fault, None
            if fault is Fault.DROP_REPLY:
                return
            if fault is Fault.CUT_REPLY:
                self._writer.write(data[: len(data) // 2])
                await self._writer.drain()
                return
            if fault is Fault.DELAY_REPLY:
                await asyncio.sleep(self._proxy.a_while())
            if fault is Fault.REPEAT_REPLY:
                data = 2 * (data + await _rest(upstream))
            self._answered = True
            self._writer.write(data)
            await self._writer.drain()


def _bound(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    return sock


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What follows without a pause."""
    data = b""
    with contextlib.suppress(TimeoutError):
        while more := await asyncio.wait_for(reader.read(CHUNK), QUIET_S):
            data += more
    return data


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
