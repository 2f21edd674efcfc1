"""No request body larger than the limit is read, whatever its Content-Length says. A route may set another limit."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import FieldError, TooLarge

_LIMIT = "amstream.most_body_bytes"


def limit_body(scope: Scope, most_bytes: int | None) -> None:
    """Another limit for the request of `scope`, whose body nobody has read yet; None for who reads it in bounded parts."""
    scope[_LIMIT] = most_bytes


def check_size(scope: Scope, size: int) -> None:
    """Raises: TooLarge for a body of `size` bytes, or more."""
    most = scope[_LIMIT]
    if most is not None and size > most:
        error = FieldError("body", size, f"must have at most {most} bytes")
        raise TooLarge(f"the body has {size} bytes or more, the limit is {most}", errors=[error])


class BodyLimit:
    """ASGI middleware. Raises: TooLarge, to whoever reads the body."""

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limit_body(scope, self._most_bytes)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        received = 0

        async def limited() -> Message:
            nonlocal received
            check_size(scope, int(declared) if declared.isdigit() else 0)
            message = await receive()
            received += len(message.get("body", b""))
            check_size(scope, received)
            return message

        return await self._app(scope, limited, send)
