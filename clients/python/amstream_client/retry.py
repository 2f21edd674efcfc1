"""When a request is sent again, and what it means that it was not answered: the same for both clients."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from amstream_client.errors import ConnectionFailed, Unavailable, UnexpectedAnswer, error_of

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 10.0
LONGEST_RETRY_AFTER_S = 60.0  # asked to wait longer, let the caller decide

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Attempts:
    """Of one request. The same request goes out every time, so an Idempotency-Key stays what it was.

    Args:
        repeatable: as in `Call`
        retries: how many times it is sent again
    """

    def __init__(self, *, repeatable: bool, retries: int) -> None:
        self._repeatable = repeatable
        self._retries = retries
        self._failed = 0

    def pause_s(self, failure: ConnectionFailed | Unavailable) -> float:
        """How long to wait before the next attempt. Raises the failure where there is none."""
        asked_s = (failure.retry_after_s or 0.0) if isinstance(failure, Unavailable) else 0.0
        unsent = isinstance(failure, ConnectionFailed) and not failure.sent
        if self._failed >= self._retries or not (self._repeatable or unsent) or asked_s > LONGEST_RETRY_AFTER_S:
            raise failure
        self._failed += 1
        return asked_s + backoff_s(self._failed - 1)


def backoff_s(attempt: int) -> float:
    """Doubles with every attempt; the jitter keeps clients that failed together from coming back together."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt, 20)) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret


@contextmanager
def answered(request: httpx.Request) -> Iterator[None]:
    """Raises: ConnectionFailed for what goes wrong on the way."""
    try:
        yield
    except NEVER_SENT as error:
        raise ConnectionFailed(f"cannot connect to {_origin(request)}: {_cause(error)}", sent=False) from error
    except httpx.RequestError as error:
        raise ConnectionFailed(f"no answer from {_origin(request)}: {_cause(error)}", sent=True) from error


def check_is_answer(request: httpx.Request, response: httpx.Response) -> None:
    """Before the body is read. Raises: ConnectionFailed when the answer carries another Idempotency-Key: something on
    the way repeated one, or mixed two up."""
    sent = request.headers.get("Idempotency-Key")
    if sent is not None and response.is_success and response.headers.get("Idempotency-Key", sent) != sent:
        raise ConnectionFailed(f"{_origin(request)} answered another request", sent=True)


def check_is_success(response: httpx.Response) -> None:
    """Of an answer that was read. Raises: ApiError; UnexpectedAnswer."""
    if response.is_error:
        raise error_of(response)
    if not response.is_success:
        origin = _origin(response.request)
        raise UnexpectedAnswer(f"{origin} answered {response.status_code}, which amstream never does")


def _origin(request: httpx.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode()}"


def _cause(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
