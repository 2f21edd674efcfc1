"""Samples and inputs in columns: msgpack with raw float32, and npz."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray
from pydantic import FailFast, Field

from service.api import npz
from service.api.sample_checks import (
    LARGEST_INPUT,
    Array,
    Body,
    Most,
    Time,
    Weight,
    check_count,
    check_inputs,
    check_length,
    checked_samples,
    kind_of,
    target_kind,
    validated,
)
from service.entries import Samples
from service.problems import FieldError, Invalid
from service.spec import ModelSpec

Y = TypeVar("Y")


class PackedInputs(Body):
    """x: little-endian float32, row-major, n rows."""

    x: bytes
    n: Annotated[int, Field(ge=1)]


class Columns(Body, Generic[Y]):
    """One item a sample; weight: null for 1 each; time: null where it is not known."""

    y: Annotated[list[Y], FailFast()]
    weight: Annotated[list[Weight] | None, FailFast()] = None
    time: Annotated[list[Time | None] | None, FailFast()] = None


class PackedSamples(PackedInputs, Columns[Y], Generic[Y]):
    pass


def samples_of_msgpack(body: bytes, spec: ModelSpec, most: Most) -> Samples:
    packed = _unpacked(kind_of(PackedSamples, target_kind(spec)), body, most)
    _check_columns(packed, packed.n)
    return _samples(_rows(packed, spec), packed, spec)


def inputs_of_msgpack(body: bytes, spec: ModelSpec, most: Most) -> Array:
    return _rows(_unpacked(PackedInputs, body, most), spec)


def samples_of_npz(body: bytes, spec: ModelSpec, most: Most) -> Samples:
    """NaN in x is a missing value, as is usual in arrays, and in time one that is not known."""
    arrays = npz.read(body, most_bytes=most.body_bytes)
    x = _matrix(arrays, spec, most)
    rest = {name: array.tolist() for name, array in arrays.items() if name != "x"}
    if "time" in arrays and arrays["time"].dtype.kind == "f":
        rest["time"] = [None if math.isnan(seconds) else seconds for seconds in arrays["time"].ravel().tolist()]
    columns = validated(kind_of(Columns, target_kind(spec)), rest)
    _check_columns(columns, len(x))
    return _samples(x, columns, spec)


def inputs_of_npz(body: bytes, spec: ModelSpec, most: Most) -> Array:
    arrays = npz.read(body, most_bytes=most.body_bytes)
    for name in arrays.keys() - {"x"}:
        raise Invalid(FieldError(name, name, "is unknown; inputs have x alone"))
    return _matrix(arrays, spec, most)


def _unpacked(kind: Any, body: bytes, most: Most) -> Any:
    try:
        unpacked: Any = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        cause = str(error) or type(error).__name__
        raise Invalid(FieldError("body", f"{len(body)} bytes", f"must be msgpack ({cause})")) from error
    if not isinstance(unpacked, Mapping):
        raise Invalid(FieldError("body", type(unpacked).__name__, "must be a msgpack map"))
    check_count(max((len(value) for value in unpacked.values() if isinstance(value, list)), default=0), most.samples)
    packed = validated(kind, unpacked)
    check_count(packed.n, most.samples)
    return packed


def _rows(packed: PackedInputs, spec: ModelSpec) -> Array:
    wanted = 4 * packed.n * spec.inputs
    if len(packed.x) != wanted:
        given = f"{len(packed.x)} bytes"
        raise Invalid(FieldError("x", given, f"must have {wanted} bytes: {packed.n} x {spec.inputs} float32"))
    x = np.frombuffer(packed.x, "<f4").reshape(packed.n, spec.inputs)
    check_inputs(np.abs(x) <= LARGEST_INPUT, x, _cell)
    return x.astype(np.float32, copy=False)


def _matrix(arrays: Mapping[str, Any], spec: ModelSpec, most: Most) -> Array:
    x = arrays.get("x")
    if x is None:
        raise Invalid(FieldError("x", None, "is missing"))
    if x.dtype.kind not in "fiu":
        raise Invalid(FieldError("x", str(x.dtype), "must be an array of numbers"))
    if x.ndim != 2 or x.shape[1] != spec.inputs or not len(x):
        raise Invalid(FieldError("x", str(x.shape), f"must have the shape (n, {spec.inputs}), n at least 1"))
    check_count(len(x), most.samples)
    exact: NDArray[np.float64] = x.astype(np.float64)
    check_inputs(~(np.abs(exact) > LARGEST_INPUT), exact, _cell)
    return exact.astype(np.float32)


def _cell(sample: int, feature: int) -> str:
    return f"x.{sample}.{feature}"


def _check_columns(columns: Columns[Any], n: int) -> None:
    check_length("y", columns.y, n)
    for field in ("weight", "time"):
        if getattr(columns, field) is not None:
            check_length(field, getattr(columns, field), n)


def _samples(x: Array, columns: Columns[Any], spec: ModelSpec) -> Samples:
    y: Sequence[Any] = columns.y
    return checked_samples(x, y, columns.weight, columns.time, spec, lambda index: f"y.{index}")
