"""What happens to a model, as it happens: where one listener is, whichever client it listens with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import ServerSentEvent

from amstream_client.call import model_path
from amstream_client.errors import ApiError, ConnectionFailed, NotFound, Unavailable, UnexpectedAnswer
from amstream_client.retry import Attempts, backoff_s

KINDS = ("learned", "checkpoint", "drift", "new-class", "adopted", "dead-letter", "missed")
SILENCE_S = 60.0  # the service says something every 15 s
PAUSE_S = 1.0  # after a stream that the service ended


@dataclass(frozen=True)
class Event:
    """Args:
    id: its place among the events, to go on after; of `missed`, the place before what is gone
    kind: one of KINDS; missed: some are gone that came here
    data: what there is to say; an event may come twice, and names the entry that it is about
    """

    id: str | None
    kind: str
    data: Mapping[str, Any]


class Listening:
    """Goes on after the last event that came, through lost connections and restarts, until the model is deleted.

    Args:
        retries: until it begins to listen
        patience_s: how long it tries to go on, once it has listened
    """

    def __init__(self, model: str, after: str | None, *, retries: int, patience_s: float, timeout_s: float) -> None:
        self._path = model_path(model, "events")
        self._after = after
        self._patience_s = patience_s
        self._timeout = httpx.Timeout(timeout_s, read=max(timeout_s, SILENCE_S))
        self._attempts = Attempts(repeatable=True, retries=retries)
        self._heard_before = False
        self._lost = 0
        self._waited_s = 0.0

    def request_arguments(self) -> dict[str, Any]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._after is not None:
            headers["Last-Event-ID"] = self._after
        return {"method": "GET", "url": self._path, "headers": headers, "timeout": self._timeout}

    def begins(self, response: httpx.Response) -> None:
        """Raises: UnexpectedAnswer for what is no stream of events."""
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise UnexpectedAnswer(f"{response.url} answered something that is no stream of events")
        self._heard_before = True
        self._lost = 0
        self._waited_s = 0.0

    def hear(self, message: ServerSentEvent) -> Event | None:
        """None for a message that tells only where the listener is. Raises: UnexpectedAnswer."""
        self._after = message.id or self._after
        if not message.data:
            return None
        try:
            data = message.json()
        except json.JSONDecodeError as error:
            raise UnexpectedAnswer(f"an event of {self._path} is not JSON") from error
        return Event(message.id or None, message.event, data)

    def pause_s(self, failure: ApiError | ConnectionFailed | None) -> float | None:
        """How long to wait before listening again; None when the model that was listened to is deleted.

        Raises the failure where it is final.
        """
        if failure is None:
            return PAUSE_S
        if isinstance(failure, NotFound) and self._heard_before:
            return None
        if not isinstance(failure, Unavailable | ConnectionFailed):
            raise failure
        if not self._heard_before:
            return self._attempts.pause_s(failure)
        if self._waited_s >= self._patience_s:
            raise failure
        asked_s = (failure.retry_after_s or 0.0) if isinstance(failure, Unavailable) else 0.0
        pause_s = asked_s + backoff_s(self._lost)
        self._lost += 1
        self._waited_s += pause_s
        return pause_s
