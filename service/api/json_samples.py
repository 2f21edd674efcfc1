"""Samples and inputs in JSON, and samples in NDJSON: one a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import FailFast, Field

from service.api.sample_checks import (
    AnyTarget,
    Array,
    Body,
    Most,
    Path,
    RowOfNames,
    Time,
    Weight,
    check_count,
    checked_samples,
    kind_of,
    matrix,
    row_kind,
    target_kind,
    validated,
)
from service.entries import Samples
from service.spec import ModelSpec

# Before the body is parsed, which takes some 60 times its size: a value cannot be followed by a colon, a key must be.
_KEY_X = re.compile(rb'"x"\s*:')

X = TypeVar("X")
Y = TypeVar("Y")


@dataclass(frozen=True)
class Line:
    """number: of the line in the body, from 0."""

    number: int
    text: bytes


class Sample(Body, Generic[X, Y]):
    """x: one number a feature, null where missing; by name where the model names its features; y: the label, or for
    regression the value or list of values; weight: how much the sample counts; time: when it happened, if known."""

    x: X
    y: Y
    weight: Weight = 1.0
    time: Time | None = None


class SampleList(Body, Generic[X, Y]):
    samples: Annotated[list[Sample[X, Y]], Field(min_length=1), FailFast()]


class AnySample(Sample[RowOfNames, AnyTarget]):
    """Of any model: x by place, or by name where the model names its features."""


class AnySampleList(Body):
    samples: Annotated[list[AnySample], Field(min_length=1)]


class AnyInputList(Body):
    x: Annotated[list[RowOfNames], Field(min_length=1)]


class InputList(Body, Generic[X]):
    """x: rows of one number a feature, null where missing."""

    x: Annotated[list[X], Field(min_length=1), FailFast()]


def samples_of_json(body: bytes, spec: ModelSpec, most: Most) -> Samples:
    keys_a_sample = 2 if "x" in (spec.features or ()) else 1
    check_count(sum(1 for _ in _KEY_X.finditer(body)) // keys_a_sample, most.samples)
    parsed = validated(kind_of(SampleList, row_kind(spec), target_kind(spec)), body).samples
    check_count(len(parsed), most.samples)
    return _samples(parsed, spec, lambda index: f"samples.{index}")


def samples_of_lines(lines: Sequence[Line], spec: ModelSpec) -> Samples:
    kind = kind_of(Sample, row_kind(spec), target_kind(spec))
    parsed = [validated(kind, line.text, f"lines.{line.number}") for line in lines]
    return _samples(parsed, spec, lambda index: f"lines.{lines[index].number}")


def inputs_of_json(body: bytes, spec: ModelSpec, most: Most) -> Array:
    names = spec.features or ()
    brackets_a_row = 1 + sum(name.count("[") + name.count("{") for name in names)
    check_count((body.count(b"[") + body.count(b"{") - 2) // brackets_a_row, most.samples)
    rows = validated(kind_of(InputList, row_kind(spec)), body).x
    check_count(len(rows), most.samples)
    return matrix(rows, spec, lambda index: f"x.{index}")


def _samples(parsed: Sequence[Sample[Any, Any]], spec: ModelSpec, path: Path) -> Samples:
    x = matrix([sample.x for sample in parsed], spec, lambda index: f"{path(index)}.x")
    y, weight, time = ([getattr(sample, field) for sample in parsed] for field in ("y", "weight", "time"))
    return checked_samples(x, y, weight, time, spec, lambda index: f"{path(index)}.y")
