"""Samples and inputs as request bodies: raw float32 in msgpack, or JSON with null where a value is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

from amstream_client.wire import Label


class SupportsArray(Protocol):
    """A numpy array, a torch tensor on any device, a pandas frame, …: known by what they can do, and never imported."""

    def __array__(self) -> NDArray[Any]: ...


Inputs: TypeAlias = SupportsArray | Sequence[SupportsArray | Sequence[float | None]]
Labels: TypeAlias = Sequence[Label] | SupportsArray
Weights: TypeAlias = Sequence[float] | SupportsArray


@dataclass(frozen=True)
class Payload:
    content: bytes
    content_type: str


SNAPSHOT_FILE = "application/vnd.safetensors"


def json_payload(value: Any) -> Payload:
    return Payload(json.dumps(value, allow_nan=False).encode(), "application/json")


def inputs_payload(rows: NDArray[np.float32]) -> Payload:
    if np.isnan(rows).any():
        return json_payload({"x": _with_nulls(rows)})
    return _msgpack_payload({"x": _raw(rows), "n": len(rows)})


def samples_payload(x: Inputs, y: Labels, weight: Weights | None) -> Payload:
    rows = to_rows(x)
    labels = to_labels(y)
    if len(labels) != len(rows):
        raise ValueError(f"y has {len(labels)} labels for {len(rows)} samples")
    weights = None if weight is None else _to_weights(weight, len(rows))

    if np.isnan(rows).any():
        samples: list[dict[str, Any]] = [
            {"x": row, "y": label} for row, label in zip(_with_nulls(rows), labels, strict=True)
        ]
        if weights is not None:
            samples = [sample | {"weight": each} for sample, each in zip(samples, weights, strict=True)]
        return json_payload({"samples": samples})

    body = {"x": _raw(rows), "n": len(rows), "y": labels}
    return _msgpack_payload(body if weights is None else body | {"weight": weights})


def to_rows(x: Inputs) -> NDArray[np.float32]:
    """Raises ValueError unless x is (n, inputs) with n >= 1 and every value fits float32; NaN is a missing value."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the check below names
        rows = np.asarray(_as_array(x), dtype=np.float32)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"x must have shape (n, inputs) with n >= 1, not {rows.shape}")
    infinite = np.argwhere(np.isinf(rows))
    if len(infinite):
        sample, feature = infinite[0]
        raise ValueError(f"x[{sample}, {feature}] is infinite or too large for float32")
    return rows


def to_labels(y: Labels) -> list[Label]:
    """Labels in Python's own types. Raises ValueError for what is none, such as a missing value."""
    values: Any = y
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    if hasattr(values, "tolist"):
        values = values.tolist()
    labels = [value.item() if hasattr(value, "item") else value for value in values]
    for place, label in enumerate(labels):
        if not isinstance(label, str | int):  # a bool is an int
            raise ValueError(f"y[{place}] is {label!r}, which is no label: a string, an integer or a boolean")
    return labels


def _as_array(x: Any) -> Any:
    """What numpy can read. The tensors may be on a GPU, part of a graph, or of bfloat16; the frames nullable."""
    if isinstance(x, list | tuple):
        return [_as_array(row) if hasattr(row, "detach") or hasattr(row, "iloc") else row for row in x]
    if hasattr(x, "detach"):  # a torch tensor
        return x.detach().cpu().double()
    if hasattr(x, "iloc"):  # a pandas frame or series
        return x.to_numpy(dtype=np.float64, na_value=np.nan)
    return x


def _to_weights(weight: Weights, n: int) -> list[float]:
    weights = np.asarray(_as_array(weight), dtype=np.float64)
    if weights.shape != (n,):
        raise ValueError(f"weight has shape {weights.shape} for {n} samples")
    unusable = np.flatnonzero(~np.isfinite(weights))
    if len(unusable):
        raise ValueError(f"weight[{unusable[0]}] is {weights[unusable[0]]}")
    return [float(each) for each in weights]


def _with_nulls(rows: NDArray[np.float32]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in rows.tolist()]


def _raw(rows: NDArray[np.float32]) -> bytes:
    return rows.astype("<f4").tobytes(order="C")


def _msgpack_payload(value: dict[str, Any]) -> Payload:
    content: bytes = msgpack.packb(value)
    return Payload(content, "application/msgpack")
