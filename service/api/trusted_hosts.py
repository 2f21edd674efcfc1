"""Requests for a host that is not ours are refused: some page may have its name point here."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problem_handlers import response
from service.problems import FieldError, Misdirected

PROBES = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready")
"""Whoever keeps processes running calls them by their addresses."""


class TrustedHosts:
    """ASGI middleware. Args: hosts: names without ports; `*.example.org` stands for all below example.org."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str]) -> None:
        self._app = app
        self._names = {host.lower() for host in hosts if not host.startswith("*.")}
        self._endings = tuple(host.lower()[1:] for host in hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get("host", "")
        name = _without_port(given).lower()
        if name in self._names or (self._endings and name.endswith(self._endings)):
            return await self._app(scope, receive, send)
        error = FieldError("Host", given, "must be one of AMSTREAM_TRUSTED_HOSTS")
        problem = Misdirected("this server does not answer for that host", errors=[error])
        await response(scope["path"], problem.status, problem.as_json(), {})(scope, receive, send)


def _without_port(host: str) -> str:
    """An IPv6 address keeps its brackets."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
