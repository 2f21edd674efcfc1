"""What files are read into, whatever their format: batches of rows that fit a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amstream_client.errors import AmstreamError
from amstream_client.wire import Label, LabelType, Spec, Target

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
FLOAT32_MAX = float(np.finfo(np.float32).max)


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

    @classmethod
    def to_learn(cls, spec: Spec, label: str | None, weight: str | None) -> Layout:
        """Raises: AmstreamError for a model with several targets."""
        if (spec.get("targets") or 1) > 1:
            raise AmstreamError("samples with several targets are not read from files: use the Python client")
        classes = spec["classes"]
        any_label = not classes or (spec.get("max_classes") or 0) > len(classes)
        known = None if any_label else frozenset(classes)
        return cls(spec["inputs"], spec["label_type"], known, label, weight, spec.get("features"))

    @classmethod
    def to_predict(cls, spec: Spec, label: str | None) -> Layout:
        return cls(spec["inputs"], spec["label_type"], None, label, None, spec.get("features"))


@dataclass(frozen=True)
class Batch:
    x: NDArray[np.float32]  # (n, inputs), NaN where a value is missing
    y: list[Target] | None
    weight: list[float] | None
    first_row: int
    last_row: int
    share_read: float  # of the file, to 1.0


def to_number(text: str) -> float:
    """NaN for an empty field, which is a missing value. Raises ValueError for what float32 cannot hold."""
    if not text.strip():
        return math.nan
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number") from error
    if abs(number) > FLOAT32_MAX:
        raise ValueError(f"{text!r} is too large")
    return number


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
