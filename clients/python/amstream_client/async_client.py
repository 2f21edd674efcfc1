"""The asynchronous client: the methods of `Client`, each to be awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import anyio
import anyio.to_thread
import httpx
from httpx_sse import EventSource

from amstream_client.async_producer import AsyncProducer
from amstream_client.call import Call, described_by, http_options, joined
from amstream_client.calls import of_dead_letters, of_keys, of_models, of_samples, of_service, of_snapshots, of_tracking
from amstream_client.compression import Compression, checked_compression
from amstream_client.discovery import DEFAULT_URL, discover
from amstream_client.errors import ApiError, ConnectionFailed, Unavailable
from amstream_client.events import Event, Listening
from amstream_client.outbox import OnRefused
from amstream_client.retry import Attempts, answered, check_is_answer, check_is_success

P = ParamSpec("P")
T = TypeVar("T")


def _does(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """The method that carries out the calls that `build` makes."""

    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        call: Call[T] | None = build(*args, **kwargs)
        pages: list[T] = []
        while call is not None:
            answer = await self._answer_to(call)
            pages.append(call.read(answer))
            call = call.next_page(answer)
        return joined(pages)

    described_by(build, method)
    return method


def _does_with_files(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """The same, with files read and written in a thread."""

    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        call = await anyio.to_thread.run_sync(lambda: build(*args, **kwargs))
        return await anyio.to_thread.run_sync(call.read, await self._answer_to(call))

    described_by(build, method)
    return method


class AsyncClient:
    """As `Client`, for asyncio and trio: methods are awaited, `events` is iterated with `async for`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 5,
        compress: Compression = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._compress = checked_compression(compress)
        self._sleep = sleep
        self._http = httpx.AsyncClient(**http_options(url, key, timeout_s), transport=transport)

    @classmethod
    def from_environment(
        cls,
        *,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 5,
        compress: Compression = None,
        transport: httpx.AsyncBaseTransport | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """A client of the service that AMSTREAM_URL and AMSTREAM_KEY name, else of the one on this machine."""
        found_url, found_key = discover(url, key, environ)
        return cls(found_url, found_key, timeout_s=timeout_s, retries=retries, compress=compress, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    create_model = _does(of_models.create_model)
    model = _does(of_models.model)
    models = _does(of_models.models)
    delete_model = _does(of_models.delete_model)
    hyperparameters = _does(of_models.hyperparameters)
    set_hyperparameters = _does(of_models.set_hyperparameters)
    metrics = _does(of_models.metrics)
    promote = _does(of_models.promote)

    learn = _does(of_samples.learn)
    predict = _does(of_samples.predict)
    predict_one = _does(of_samples.predict_one)
    predict_values = _does(of_samples.predict_values)

    tracked = _does(of_tracking.tracked)
    label = _does(of_tracking.label)
    label_many = _does(of_tracking.label_many)

    dead_letters = _does(of_dead_letters.dead_letters)
    delete_dead_letters = _does(of_dead_letters.delete_dead_letters)

    create_snapshot = _does(of_snapshots.create_snapshot)
    snapshots = _does(of_snapshots.snapshots)
    snapshot = _does(of_snapshots.snapshot)
    delete_snapshot = _does(of_snapshots.delete_snapshot)
    export_snapshot = _does_with_files(of_snapshots.export_snapshot)
    import_snapshot = _does_with_files(of_snapshots.import_snapshot)
    restore = _does(of_snapshots.restore)

    create_key = _does(of_keys.create_key)
    keys = _does(of_keys.keys)
    revoke_key = _does(of_keys.revoke_key)

    check_ready = _does(of_service.check_ready)
    version = _does(of_service.version)

    async def ready(self) -> bool:
        """False while the service starts or has lost its stores; raises ConnectionFailed when nothing answers."""
        try:
            await self._answer_to(of_service.check_ready(), retries=0)
        except Unavailable:
            return False
        return True

    async def events(
        self, model: str, *, after: str | None = None, patience_s: float = 300.0
    ) -> AsyncGenerator[Event, None]:
        """What happens to the model, from now on, or after an event that was seen; "0-0": from the oldest that is kept.

        Goes on where it was through lost connections and restarts that take at most `patience_s` each, and ends when the
        model is deleted.
        """
        listening = Listening(model, after, retries=self._retries, patience_s=patience_s, timeout_s=self._timeout_s)
        pause_s: float | None = 0.0
        while pause_s is not None:
            await self._sleep(pause_s)
            try:
                async with aclosing(self._heard(listening)) as heard:
                    async for event in heard:
                        yield event
            except (ApiError, ConnectionFailed) as failure:
                pause_s = listening.pause_s(failure)
            else:
                pause_s = listening.pause_s(None)

    async def _heard(self, listening: Listening) -> AsyncGenerator[Event, None]:
        request = self._http.build_request(**listening.request_arguments())
        with answered(request):
            response = await self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    await response.aread()
                check_is_success(response)
                listening.begins(response)
                async with aclosing(EventSource(response).aiter_sse()) as messages:
                    async for message in messages:
                        if (event := listening.hear(message)) is not None:
                            yield event
            finally:
                await response.aclose()

    def producer(
        self,
        model: str,
        *,
        batch: int = 256,
        wait_s: float = 0.1,
        queue: int = 10_000,
        patience_s: float = 300.0,
        on_refused: OnRefused | None = None,
    ) -> AsyncProducer:
        """For samples that come one at a time: `async with client.producer("m") as p: await p.send(x, y)`.

        Args:
            batch: most samples a post; a larger one costs less, a smaller one is learned sooner
            wait_s: how long the first sample of a post waits for others
            queue: most samples that wait; then `send` waits
            patience_s: how long a post is tried when the service is away, below the time for which it keeps keys (1 h)
            on_refused: is called with samples that the service refuses for good, and the error; without it, that ends
                the producer
        """
        return AsyncProducer(
            self, model, batch=batch, wait_s=wait_s, queue=queue, patience_s=patience_s, on_refused=on_refused
        )

    async def _answer_to(self, call: Call[Any], *, retries: int | None = None) -> httpx.Response:
        if self._compress is None:
            arguments = call.request_arguments()
        else:  # large bodies take long
            arguments = await anyio.to_thread.run_sync(call.request_arguments, self._compress)
        request = self._http.build_request(**arguments)
        attempts = Attempts(repeatable=call.repeatable, retries=self._retries if retries is None else retries)
        while True:
            try:
                return await self._send(request)
            except (ConnectionFailed, Unavailable) as failure:
                pause_s = attempts.pause_s(failure)
            await self._sleep(pause_s)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        with answered(request):
            response = await self._http.send(request, stream=True)
            try:
                check_is_answer(request, response)
                await response.aread()
            finally:
                await response.aclose()  # unread, it takes its connection with it
        check_is_success(response)
        return response
