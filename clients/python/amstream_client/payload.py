"""Samples and inputs as request bodies: raw float32 in msgpack; arrays in npz where values are missing; JSON for the rest."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

from amstream_client.limits import (
    EARLIEST,
    HIGHEST_LABEL,
    LARGEST_INPUT,
    LARGEST_WEIGHT,
    LATEST,
    LONGEST_LABEL,
    LOWEST_LABEL,
)
from amstream_client.wire import Target


class SupportsArray(Protocol):
    """A numpy array, a torch tensor on any device, a pandas frame, …: known by what they can do, and never imported."""

    def __array__(self) -> NDArray[Any]: ...


NamedRow: TypeAlias = Mapping[str, float | None]
Row: TypeAlias = SupportsArray | Sequence[float | None] | NamedRow
Inputs: TypeAlias = SupportsArray | Sequence[Row]
Rows: TypeAlias = NDArray[np.float32] | list[dict[str, float | None]]
"""As they are sent: (n, inputs), or by the features' names."""
Labels: TypeAlias = Sequence[Target] | SupportsArray
Weights: TypeAlias = Sequence[float] | SupportsArray
Time: TypeAlias = datetime | float | None
"""When something happened: with its offset from UTC, or in seconds since 1970; None where it is not known."""
Times: TypeAlias = Sequence[Time] | SupportsArray


@dataclass(frozen=True)
class Payload:
    """encoding: how the content is compressed, None when it is not."""

    content: bytes
    content_type: str
    encoding: str | None = None


SNAPSHOT_FILE = "application/vnd.safetensors"


def json_payload(value: Any) -> Payload:
    return Payload(json.dumps(value, allow_nan=False).encode(), "application/json")


def inputs_payload(rows: Rows) -> Payload:
    if isinstance(rows, list):
        return json_payload({"x": rows})
    if np.isnan(rows).any():
        return _npz_payload(x=rows)
    return _msgpack_payload({"x": _raw(rows), "n": len(rows)})


def samples_payload(x: Inputs, y: Labels, weight: Weights | None, time: Times | None = None) -> Payload:
    rows = to_rows(x)
    targets = to_targets(y)
    if len(targets) != len(rows):
        raise ValueError(f"y has {len(targets)} labels for {len(rows)} samples")
    columns: dict[str, list[Any]] = {}
    if weight is not None:
        columns["weight"] = _to_weights(weight, len(rows))
    if time is not None:
        columns["time"] = to_seconds(time, len(rows))

    if not isinstance(rows, list) and not np.isnan(rows).any():
        return _msgpack_payload({"x": _raw(rows), "n": len(rows), "y": targets, **columns})
    y_column = _as_column(targets)
    if not isinstance(rows, list) and y_column is not None:
        # None, where a time is not known, becomes NaN
        arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
        return _npz_payload(x=rows, y=y_column, **arrays)
    samples: list[dict[str, Any]] = [
        {"x": row, "y": target} for row, target in zip(_as_json(rows), targets, strict=True)
    ]
    for name, values in columns.items():
        samples = [sample | {name: each} for sample, each in zip(samples, values, strict=True)]
    return json_payload({"samples": samples})


def to_rows(x: Inputs) -> Rows:
    """A matrix, unless the rows have names. Raises: ValueError."""
    if isinstance(x, list | tuple) and x and isinstance(x[0], Mapping):
        return [_named_row(row, place) for place, row in enumerate(x)]
    return to_matrix(x)


def to_matrix(x: Inputs) -> NDArray[np.float32]:
    """Raises ValueError unless x is (n, inputs) with n >= 1, no value beyond LARGEST_INPUT; NaN is a missing value."""
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the check below names
        rows = np.asarray(_as_array(x), dtype=np.float32)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"x must have shape (n, inputs) with n >= 1, not {rows.shape}")
    beyond = np.argwhere(np.abs(rows) > LARGEST_INPUT)
    if len(beyond):
        sample, feature = beyond[0]
        raise ValueError(f"x[{sample}, {feature}] is infinite or too large: beyond {LARGEST_INPUT:g}")
    return rows


def _named_row(row: Any, place: int) -> dict[str, float | None]:
    if not isinstance(row, Mapping):
        raise ValueError(f"x[{place}] has no names, but the rows before it have")
    named: dict[str, float | None] = {}
    for name, value in row.items():
        try:
            number = math.nan if value is None else float(value)
        except TypeError:  # pandas.NA
            number = math.nan
        if abs(number) > LARGEST_INPUT:
            raise ValueError(f"x[{place}][{name!r}] is infinite or too large: beyond {LARGEST_INPUT:g}")
        named[str(name)] = None if math.isnan(number) else number
    return named


def to_targets(y: Labels) -> list[Target]:
    """Labels and values in Python's own types. Raises ValueError for what is neither, such as a missing value."""
    values: Any = y
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    if hasattr(values, "tolist"):
        values = values.tolist()
    targets = [value.tolist() if hasattr(value, "tolist") else value for value in values]
    targets = [list(target) if isinstance(target, tuple) else target for target in targets]
    for place, target in enumerate(targets):
        if not (isinstance(target, str | int) or _is_value(target)):  # a bool is an int
            raise ValueError(f"y[{place}] is {target!r}, which is no label and no value")
        try:
            check_target(target)
        except ValueError as error:
            raise ValueError(f"y[{place}]: {error}") from error
    return targets


def check_target(target: Target) -> None:
    """Raises ValueError for a label or a value beyond the service's limits."""
    if isinstance(target, str):
        if len(target) > LONGEST_LABEL:
            raise ValueError(f"{target[:20]!r}… has more than {LONGEST_LABEL} characters")
    elif isinstance(target, int):
        if not LOWEST_LABEL <= target <= HIGHEST_LABEL:
            raise ValueError(f"{target} does not fit 64 bits")
    elif any(abs(value) > LARGEST_INPUT for value in (target if isinstance(target, list) else [target])):
        raise ValueError(f"{target} is too large: beyond {LARGEST_INPUT:g}")


def _is_value(target: Any) -> bool:
    """Of a regression: a finite number, or a list of them."""
    numbers = target if isinstance(target, list) else [target]
    return all(isinstance(number, int | float) and -math.inf < number < math.inf for number in numbers)


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
    unusable = np.flatnonzero(~((weights >= 0) & (weights <= LARGEST_WEIGHT)))
    if len(unusable):
        raise ValueError(f"weight[{unusable[0]}] is {weights[unusable[0]]}, not from 0 to {LARGEST_WEIGHT:g}")
    return [float(each) for each in weights]


def to_seconds(times: Times, n: int) -> list[float | None]:
    """Since 1970. Raises ValueError for a time that `to_second` refuses, and unless there are n."""
    given: Any = times.tolist() if hasattr(times, "tolist") and not _is_datetime64(times) else times
    if _is_datetime64(given):  # in UTC, by numpy's convention
        array = np.asarray(given)
        seconds = array.astype("datetime64[us]").astype(np.int64) / 1e6
        given = [None if missing else float(each) for each, missing in zip(seconds, np.isnat(array), strict=True)]
    if len(given) != n:
        raise ValueError(f"time has {len(given)} values for {n} samples")
    converted: list[float | None] = []
    for place, each in enumerate(given):
        try:
            converted.append(to_second(each))
        except ValueError as error:
            raise ValueError(f"time[{place}]: {error}") from error
    return converted


def to_second(time: Any) -> float | None:
    """Raises ValueError for what is no time, does not say its offset from UTC, or is of no year from 1 to 9999."""
    if time is None or time != time:  # NaN, NaT
        return None
    if isinstance(time, datetime) and time.tzinfo is None:
        raise ValueError(f"{time} does not say its offset from UTC")
    seconds = time.timestamp() if isinstance(time, datetime) else float(time)
    if not EARLIEST <= seconds <= LATEST:
        raise ValueError(f"{time} is not of the years 1 to 9999, in seconds since 1970")
    return seconds


def _is_datetime64(times: Any) -> bool:
    return getattr(getattr(times, "dtype", None), "kind", None) == "M" and getattr(times.dtype, "tz", None) is None


def _as_json(rows: Rows) -> Sequence[Any]:
    return (
        rows
        if isinstance(rows, list)
        else [[None if math.isnan(value) else value for value in row] for row in rows.tolist()]
    )


def _raw(rows: NDArray[np.float32]) -> bytes:
    return rows.astype("<f4").tobytes(order="C")


def _as_column(targets: list[Target]) -> NDArray[Any] | None:
    """An array that keeps each of them as it is; None where none does."""
    kinds = set(map(type, targets))
    if kinds <= {int, float} and kinds != {int}:
        return np.array(targets, np.float64)
    if kinds == {str} and not any(str(target).endswith("\0") for target in targets):  # numpy strips those
        return np.array(targets)
    if kinds in ({bool}, {int}):
        return np.array(targets)
    return None


def _npz_payload(**arrays: NDArray[Any]) -> Payload:
    """None of the arrays holds objects, which numpy would pickle."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return Payload(file.getvalue(), "application/x-npz")


def _msgpack_payload(value: dict[str, Any]) -> Payload:
    content: bytes = msgpack.packb(value)
    return Payload(content, "application/msgpack")
