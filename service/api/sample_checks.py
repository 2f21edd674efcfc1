"""What holds for samples and inputs in whatever format they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from models import LABEL_TYPES, UnknownLabel
from service.api.problem_handlers import TAG, invalid
from service.entries import EARLIEST, LATEST, Samples, Target
from service.problems import FieldError, Invalid, TooLarge
from service.spec import ModelSpec
from service.spec_fields import LabelValue

LARGEST_INPUT = 1e15

Array = NDArray[np.float32]
Path = Callable[[int], str]
Row = Annotated[list[float | None], Field(fail_fast=True)]
NamedRow = Annotated[dict[str, float | None], Field(fail_fast=True)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Time = Annotated[
    float,
    PlainValidator(lambda given: _seconds(given)),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]}),
]
"""When a sample happened: seconds since 1970, or as RFC 3339."""
Value = Annotated[float, Field(ge=-LARGEST_INPUT, le=LARGEST_INPUT)]
Values = Annotated[list[Value], Field(fail_fast=True)]
AnyTarget = LabelValue | Value | Values
"""Of some model, for the description."""

BY_NAME, BY_PLACE = f"{TAG}name", f"{TAG}place"
RowOfNames = Annotated[
    Annotated[Row, Tag(BY_PLACE)] | Annotated[NamedRow, Tag(BY_NAME)],
    Discriminator(lambda row: BY_NAME if isinstance(row, dict) else BY_PLACE),
]


class Body(BaseModel):
    """Lists stop at their first error: a body of millions of wrong items is refused like one with a single one."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Most:
    """Limits of one request: samples, and bytes once they are decompressed."""

    samples: int
    body_bytes: int


def checked_samples(
    x: Array,
    y: Sequence[Any],
    weight: Sequence[float] | None,
    time: Sequence[float | None] | None,
    spec: ModelSpec,
    path: Path,
) -> Samples:
    """Args: path: of the y of a sample. Raises: Invalid for labels or values that are none of the model's."""
    check_targets(y, spec, path)
    weighted = weight is not None and any(each != 1 for each in weight)
    timed = time is not None and any(each is not None for each in time)
    return Samples(
        x,
        y,
        np.array(weight, np.float32) if weighted else None,
        time=np.array(time, np.float64) if timed else None,  # None becomes NaN
    )


def check_targets(y: Sequence[Any], spec: ModelSpec, path: Path) -> None:
    """As `checked_samples`, of labels or values alone."""
    if spec.targets is None:
        _check_labels(y, spec, path)
    elif spec.targets > 1:
        for index, values in enumerate(y):
            if len(values) != spec.targets:
                rule = f"must have {spec.targets} numbers, as many as targets"
                raise Invalid(FieldError(path(index), f"{len(values)} numbers", rule))


def _seconds(given: Any) -> float:
    seconds: Any = given
    if isinstance(given, str):
        try:
            moment = datetime.fromisoformat(given)
            seconds = moment.timestamp() if moment.tzinfo is not None else None
        except (ValueError, OverflowError):
            seconds = None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not EARLIEST <= seconds <= LATEST:
        rule = "must be seconds since 1970, or an RFC 3339 time with its offset from UTC"
        raise PydanticCustomError("time", rule)
    return float(seconds)


def target_kind(spec: ModelSpec) -> Any:
    """What y may be for one sample, for pydantic."""
    if spec.targets is None:
        return LabelValue
    return Value if spec.targets == 1 else Values


@cache
def kind_of(generic: Any, *types: Any) -> Any:
    """A generic body for these types."""
    return generic[types]


def row_kind(spec: ModelSpec) -> Any:
    return Row if spec.features is None else RowOfNames


def validated(kind: Any, given: bytes | Mapping[str, Any], *within: str) -> Any:
    """What pydantic makes of JSON, or of what was decoded; at the path `within`. Raises: Invalid."""
    try:
        return kind.model_validate_json(given) if isinstance(given, bytes) else kind.model_validate(given)
    except ValidationError as error:
        raise invalid(error, *within) from error


def check_count(count: int, most: int, what: str = "samples") -> None:
    if count > most:
        error = FieldError(what, count, f"must be at most {most}")
        raise TooLarge(f"the body has {count} {what}, the limit is {most}", errors=[error])


def check_length(field: str, values: Sequence[Any], n: int) -> None:
    if len(values) != n:
        raise Invalid(FieldError(field, f"{len(values)} values", f"must have n = {n} values"))


def matrix(rows: Sequence[Sequence[float | None] | Mapping[str, float | None]], spec: ModelSpec, path: Path) -> Array:
    """(n, N) float32 from rows by place or by name. Raises: Invalid."""
    places = {name: place for place, name in enumerate(spec.features or ())}
    listed: list[Sequence[float | None]] = []
    for index, row in enumerate(rows):
        if isinstance(row, Mapping):
            listed.append(_by_place(row, places, path(index)))
        elif len(row) == spec.inputs:
            listed.append(row)
        else:
            raise Invalid(FieldError(path(index), f"{len(row)} numbers", f"must have {spec.inputs} numbers"))
    x = np.array(listed, np.float64)  # None becomes NaN, which no comparison holds for

    def cell(sample: int, feature: int) -> str:
        names = spec.features if isinstance(rows[sample], Mapping) else None
        return f"{path(sample)}.{names[feature] if names else feature}"

    check_inputs(~(np.abs(x) > LARGEST_INPUT), x, cell)
    return x.astype(np.float32)


def _by_place(row: Mapping[str, float | None], places: Mapping[str, int], path: str) -> Sequence[float | None]:
    """A feature that is not named is missing."""
    listed: list[float | None] = [None] * len(places)
    for name, value in row.items():
        if name not in places:
            raise Invalid(FieldError(f"{path}.{name}", value, "must be one of the model's features"))
        listed[places[name]] = value
    return listed


def check_inputs(good: NDArray[np.bool_], x: NDArray[Any], cell: Callable[[int, int], str]) -> None:
    """Raises: Invalid naming the first input that is not good. Args: cell: path of a sample's feature."""
    if not good.all():
        sample, feature = map(int, np.argwhere(~good)[0])
        rule = f"must be a finite number of at most {LARGEST_INPUT:g}"
        raise Invalid(FieldError(cell(sample, feature), float(x[sample, feature]), rule))


def _check_labels(labels: Sequence[Target], spec: ModelSpec, path: Path) -> None:
    given: Any = labels
    try:
        if spec.open:
            spec.labels.extended(given)
        else:
            spec.labels.encode(given)
    except UnknownLabel as error:
        of_type = type(error.label) is LABEL_TYPES[str(spec.label_type)]
        rule = "must be a declared class" if of_type else f"must be of type {spec.label_type}"
        raise Invalid(FieldError(path(error.position), error.label, rule)) from error
