"""Counts and times every request, by the template of its route: paths would be as many as callers care to invent."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.meters import Meters

NO_ROUTE = "(none)"


class RequestMeter:
    """ASGI middleware. The time is that until the answer begins, since one that streams events may never end."""

    def __init__(self, app: ASGIApp, *, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.perf_counter()
        answered = False

        def count(status: int) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._meters.answered(scope["method"], template(scope), status, time.perf_counter() - begun)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        with self._meters.requests_in_progress.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            except Exception:
                count(500)
                raise


def template(scope: Scope) -> str:
    """Of the route that a request was given to, once it was."""
    return getattr(scope.get("route"), "path", NO_ROUTE)
