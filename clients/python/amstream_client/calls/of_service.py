"""The service itself."""

from __future__ import annotations

from amstream_client.call import Call, read_nothing


def ready() -> Call[None]:
    """Raises Unavailable while the service starts or has lost its stores."""
    return Call("GET", "/readyz", read_nothing)
