"""Request bodies that carry numbers, checked and turned into arrays. For worker threads: parsing may take a while."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from models import LABEL_TYPES, Label, UnknownLabel
from service.api.problem_handlers import invalid
from service.entries import Samples
from service.problems import FieldError, Invalid, TooLarge, UnsupportedMedia
from service.spec import LabelValue, ModelSpec

JSON = "application/json"
MSGPACK = "application/msgpack"

LARGEST_INPUT = 1e15

# Before the body is parsed, which takes some 60 times its size: a value cannot be followed by a colon, a key must be.
_KEY_X = re.compile(rb'"x"\s*:')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

Array = NDArray[np.float32]
Row = Annotated[list[float | None], FailFast()]
Weight = Annotated[float, Field(ge=0, le=1e6)]

B = TypeVar("B", bound=BaseModel)
P = TypeVar("P", bound="PackedInputs")


class _Body(BaseModel):
    """Lists stop at their first error: a body of millions of wrong items is refused like one with a single one."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class SampleBody(_Body):
    """x: one number a feature, null where missing; y: the label; weight: how much the sample counts."""

    x: Row
    y: LabelValue
    weight: Weight = 1.0


class SamplesBody(_Body):
    samples: Annotated[list[SampleBody], Field(min_length=1), FailFast()]


class InputsBody(_Body):
    """x: rows of one number a feature, null where missing."""

    x: Annotated[list[Row], Field(min_length=1), FailFast()]


class PackedInputs(_Body):
    """x: little-endian float32, row-major, n rows."""

    x: bytes
    n: Annotated[int, Field(ge=1)]


class PackedSamples(PackedInputs):
    y: Annotated[list[LabelValue], FailFast()]
    weight: Annotated[list[Weight] | None, FailFast()] = None


def content_kind(content_type: str | None) -> str:
    """JSON or MSGPACK. Raises: UnsupportedMedia naming the header."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind not in (JSON, MSGPACK):
        error = FieldError("Content-Type", content_type, f"must be {JSON} or {MSGPACK}")
        raise UnsupportedMedia(f"the body is {content_type!r}, this takes {JSON} and {MSGPACK}", errors=[error])
    return kind


def read_json(kind: type[B], body: bytes) -> B:
    """Raises: Invalid."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def read_samples(body: bytes, content: str, spec: ModelSpec, *, most: int) -> Samples:
    """Labelled samples in either format.

    Raises: Invalid naming the field and value; TooLarge for more than `most` samples.
    """
    if content == MSGPACK:
        packed = _read_packed(PackedSamples, body, most)
        labels: Sequence[Label] = packed.y
        weights = packed.weight
        _check_length("y", packed.y, packed.n)
        if weights is not None:
            _check_length("weight", weights, packed.n)
        x = _unpacked(packed, spec)
        label_field = "y.{}"
    else:
        _check_count(sum(1 for _ in _KEY_X.finditer(body)), most)
        parsed = read_json(SamplesBody, body).samples
        labels = [sample.y for sample in parsed]
        weights = [sample.weight for sample in parsed]
        x = _matrix([sample.x for sample in parsed], spec, "samples.{}.x")
        label_field = "samples.{}.y"
    _check_labels(labels, spec, label_field)
    weighted = weights is not None and any(weight != 1 for weight in weights)
    return Samples(x, labels, np.array(weights, np.float32) if weighted else None)


def read_inputs(body: bytes, content: str, spec: ModelSpec, *, most: int) -> Array:
    """Inputs to predict for, (n, N). Raises: Invalid naming the field and value; TooLarge for more than `most`."""
    if content == MSGPACK:
        return _unpacked(_read_packed(PackedInputs, body, most), spec)
    _check_count(body.count(b"[") - 1, most)
    return _matrix(read_json(InputsBody, body).x, spec, "x.{}")


def read_query(x: str, spec: ModelSpec) -> Array:
    """One input from `1.5,2,,4`, an empty place for a missing value. Raises: Invalid naming the place and value."""
    row: list[float | None] = []
    for place, text in enumerate(x.split(",")):
        if text.strip() and not _NUMBER.fullmatch(text.strip()):
            raise Invalid(FieldError(f"x.{place}", text, "must be a number, or empty where missing"))
        row.append(float(text) if text.strip() else None)
    return _matrix([row], spec, "x", fixed=True)


def _check_count(count: int, most: int) -> None:
    if count > most:
        error = FieldError("samples", count, f"must be at most {most}")
        raise TooLarge(f"the body has {count} samples, the limit is {most}", errors=[error])


def _read_packed(kind: type[P], body: bytes, most: int) -> P:
    try:
        unpacked: Any = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        cause = str(error) or type(error).__name__
        raise Invalid(FieldError("body", f"{len(body)} bytes", f"must be msgpack ({cause})")) from error
    if not isinstance(unpacked, Mapping):
        raise Invalid(FieldError("body", type(unpacked).__name__, "must be a msgpack map"))
    _check_count(max((len(value) for value in unpacked.values() if isinstance(value, list)), default=0), most)
    try:
        packed = kind.model_validate(unpacked)
    except ValidationError as error:
        raise invalid(error) from error
    _check_count(packed.n, most)
    return packed


def _unpacked(packed: PackedInputs, spec: ModelSpec) -> Array:
    wanted = 4 * packed.n * spec.inputs
    if len(packed.x) != wanted:
        given = f"{len(packed.x)} bytes"
        raise Invalid(FieldError("x", given, f"must have {wanted} bytes: {packed.n} x {spec.inputs} float32"))
    x = np.frombuffer(packed.x, "<f4").reshape(packed.n, spec.inputs)
    bad = np.argwhere(~(np.abs(x) <= LARGEST_INPUT))
    if len(bad):
        sample, feature = map(int, bad[0])
        raise Invalid(_too_large_input(f"x.{sample}.{feature}", float(x[sample, feature])))
    return x.astype(np.float32, copy=False)


def _matrix(rows: Sequence[Row], spec: ModelSpec, field: str, *, fixed: bool = False) -> Array:
    """Args: field: path of row {}, or the path itself when `fixed`."""

    def path(row: int) -> str:
        return field if fixed else field.format(row)

    for index, row in enumerate(rows):
        if len(row) != spec.inputs:
            raise Invalid(FieldError(path(index), f"{len(row)} numbers", f"must have {spec.inputs} numbers"))
    x = np.array(rows, np.float64)  # None becomes NaN, which no comparison holds for
    bad = np.argwhere(np.abs(x) > LARGEST_INPUT)
    if len(bad):
        sample, feature = map(int, bad[0])
        raise Invalid(_too_large_input(f"{path(sample)}.{feature}", float(x[sample, feature])))
    return x.astype(np.float32)


def _too_large_input(field: str, value: float) -> FieldError:
    return FieldError(field, value, f"must be a finite number of at most {LARGEST_INPUT:g}")


def _check_length(field: str, values: Sequence[Any], n: int) -> None:
    if len(values) != n:
        raise Invalid(FieldError(field, f"{len(values)} values", f"must have n = {n} values"))


def _check_labels(labels: Sequence[Label], spec: ModelSpec, field: str) -> None:
    try:
        if spec.open:
            spec.labels.extended(labels)
        else:
            spec.labels.encode(labels)
    except UnknownLabel as error:
        of_type = type(error.label) is LABEL_TYPES[str(spec.label_type)]
        rule = "must be a declared class" if of_type else f"must be of type {spec.label_type}"
        raise Invalid(FieldError(field.format(error.position), error.label, rule)) from error
