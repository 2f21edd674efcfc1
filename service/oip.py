"""What a model is in the Open Inference Protocol: tensors by name, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import Label
from service.prediction import Predicted
from service.spec import ModelSpec
from service.version import Version

INPUT = "x"
LABEL, PROBABILITIES, VALUES = "label", "probabilities", "values"

NUMBERS: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
"""Datatypes that inputs may have, as they are on the wire: little-endian."""


@dataclass(frozen=True)
class TensorKind:
    """A tensor as metadata names it.

    Args: shape: −1 where any size goes. parameters: what else is known: the names of the columns.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tensor:
    """Args: values: for BYTES an array of strings."""

    name: str
    datatype: str
    values: NDArray[Any]


def input_kinds(spec: ModelSpec) -> list[TensorKind]:
    named = {} if spec.features is None else {"features": spec.features}
    return [TensorKind(INPUT, "FP32", [-1, spec.inputs], named)]


def output_kinds(spec: ModelSpec, version: Version) -> list[TensorKind]:
    """As of one version: while classes may come, the number of probabilities is left open."""
    if spec.targets is not None:
        return [TensorKind(VALUES, "FP64", [-1, spec.targets])]
    columns = -1 if spec.open else len(version.labels)
    classes = {"classes": [as_text(label) for label in version.labels]}
    return [TensorKind(LABEL, "BYTES", [-1]), TensorKind(PROBABILITIES, "FP64", [-1, columns], classes)]


def outputs(predicted: Predicted) -> list[Tensor]:
    """In the order of `output_kinds`."""
    if predicted.values is not None:
        return [Tensor(VALUES, "FP64", predicted.values)]
    labels = np.array([as_text(label) for label in predicted.labels], dtype=np.object_)
    probabilities = predicted.probabilities.astype(np.float64)
    return [Tensor(LABEL, "BYTES", labels), Tensor(PROBABILITIES, "FP64", probabilities)]


def as_text(label: Label) -> str:
    """A label of any type as the protocol's BYTES: booleans as in JSON."""
    return str(label).lower() if isinstance(label, bool) else str(label)
