"""Sends a request until it is answered, refused for good, or its retries are spent."""

from __future__ import annotations

import random
from collections.abc import Callable

import httpx

from amstream_client.errors import ConnectionFailed, Unavailable, UnexpectedAnswer, error_of

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 10.0
LONGEST_RETRY_AFTER_S = 60.0  # asked to wait longer, let the caller decide

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def send(
    http: httpx.Client, request: httpx.Request, *, repeatable: bool, retries: int, sleep: Callable[[float], None]
) -> httpx.Response:
    """The successful response. The same request goes out every time, so an Idempotency-Key stays what it was.

    Args:
        repeatable: whether carrying the request out twice does no more than once; if not, it is sent again
            only when the connection failed before it was sent
    """
    attempt = 0
    while True:
        try:
            return _send_once(http, request)
        except (ConnectionFailed, Unavailable) as failure:
            asked_s = (failure.retry_after_s or 0.0) if isinstance(failure, Unavailable) else 0.0
            unsent = isinstance(failure, ConnectionFailed) and not failure.sent
            if attempt >= retries or not (repeatable or unsent) or asked_s > LONGEST_RETRY_AFTER_S:
                raise
        sleep(asked_s + _backoff_s(attempt))
        attempt += 1


def _send_once(http: httpx.Client, request: httpx.Request) -> httpx.Response:
    try:
        response = http.send(request, stream=True)
        try:
            if not _is_answer_to(request, response):
                raise ConnectionFailed(f"{_origin(request)} answered another request", sent=True)
            response.read()
        finally:
            response.close()  # unread, it takes its connection with it
    except NEVER_SENT as error:
        raise ConnectionFailed(f"cannot connect to {_origin(request)}: {_cause(error)}", sent=False) from error
    except httpx.RequestError as error:
        raise ConnectionFailed(f"no answer from {_origin(request)}: {_cause(error)}", sent=True) from error
    if response.is_error:
        raise error_of(response)
    if not response.is_success:
        raise UnexpectedAnswer(f"{_origin(request)} answered {response.status_code}, which amstream never does")
    return response


def _is_answer_to(request: httpx.Request, response: httpx.Response) -> bool:
    """False when an answer carries another Idempotency-Key: something on the way repeated one, or mixed two up."""
    sent = request.headers.get("Idempotency-Key")
    return sent is None or not response.is_success or response.headers.get("Idempotency-Key", sent) == sent


def _backoff_s(attempt: int) -> float:
    """Doubles with every attempt; the jitter keeps clients that failed together from coming back together."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret


def _origin(request: httpx.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode()}"


def _cause(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
