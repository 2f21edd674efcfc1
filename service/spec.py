"""A model's spec: what a user asks for, checked and completed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    GetCoreSchemaHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import CoreSchema, custom_error_schema

from models import (
    LEARNERS,
    Architecture,
    ArgumentError,
    FixedScale,
    InputScale,
    LabelIndex,
    Learner,
    NoScale,
    PooledScale,
    RunningScale,
    create_learner,
)
from models.device import choose_device
from service.problems import FieldError, Invalid

NAME = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)


@dataclass(frozen=True)
class OneError:
    """Annotation of a union: whatever is wrong with the value is one error, not one for each branch."""

    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return custom_error_schema(handler(source), custom_error_type="wrong", custom_error_message=self.message)


Size = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]
LabelValue = Annotated[
    Annotated[StrictStr, Field(max_length=256)] | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)] | StrictBool,
    OneError("must be a string of at most 256 characters, a 64-bit integer or a boolean"),
]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class BlockSpec(_Part):
    """How samples are cut into learning steps where they are accepted."""

    size: Annotated[int, Field(ge=1, le=65_536)] = 64
    wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 5.0


class FixedScaleSpec(_Part):
    """Mean and deviation known beforehand: numbers, or lists with one a feature."""

    mean: float | list[float]
    deviation: Positive | list[Positive] = 1.0


Scale = Annotated[
    Literal["running", "pooled", "none"] | FixedScaleSpec,
    OneError(
        "must be 'running', 'pooled', 'none', or mean and deviation: a number or a list each, deviations positive"
    ),
]


class ModelSpec(_Part):
    """What a model is. Only `inputs` and `classes` must be given."""

    task: Literal["classification"] = "classification"
    inputs: Size
    hidden: Annotated[list[Size], Field(min_length=1, max_length=64)] = [100, 100]
    classes: Annotated[list[LabelValue], Field(min_length=2, max_length=100_000), FailFast()]
    label_type: Literal["integer", "string", "boolean"] | None = None
    activation: Literal["relu"] = "relu"
    learner: Literal["am-mem", "am-mem-paper"] = "am-mem"
    hyperparameters: dict[str, Any] = {}
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    scale: Scale = "running"
    block: BlockSpec = BlockSpec()
    retain_s: Annotated[float, Field(ge=0)] = 3600.0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Fills in the label type and every hyper-parameter, so that equal specs are equal however they were written.

        Raises: Invalid (which pydantic lets through) naming the field and value.
        """
        try:
            label_type = self.labels.label_type
        except ValueError as error:
            raise Invalid(FieldError("classes", self.classes, str(error).removeprefix("classes "))) from error
        if self.label_type not in (None, label_type):
            raise Invalid(FieldError("label_type", self.label_type, f"must be {label_type!r}, the type of classes"))
        if isinstance(self.scale, FixedScaleSpec):
            self._check_fixed_scale(self.scale)
        completed = _completed_hyperparameters(self.learner, self.hyperparameters)
        object.__setattr__(self, "label_type", label_type)
        object.__setattr__(self, "hyperparameters", completed)
        return self

    def _check_fixed_scale(self, scale: FixedScaleSpec) -> None:
        for field, given in (("scale.mean", scale.mean), ("scale.deviation", scale.deviation)):
            if isinstance(given, list) and len(given) != self.inputs:
                rule = f"must be one number, or {self.inputs}: one a feature"
                raise Invalid(FieldError(field, f"{len(given)} numbers", rule))

    @cached_property
    def labels(self) -> LabelIndex:
        return LabelIndex(self.classes)

    def architecture(self) -> Architecture:
        return Architecture(self.inputs, tuple(self.hidden), len(self.classes), self.activation)

    def input_scale(self) -> InputScale:
        if isinstance(self.scale, FixedScaleSpec):
            mean, deviation = (tuple(v) if isinstance(v, list) else v for v in (self.scale.mean, self.scale.deviation))
            return FixedScale(mean, deviation)
        kinds: dict[str, Callable[[], InputScale]] = {"running": RunningScale, "pooled": PooledScale, "none": NoScale}
        return kinds[self.scale]()

    def create_learner(self, device: str) -> Learner:
        return self._learner_on(choose_device(device))

    def _learner_on(self, device: torch.device) -> Learner:
        return create_learner(
            self.learner,
            self.architecture(),
            hyperparameters=self.hyperparameters,
            scale=self.input_scale(),
            seed=self.seed,
            device=device,
        )

    def state_bytes(self) -> int:
        """Size of the learner's state, most of which is memories: A grows with inputs²."""
        return sum(tensor.nbytes for tensor in self._learner_on(torch.device("meta")).state_dict().values())


def default_hyperparameters(learner: str) -> dict[str, Any]:
    return _as_json(LEARNERS[learner][0]())


def _as_json(hyperparameters: Any) -> dict[str, Any]:
    """As they come back from a database: lists, no tuples."""
    fields: dict[str, Any] = json.loads(json.dumps(vars(hyperparameters)))
    return fields


def _completed_hyperparameters(learner: str, given: dict[str, Any]) -> dict[str, Any]:
    kind = LEARNERS[learner][0]
    known = sorted(field.name for field in fields(kind))
    for name, value in given.items():
        if name not in known:
            raise Invalid(FieldError(f"hyperparameters.{name}", value, f"is unknown; {learner} has {', '.join(known)}"))
    try:
        completed = _adapter(kind).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise Invalid(*(_hyperparameter_error(details) for details in error.errors())) from error
    return _as_json(completed)


_adapter = cache(TypeAdapter)


def _hyperparameter_error(details: ErrorDetails) -> FieldError:
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, ArgumentError):
        return FieldError(f"hyperparameters.{cause.argument}", cause.value, f"must be {cause.rule}")
    return FieldError(".".join(map(str, ("hyperparameters", *details["loc"]))), details["input"], details["msg"])
