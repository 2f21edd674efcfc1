"""What files are read into, whatever their format: batches of rows that fit a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from amstream_client.errors import AmstreamError
from amstream_client.limits import LARGEST_INPUT, LARGEST_WEIGHT
from amstream_client.payload import check_target, to_second
from amstream_client.wire import Label, LabelType, Spec, Target

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


class DataFileError(AmstreamError):
    """Names the file and, where there is one, the row (counted from 1, a header included) and the column."""


@dataclass(frozen=True)
class Layout:
    """What the file should hold."""

    inputs: int
    label_type: LabelType | None  # None: numbers, for regression
    classes: Collection[Label] | None  # None: any label of that type
    label: str | None  # names of columns; None: by position
    weight: str | None
    features: Sequence[str] | None = None  # names of columns, where the model names its features
    time: str | None = None  # name of a column
    header: bool | None = None  # whether a CSV has one; None: as it looks
    learns: bool = True  # else weights and times are of no interest

    @classmethod
    def to_learn(
        cls,
        spec: Spec,
        label: str | None = None,
        weight: str | None = None,
        time: str | None = None,
        header: bool | None = None,
    ) -> Layout:
        """Raises: AmstreamError for a model with several targets."""
        if (spec.get("targets") or 1) > 1:
            raise AmstreamError("samples with several targets are not read from files: use the Python client")
        classes = spec["classes"]
        any_label = not classes or (spec.get("max_classes") or 0) > len(classes)
        known = None if any_label else frozenset(classes)
        return cls(spec["inputs"], spec["label_type"], known, label, weight, spec.get("features"), time, header)

    @classmethod
    def to_predict(cls, spec: Spec, label: str | None, header: bool | None = None) -> Layout:
        names = label, None, spec.get("features")
        return cls(spec["inputs"], spec["label_type"], None, *names, header=header, learns=False)


@dataclass(frozen=True)
class Batch:
    x: NDArray[np.float32]  # (n, inputs), NaN where a value is missing
    y: list[Target] | None
    weight: list[float] | None
    first_row: int
    last_row: int
    share_read: float  # of the file, to 1.0
    time: list[float | None] | None = None  # seconds since 1970; None where it is not known


def to_number(text: str) -> float:
    """NaN for an empty field, which is a missing value. Raises ValueError for what the service does not take."""
    if not text.strip():
        return math.nan
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number") from error
    if abs(number) > LARGEST_INPUT:
        raise ValueError(f"{text!r} is too large: beyond {LARGEST_INPUT:g}")
    return number


def to_weight(value: str | float) -> float:
    """Raises ValueError when it is missing, or none that the service takes."""
    weight = to_number(value) if isinstance(value, str) else float(value)
    if math.isnan(weight):
        raise ValueError("the weight is missing")
    if not 0 <= weight <= LARGEST_WEIGHT:
        raise ValueError(f"the weight {str(value)!r} is not from 0 to {LARGEST_WEIGHT:g}")
    return weight


def to_time(value: str | float) -> float | None:
    """Seconds since 1970, given so or as RFC 3339 has it; None where it is missing. Raises ValueError."""
    text = str(value).strip()
    if not text:
        return None
    time: datetime | float
    try:
        time = float(text)
    except ValueError:
        try:
            time = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no time: seconds since 1970, or such as 2026-11-27T09:00:00Z") from error
    return to_second(time)


def to_target(value: str | float | bool, layout: Layout) -> Target:
    """Raises ValueError when it is not a label of the model, or for regression no value."""
    text = str(value).strip()
    if not text:
        raise ValueError("the label is missing")
    if layout.label_type is None:
        number = to_number(text)
        if math.isnan(number):
            raise ValueError("the value is missing")
        return number
    label = _typed_label(text, layout.label_type)
    if label is None:
        raise ValueError(f"{text!r} is not a label of type {layout.label_type}")
    check_target(label)
    if layout.classes is not None and label not in layout.classes:
        raise ValueError(f"{text!r} is not one of the model's classes")
    return label


def _typed_label(text: str, label_type: LabelType) -> Label | None:
    if label_type == "string":
        return text
    if label_type == "boolean":
        return BOOLEANS.get(text.lower())
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)  # such as 3.0, which pandas and numpy.savetxt write for an integer
    except ValueError:
        return None
    return int(number) if number.is_integer() else None
