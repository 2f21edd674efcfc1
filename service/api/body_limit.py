"""No request body larger than the limit is read, whatever its Content-Length says. A route may set another limit."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import FieldError, TooLarge

_OWN_LIMIT = "amstream.most_body_bytes"


def limit_body(scope: Scope, most_bytes: int) -> None:
    """Another limit for the request of `scope`, whose body nobody has read yet."""
    scope[_OWN_LIMIT] = most_bytes


class BodyLimit:
    """ASGI middleware. Raises: TooLarge, to whoever reads the body."""

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        received = 0

        async def limited() -> Message:
            nonlocal received
            most = scope.get(_OWN_LIMIT, self._most_bytes)
            _check(int(declared) if declared.isdigit() else 0, most)
            message = await receive()
            received += len(message.get("body", b""))
            _check(received, most)
            return message

        return await self._app(scope, limited, send)


def _check(size: int, most: int) -> None:
    if size > most:
        error = FieldError("body", size, f"must have at most {most} bytes")
        raise TooLarge(f"the body has {size} bytes or more, the limit is {most}", errors=[error])
