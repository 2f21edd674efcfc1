"""What is left of the caller's limit, in the headers `RateLimit` and `RateLimit-Policy` of the IETF's draft."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.rates import WINDOW_S, Allowance

_ALLOWANCE = "amstream.allowance"


def tell(scope: Scope, allowance: Allowance) -> None:
    """The answer to the request of `scope` says so."""
    scope[_ALLOWANCE] = allowance


class RateLimitHeaders:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def telling(message: Message) -> None:
            allowance: Allowance | None = scope.get(_ALLOWANCE)
            if allowance is not None and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"requests";q={allowance.most};w={WINDOW_S}'
                headers["RateLimit"] = f'"requests";r={allowance.remaining};t={allowance.reset_s}'
            await send(message)

        await self._app(scope, receive, telling)
