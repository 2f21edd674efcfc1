"""What schemathesis has to know beyond the description: the formats that it cannot write by itself."""

from __future__ import annotations

import io
from typing import Any

import msgpack
import numpy as np
import schemathesis
from hypothesis import strategies as st

ROWS = st.lists(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), min_size=1, max_size=5)
LABELS = st.sampled_from(["no", "yes"])


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    x = draw(ROWS)
    y = draw(st.lists(LABELS, min_size=len(x), max_size=len(x)))
    return {"x": np.array(x, "<f4"), "y": y} if draw(st.booleans()) else {"x": np.array(x, "<f4")}


def as_msgpack(given: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(given | {"x": given["x"].tobytes(), "n": len(given["x"])})
    return packed


def as_npz(given: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **given)
    return file.getvalue()


BYTES = st.binary(max_size=100)

schemathesis.openapi.media_type("application/msgpack", columns().map(as_msgpack) | BYTES)
schemathesis.openapi.media_type("application/x-npz", columns().map(as_npz) | BYTES)


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """Of a string: the example of the description, or any."""
    return value if isinstance(value, bytes) else str(value).encode()
