"""npz files: x (n, inputs) and, where there are any, y, weight and time (n); NaN = missing value. Never unpickles."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from amstream_client.cli.batch import Batch, DataFileError, Layout, to_target, to_time, to_weight
from amstream_client.limits import LARGEST_INPUT
from amstream_client.payload import to_seconds

Value = TypeVar("Value")


def read_npz(path: Path, layout: Layout, size: int) -> Iterator[Batch]:
    """A row is a sample here, counted from 1."""
    learns = {layout.weight or "weight", layout.time or "time"} if layout.learns else set()
    arrays = _load(path, {"x", layout.label or "y"} | learns)
    x = arrays.get("x")
    if x is None or x.ndim != 2 or not len(x) or x.dtype.kind not in "biuf":
        raise DataFileError(f"{path}: needs an array x of numbers with shape (n, inputs)")
    if x.shape[1] != layout.inputs:
        raise DataFileError(f"{path}: x has {x.shape[1]} columns, but the model has {layout.inputs} inputs")
    labels = _column(path, arrays, layout.label, "y", len(x))
    weights = _column(path, arrays, layout.weight, "weight", len(x))
    times = _seconds(path, _column(path, arrays, layout.time, "time", len(x)))
    for start in range(0, len(x), size):
        end = min(start + size, len(x))
        rows = _rows(path, x, start, end)
        y = None if labels is None else _convert(path, labels, start, end, lambda value: to_target(value, layout))
        weight = None if weights is None else _convert(path, weights, start, end, to_weight)
        time = None if times is None else _convert(path, times, start, end, to_time)
        yield Batch(rows, y, weight, start + 1, end, end / len(x), time)


def _load(path: Path, names: set[str]) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataFileError(f"{path}: is not an npz file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in names & set(archive.files)}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataFileError(f"{path}: {error}") from error


def _rows(path: Path, x: NDArray[Any], start: int, end: int) -> NDArray[np.float32]:
    exact = x[start:end].astype(np.float64)
    beyond = np.argwhere(np.abs(exact) > LARGEST_INPUT)
    if len(beyond):
        row, column = beyond[0]
        value = exact[row, column]
        raise DataFileError(
            f"{path}, row {start + row + 1}, column {column + 1} of x: {value:g} is too large: beyond {LARGEST_INPUT:g}"
        )
    return exact.astype(np.float32)


def _column(path: Path, arrays: dict[str, NDArray[Any]], name: str | None, default: str, n: int) -> NDArray[Any] | None:
    column = arrays.get(name or default)
    if column is None and name is not None:
        raise DataFileError(f"{path}: has no array {name}")
    if column is not None and column.shape != (n,):
        raise DataFileError(f"{path}: {name or default} has shape {column.shape}, but x has {n} rows")
    return column


def _seconds(path: Path, times: NDArray[Any] | None) -> NDArray[Any] | None:
    """Of numpy's own times; others as they are."""
    if times is None or times.dtype.kind != "M":
        return times
    try:
        return np.array(to_seconds(times, len(times)), np.float64)  # None becomes NaN
    except ValueError as error:
        raise DataFileError(f"{path}: {error}") from error


def _convert(path: Path, column: NDArray[Any], start: int, end: int, read: Callable[[Any], Value]) -> list[Value]:
    values = []
    for row, value in enumerate(column[start:end].tolist(), start=start + 1):
        try:
            values.append(read(value))
        except ValueError as error:
            raise DataFileError(f"{path}, row {row}: {error}") from error
    return values
