"""Inference requests of the Open Inference Protocol, checked and turned into one array of inputs. For worker threads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.api.bodies import read_json
from service.api.oip_tensors import (
    BinaryData,
    InputTensor,
    Numbers,
    Parameters,
    parameter,
    read_tensor,
    refuse_shared_memory,
)
from service.oip import INPUT
from service.problems import FieldError, Invalid, TooLarge
from service.spec import ModelSpec

HEADER_LENGTH = "Inference-Header-Content-Length"
"""How much of a body is JSON; binary data follows."""

MOST_TENSORS = 10_000
MOST_PARTS = 200_000
"""Lists and objects in a request's JSON. Parsed, the smallest take some 60 times the bytes that they had."""


class RequestedOutput(BaseModel):
    """parameters: `binary_data`; `classification`: how many of the most probable classes to name instead of all numbers."""

    model_config = ConfigDict(strict=True)
    name: str
    parameters: Parameters = None


class InferenceRequest(BaseModel):
    """id: repeated in the answer; outputs: those wanted, all where none is named; parameters: `binary_data_output`.

    Clients of the protocol may send more than a server knows.
    """

    model_config = ConfigDict(strict=True)
    id: str | None = None
    parameters: Parameters = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=MOST_TENSORS, fail_fast=True)]
    outputs: Annotated[list[RequestedOutput] | None, Field(max_length=MOST_TENSORS, fail_fast=True)] = None


@dataclass(frozen=True)
class Wanted:
    """An output that is asked for. Args: top: of so many classes the names, 0 for all numbers."""

    name: str
    binary: bool
    top: int = 0


@dataclass(frozen=True)
class Inference:
    """What a request asks for.

    Args:
        inputs: (n, N) float32, NaN where missing.
        outputs: in this order; None for all.
        binary: whether those come as binary data.
    """

    id: str | None
    inputs: NDArray[np.float32]
    outputs: list[Wanted] | None
    binary: bool


def read_inference(body: bytes, header_length: str | None, spec: ModelSpec, *, most: int) -> Inference:
    """Args: header_length: what the header HEADER_LENGTH says, if it is there; 0 for a body that is the input alone.

    Raises: Invalid naming the field and value; TooLarge for more than `most` rows.
    """
    length = _json_length(body, header_length)
    _check_parts(body[:length], most * spec.inputs)
    request = read_json(InferenceRequest, body[:length]) if length else _of_raw(body, spec)
    binary = BinaryData(body, length)
    tensors = [read_tensor(tensor, binary, f"inputs.{index}") for index, tensor in enumerate(request.inputs)]
    binary.check_ended()
    by_default = bool(parameter(request.parameters, "binary_data_output", bool, "parameters"))
    outputs = [_wanted(output, f"outputs.{i}", by_default) for i, output in enumerate(request.outputs or [])]
    return Inference(request.id, _inputs(tensors, spec, most), outputs or None, by_default)


def _json_length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdigit()) or int(header_length) > len(body):
        raise Invalid(FieldError(HEADER_LENGTH, header_length, f"must be a number of at most {len(body)} bytes"))
    return int(header_length)


def _check_parts(text: bytes, numbers: int) -> None:
    """Before it is parsed. Args: numbers: how many there may be. Raises: TooLarge."""
    for what, count, most in (
        ("lists and objects", text.count(b"[") + text.count(b"{"), MOST_PARTS),
        ("values", text.count(b","), numbers + MOST_PARTS),
    ):
        if count > most:
            error = FieldError("inputs", f"{count} {what}", f"must be at most {most}")
            raise TooLarge(f"the request has {count} {what}, the limit is {most}", errors=[error])


def _of_raw(body: bytes, spec: ModelSpec) -> InferenceRequest:
    """A body without JSON is the input as the metadata describes it, and asks for all outputs in the same way."""
    row = 4 * spec.inputs
    if not body or len(body) % row:
        raise Invalid(FieldError("body", f"{len(body)} bytes", f"must be rows of {spec.inputs} FP32: {row} bytes each"))
    shape, size = [len(body) // row, spec.inputs], {"binary_data_size": len(body)}
    tensor = InputTensor(name=INPUT, shape=shape, datatype="FP32", parameters=size)
    return InferenceRequest(inputs=[tensor], parameters={"binary_data_output": True})


def _wanted(output: RequestedOutput, field: str, by_default: bool) -> Wanted:
    place = f"{field}.parameters"
    refuse_shared_memory(output.parameters, place)
    binary = parameter(output.parameters, "binary_data", bool, place)
    top = parameter(output.parameters, "classification", int, place)
    if top is not None and top < 0:
        raise Invalid(FieldError(f"{place}.classification", top, "must be 0 or more"))
    return Wanted(output.name, by_default if binary is None else binary, top or 0)


def _inputs(tensors: list[Numbers], spec: ModelSpec, most: int) -> NDArray[np.float32]:
    """(n, N), from the one tensor of all features, or from one for each feature that has a name."""
    if len(tensors) == 1 and tensors[0].name == INPUT:
        rows = _rows(tensors[0], spec.inputs, most)
        return tensors[0].values.reshape(rows, spec.inputs).astype(np.float32)
    places = {name: place for place, name in enumerate(spec.features or ())}
    inputs: NDArray[np.float32] | None = None
    for tensor in tensors:
        place = places.pop(tensor.name, None)
        if place is None:
            named = " or tensors named as its features, each at most once" if spec.features else ""
            raise Invalid(FieldError(f"{tensor.field}.name", tensor.name, f"must be {INPUT}, alone{named}"))
        rows = _rows(tensor, 1, most)
        if inputs is None:
            inputs = np.full((rows, spec.inputs), np.nan, np.float32)
        if rows != len(inputs):
            raise Invalid(FieldError(f"{tensor.field}.shape", str(tensor.shape), f"must have {len(inputs)} rows"))
        inputs[:, place] = tensor.values
    assert inputs is not None
    return inputs


def _rows(tensor: Numbers, width: int, most: int) -> int:
    """How many there are: the first dimension, but a single dimension of `width` numbers is one row.

    Raises: Invalid, TooLarge.
    """
    shape, field = tensor.shape, f"{tensor.field}.shape"
    rows = 1 if len(shape) == 1 and width > 1 else shape[0]
    if rows == 0 or math.prod(shape) != rows * width:
        rule = f"must be [n, {width}], n at least 1, or have other dimensions after n whose product is {width}"
        raise Invalid(FieldError(field, str(shape), rule))
    if rows > most:
        error = FieldError(field, rows, f"must be at most {most} rows")
        raise TooLarge(f"the request has {rows} rows, the limit is {most}", errors=[error])
    return rows
