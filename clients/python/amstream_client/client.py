"""The synchronous client: one method per call of the HTTP API."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx
from httpx_sse import EventSource

from amstream_client.call import Call, described_by, http_options, joined
from amstream_client.calls import of_dead_letters, of_keys, of_models, of_samples, of_service, of_snapshots, of_tracking
from amstream_client.compression import Compression, checked_compression
from amstream_client.discovery import DEFAULT_URL, discover
from amstream_client.errors import ApiError, ConnectionFailed, Unavailable
from amstream_client.events import Event, Listening
from amstream_client.outbox import OnRefused
from amstream_client.producer import Producer
from amstream_client.retry import Attempts, answered, check_is_answer, check_is_success

P = ParamSpec("P")
T = TypeVar("T")


def _does(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method that carries out the calls that `build` makes."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        call: Call[T] | None = build(*args, **kwargs)
        pages: list[T] = []
        while call is not None:
            answer = self._answer_to(call)
            pages.append(call.read(answer))
            call = call.next_page(answer)
        return joined(pages)

    described_by(build, method)
    return method


class Client:
    """Talks to one service; close it, or use it as a context manager. Methods raise `AmstreamError`.

    What fails for a passing reason (no connection, 429, 503) is tried again after a growing pause, unless a second
    try could do harm. May be shared by threads.

    Args:
        timeout_s: for each attempt, of connecting and of every wait for data
        retries: how often a request is tried again; 0 = never
        compress: "gzip" = send bodies compressed where that makes them smaller
        transport: replaces the network, in tests for example (`amstream_client.testing.FakeService`)
        sleep: waits between attempts
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 5,
        compress: Compression = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._compress = checked_compression(compress)
        self._sleep = sleep
        self._http = httpx.Client(**http_options(url, key, timeout_s), transport=transport)

    @classmethod
    def from_environment(
        cls,
        *,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 5,
        compress: Compression = None,
        transport: httpx.BaseTransport | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """A client of the service that AMSTREAM_URL and AMSTREAM_KEY name, else of the one on this machine."""
        found_url, found_key = discover(url, key, environ)
        return cls(found_url, found_key, timeout_s=timeout_s, retries=retries, compress=compress, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

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
    export_snapshot = _does(of_snapshots.export_snapshot)
    import_snapshot = _does(of_snapshots.import_snapshot)
    restore = _does(of_snapshots.restore)

    create_key = _does(of_keys.create_key)
    keys = _does(of_keys.keys)
    revoke_key = _does(of_keys.revoke_key)

    check_ready = _does(of_service.check_ready)
    version = _does(of_service.version)

    def ready(self) -> bool:
        """False while the service starts or has lost its stores; raises ConnectionFailed when nothing answers."""
        try:
            self._answer_to(of_service.check_ready(), retries=0)
        except Unavailable:
            return False
        return True

    def events(
        self, model: str, *, after: str | None = None, patience_s: float = 300.0
    ) -> Generator[Event, None, None]:
        """What happens to the model, from now on, or after an event that was seen; "0-0": from the oldest that is kept.

        Goes on where it was through lost connections and restarts that take at most `patience_s` each, and ends when the
        model is deleted.
        """
        listening = Listening(model, after, retries=self._retries, patience_s=patience_s, timeout_s=self._timeout_s)
        pause_s: float | None = 0.0
        while pause_s is not None:
            self._sleep(pause_s)
            try:
                yield from self._heard(listening)
            except (ApiError, ConnectionFailed) as failure:
                pause_s = listening.pause_s(failure)
            else:
                pause_s = listening.pause_s(None)

    def _heard(self, listening: Listening) -> Generator[Event, None, None]:
        request = self._http.build_request(**listening.request_arguments())
        with answered(request):
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                check_is_success(response)
                listening.begins(response)
                for message in EventSource(response).iter_sse():
                    if (event := listening.hear(message)) is not None:
                        yield event
            finally:
                response.close()

    def producer(
        self,
        model: str,
        *,
        batch: int = 256,
        wait_s: float = 0.1,
        queue: int = 10_000,
        patience_s: float = 300.0,
        on_refused: OnRefused | None = None,
    ) -> Producer:
        """For samples that come one at a time: `with client.producer("m") as p: p.send(x, y)`.

        Args:
            batch: most samples a post; a larger one costs less, a smaller one is learned sooner
            wait_s: how long the first sample of a post waits for others
            queue: most samples that wait; then `send` waits
            patience_s: how long a post is tried when the service is away, below the time for which it keeps keys (1 h)
            on_refused: is called with samples that the service refuses for good, and the error; without it, that ends
                the producer
        """
        return Producer(
            self, model, batch=batch, wait_s=wait_s, queue=queue, patience_s=patience_s, on_refused=on_refused
        )

    def _answer_to(self, call: Call[Any], *, retries: int | None = None) -> httpx.Response:
        request = self._http.build_request(**call.request_arguments(self._compress))
        attempts = Attempts(repeatable=call.repeatable, retries=self._retries if retries is None else retries)
        while True:
            try:
                return self._send(request)
            except (ConnectionFailed, Unavailable) as failure:
                pause_s = attempts.pause_s(failure)
            self._sleep(pause_s)

    def _send(self, request: httpx.Request) -> httpx.Response:
        with answered(request):
            response = self._http.send(request, stream=True)
            try:
                check_is_answer(request, response)
                response.read()
            finally:
                response.close()  # unread, it takes its connection with it
        check_is_success(response)
        return response
