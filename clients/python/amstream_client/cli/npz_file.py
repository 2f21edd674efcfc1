"""npz files: x (n, inputs) and, where there are any, y (n) and weight (n); NaN = missing value. Never unpickles."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from amstream_client.cli.batch import Batch, DataFileError, Layout, to_target
from amstream_client.payload import to_matrix

Value = TypeVar("Value")


def read_npz(path: Path, layout: Layout, size: int) -> Iterator[Batch]:
    """A row is a sample here, counted from 1."""
    arrays = _load(path, {"x", layout.label or "y", layout.weight or "weight"})
    x = arrays.get("x")
    if x is None or x.ndim != 2 or not len(x) or x.dtype.kind not in "biuf":
        raise DataFileError(f"{path}: needs an array x of numbers with shape (n, inputs)")
    if x.shape[1] != layout.inputs:
        raise DataFileError(f"{path}: x has {x.shape[1]} columns, but the model has {layout.inputs} inputs")
    labels = _column(path, arrays, layout.label, "y", len(x))
    weights = _column(path, arrays, layout.weight, "weight", len(x))
    for start in range(0, len(x), size):
        end = min(start + size, len(x))
        try:
            rows = to_matrix(x[start:end])
        except ValueError as error:
            raise DataFileError(f"{path}, rows {start + 1} to {end}: {error}") from error
        y = None if labels is None else _convert(path, labels, start, end, lambda value: to_target(value, layout))
        weight = None if weights is None else _convert(path, weights, start, end, float)
        yield Batch(rows, y, weight, start + 1, end, end / len(x))


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


def _column(path: Path, arrays: dict[str, NDArray[Any]], name: str | None, default: str, n: int) -> NDArray[Any] | None:
    column = arrays.get(name or default)
    if column is None and name is not None:
        raise DataFileError(f"{path}: has no array {name}")
    if column is not None and column.shape != (n,):
        raise DataFileError(f"{path}: {name or default} has shape {column.shape}, but x has {n} rows")
    return column


def _convert(path: Path, column: NDArray[Any], start: int, end: int, read: Callable[[Any], Value]) -> list[Value]:
    values = []
    for row, value in enumerate(column[start:end].tolist(), start=start + 1):
        try:
            values.append(read(value))
        except ValueError as error:
            raise DataFileError(f"{path}, row {row}: {error}") from error
    return values
