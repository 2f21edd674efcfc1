"""Every request has an ID, the caller's own or a new one: it stands in the answer and in every line that the log has of it."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.request_meter import template

HEADER = "X-Request-Id"
SCOPE_KEY = "amstream.request_id"
ID = re.compile(rb"[\w.:/+=@-]{1,128}", re.ASCII)

log = structlog.get_logger()


class RequestLog:
    """ASGI middleware. What went well is said at the level debug, what was refused at info, what failed at warning."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.perf_counter()
        scope[SCOPE_KEY] = request_id = _request_id(scope)
        status = 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, told)
            finally:
                say = log.debug if status < 400 else log.info if status < 500 else log.warning
                ms = round(1000 * (time.perf_counter() - begun), 1)
                say("request", method=scope["method"], route=template(scope), status=status, ms=ms)


def _request_id(scope: Scope) -> str:
    """The caller's own, unless it could be mistaken for something else in a log."""
    wanted = HEADER.lower().encode()
    given = next((value for name, value in scope["headers"] if name == wanted), b"")
    return given.decode("ascii") if ID.fullmatch(given) else uuid.uuid4().hex
