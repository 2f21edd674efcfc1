"""No request body larger than the limit is read, whatever its Content-Length says."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import FieldError, TooLarge


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
            self._check(int(declared) if declared.isdigit() else 0)
            message = await receive()
            received += len(message.get("body", b""))
            self._check(received)
            return message

        return await self._app(scope, limited, send)

    def _check(self, size: int) -> None:
        if size > self._most_bytes:
            error = FieldError("body", size, f"must have at most {self._most_bytes} bytes")
            raise TooLarge(f"the body has {size} bytes or more, the limit is {self._most_bytes}", errors=[error])
