"""Request bodies, checked and turned into what use cases take. For worker threads: parsing may take a while."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from service.api.json_samples import inputs_of_json, samples_of_json
from service.api.media import JSON, MSGPACK, NPZ
from service.api.packed_samples import inputs_of_msgpack, inputs_of_npz, samples_of_msgpack, samples_of_npz
from service.api.problem_handlers import invalid
from service.api.sample_checks import Array, Most, matrix
from service.entries import Samples
from service.problems import FieldError, Invalid
from service.spec import ModelSpec

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NUMBERS = TypeAdapter(
    Annotated[list[Annotated[float, Field(strict=True, allow_inf_nan=False)]], Field(min_length=1, fail_fast=True)]
)

_SAMPLES: dict[str, Callable[[bytes, ModelSpec, Most], Samples]] = {
    JSON: samples_of_json,
    MSGPACK: samples_of_msgpack,
    NPZ: samples_of_npz,
}
_INPUTS: dict[str, Callable[[bytes, ModelSpec, Most], Array]] = {
    JSON: inputs_of_json,
    MSGPACK: inputs_of_msgpack,
    NPZ: inputs_of_npz,
}

B = TypeVar("B", bound=BaseModel)


def read_json(kind: type[B], body: bytes) -> B:
    """Raises: Invalid."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def read_samples(body: bytes, content: str, spec: ModelSpec, *, most: Most) -> Samples:
    """Labelled samples of a media type. NDJSON has no place here: it is read as it comes, `service.api.ndjson`.

    Raises: Invalid naming the field and value; TooLarge for more than there may be.
    """
    return _SAMPLES[content](body, spec, most)


def read_inputs(body: bytes, content: str, spec: ModelSpec, *, most: Most) -> Array:
    """Inputs to predict for, (n, N). Raises: Invalid naming the field and value; TooLarge for more than there may be."""
    return _INPUTS[content](body, spec, most)


def read_query(x: str, spec: ModelSpec) -> Array:
    """One input from `1.5,2,,4`, an empty place for a missing value. Raises: Invalid naming the place and value."""
    try:  # mostly they are what JSON calls numbers, and none is missing
        return matrix([_NUMBERS.validate_json(f"[{x}]")], spec, lambda _: "x")
    except ValidationError:
        row: list[float | None] = []
    for place, text in enumerate(x.split(",")):
        if text.strip() and not _NUMBER.fullmatch(text.strip()):
            raise Invalid(FieldError(f"x.{place}", text, "must be a number, or empty where missing"))
        row.append(float(text) if text.strip() else None)
    return matrix([row], spec, lambda _: "x")
