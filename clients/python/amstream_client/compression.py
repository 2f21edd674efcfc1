"""Bodies that are sent compressed, for slow or metered networks."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Literal, TypeAlias

from amstream_client.payload import Payload

Compression: TypeAlias = Literal["gzip"] | None

LEAST_BYTES = 1024
LEVEL = 1
"""Higher ones take much longer, and make raw float32 hardly smaller."""


def checked_compression(compress: Compression) -> Compression:
    """Raises: ValueError."""
    if compress not in (None, "gzip"):
        raise ValueError(f"compress must be None or 'gzip', not {compress!r}")
    return compress


def compressed(payload: Payload, compress: Compression) -> Payload:
    """The same bytes for the same payload. What is small, or would not become smaller, stays as it is."""
    if compress is None or len(payload.content) < LEAST_BYTES:
        return payload
    content = gzip.compress(payload.content, LEVEL, mtime=0)
    return replace(payload, content=content, encoding=compress) if len(content) < len(payload.content) else payload
