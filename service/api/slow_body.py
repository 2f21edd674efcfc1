"""A body that trickles is given up: whoever sends it keeps a place that others need."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import RequestTimeout

LEAST_BYTES_PER_S = 16_384

ANNOUNCING = (b"content-length", b"transfer-encoding")
"""Without one of these headers there is no body."""


class SlowBody:
    """ASGI middleware. Only the time that is spent waiting for the sender counts, not what the server makes of the parts.

    Args:
        slow_s: longest wait for a whole body, beyond what LEAST_BYTES_PER_S takes

    Raises: RequestTimeout, to whoever reads the body.
    """

    def __init__(self, app: ASGIApp, *, slow_s: float) -> None:
        self._app = app
        self._slow_s = slow_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name in ANNOUNCING for name, _ in scope["headers"]):
            return await self._app(scope, receive, send)
        waited_s, received, complete = 0.0, 0, False
        now = asyncio.get_running_loop().time

        async def bounded() -> Message:
            nonlocal waited_s, received, complete
            if complete:
                return await receive()  # until the client goes
            began = now()
            try:
                async with asyncio.timeout(self._slow_s + received / LEAST_BYTES_PER_S - waited_s):
                    message = await receive()
            except TimeoutError:
                raise RequestTimeout(
                    f"{received} bytes of the body came; the rest must come within {self._slow_s:g} s, "
                    f"or faster than {LEAST_BYTES_PER_S} bytes a second"
                ) from None
            waited_s += now() - began
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        return await self._app(scope, bounded, send)
