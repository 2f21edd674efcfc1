"""The service itself."""

from __future__ import annotations

import httpx

from amstream_client.call import Call, read_json, read_nothing
from amstream_client.errors import UnexpectedAnswer


def check_ready() -> Call[None]:
    """Raises Unavailable while the service starts or has lost its stores, naming them."""
    return Call("GET", "/readyz", read_nothing)


def version() -> Call[str]:
    """The service's. Raises NotFound where it does not describe itself."""
    return Call("GET", "/openapi.json", _read_version)


def _read_version(response: httpx.Response) -> str:
    answer = read_json(response)
    info = answer.get("info") if isinstance(answer, dict) else None
    if not isinstance(info, dict) or info.get("title") != "amstream":
        raise UnexpectedAnswer(f"{response.url} is not the description of amstream")
    return str(info.get("version"))
