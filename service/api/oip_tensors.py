"""Tensors of the Open Inference Protocol as requests carry them: numbers in JSON, or binary data behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.api.sample_checks import LARGEST_INPUT
from service.oip import NUMBERS
from service.problems import FieldError, Invalid

Parameters = dict[str, Any] | None
Shape = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, max_length=8)]

_JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int, float}, "u": {int, float}, "f": {int, float}}
"""What the elements of JSON data may be, by the kind of the datatype. Some clients write the integer 1 as 1.0."""


class InputTensor(BaseModel):
    """data: flat, or nested as the shape; row-major; null where a value is missing; or parameters: `binary_data_size`."""

    model_config = ConfigDict(strict=True)
    name: str
    shape: Shape
    datatype: str
    parameters: Parameters = None
    data: list[Any] | None = None


@dataclass(frozen=True)
class Numbers:
    """Args: values: flat, float32 or float64, NaN where missing. field: where the tensor is in the request."""

    name: str
    shape: list[int]
    values: NDArray[Any]
    field: str


class BinaryData:
    """What follows the JSON in a body: the data of each tensor that says its size, one after the other."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._start = start

    def take(self, size: int, dtype: np.dtype[Any], field: str) -> NDArray[Any]:
        """Raises: Invalid when there is less."""
        left = len(self._body) - self._start
        if size > left:
            raise Invalid(FieldError(field, size, f"must be at most {left}: so many bytes follow"))
        taken = np.frombuffer(self._body, dtype, size // dtype.itemsize, self._start)
        self._start += size
        return taken

    def check_ended(self) -> None:
        """Raises: Invalid when there is more."""
        left = len(self._body) - self._start
        if left:
            raise Invalid(
                FieldError("body", f"{left} bytes", "must not follow what binary_data_size says of the inputs")
            )


def parameter(parameters: Mapping[str, Any] | None, name: str, kind: type, field: str) -> Any:
    """A parameter of that type, None where it is not given. Raises: Invalid."""
    value = (parameters or {}).get(name)
    if value is not None and type(value) is not kind:
        raise Invalid(FieldError(f"{field}.{name}", value, f"must be of type {kind.__name__}"))
    return value


def refuse_shared_memory(parameters: Mapping[str, Any] | None, field: str) -> None:
    """The client would look for the data where nobody put it."""
    for name in parameters or {}:
        if name.startswith("shared_memory"):
            raise Invalid(FieldError(f"{field}.{name}", (parameters or {})[name], "is not supported"))


def read_tensor(tensor: InputTensor, binary: BinaryData, field: str) -> Numbers:
    """Args: field: where the tensor is in the request. Raises: Invalid."""
    refuse_shared_memory(tensor.parameters, f"{field}.parameters")
    dtype = NUMBERS.get(tensor.datatype)
    if dtype is None:
        raise Invalid(FieldError(f"{field}.datatype", tensor.datatype, f"must be one of {', '.join(NUMBERS)}"))
    size = parameter(tensor.parameters, "binary_data_size", int, f"{field}.parameters")
    values = _from_json(tensor, dtype, field) if size is None else _from_binary(tensor, dtype, size, binary, field)
    too_large = np.flatnonzero(np.abs(values) > LARGEST_INPUT)
    if len(too_large):
        place = int(too_large[0])
        rule = f"must be a finite number of at most {LARGEST_INPUT:g}"
        raise Invalid(FieldError(f"{field}.data.{place}", float(values[place]), rule))
    return Numbers(tensor.name, tensor.shape, values, field)


def _from_binary(tensor: InputTensor, dtype: np.dtype[Any], size: int, binary: BinaryData, field: str) -> NDArray[Any]:
    if tensor.data is not None:
        raise Invalid(FieldError(f"{field}.data", f"{len(tensor.data)} values", "must not be there beside binary data"))
    wanted = math.prod(tensor.shape) * dtype.itemsize
    place = f"{field}.parameters.binary_data_size"
    if size != wanted:
        raise Invalid(FieldError(place, size, f"must be {wanted}: {tensor.datatype} of the shape {tensor.shape}"))
    values = binary.take(size, dtype, place)
    if dtype.kind == "b":
        values = values.view(np.uint8) != 0
    return values if dtype in (np.float32, np.float64) else values.astype(np.float64)


def _from_json(tensor: InputTensor, dtype: np.dtype[Any], where: str) -> NDArray[np.float64]:
    field = f"{where}.data"
    flat = _flattened(tensor, field)
    allowed = _JSON_TYPES[dtype.kind] | {type(None)}
    rule = f"must be {tensor.datatype}, or null where missing"
    if not set(map(type, flat)) <= allowed:
        place, value = next((i, value) for i, value in enumerate(flat) if type(value) not in allowed)
        raise Invalid(FieldError(f"{field}.{place}", value, rule))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        for place, value in enumerate(flat):
            if value is not None and not (limits.min <= value <= limits.max and value == int(value)):
                raise Invalid(FieldError(f"{field}.{place}", value, rule))
    try:
        values = np.array(flat, np.float64)
    except OverflowError as error:
        raise Invalid(FieldError(field, "an integer", f"must be at most {LARGEST_INPUT:g}")) from error
    if np.isnan(values).sum() != flat.count(None):
        raise Invalid(FieldError(field, "NaN", "must be a number, or null where missing"))
    return values


def _flattened(tensor: InputTensor, field: str) -> list[Any]:
    """Raises: Invalid for data that is ragged, or nested in another way than its shape says."""
    if tensor.data is None:
        raise Invalid(FieldError(field, None, "must be there, or parameters.binary_data_size"))
    wanted = math.prod(tensor.shape)
    try:
        array = np.array(tensor.data, dtype=np.object_)
    except ValueError as error:
        raise Invalid(FieldError(field, "lists of several lengths", f"must have the shape {tensor.shape}")) from error
    if array.size != wanted or (array.ndim > 1 and list(array.shape) != tensor.shape):
        rule = f"must be {wanted} numbers, flat or nested as the shape {tensor.shape}"
        raise Invalid(FieldError(field, f"{array.size} numbers of the shape {list(array.shape)}", rule))
    flat: list[Any] = array.ravel().tolist()
    return flat
