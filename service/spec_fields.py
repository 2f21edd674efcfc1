"""The parts of a model's spec, as pydantic checks them one by one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, StrictBool, StrictInt, StrictStr
from pydantic_core.core_schema import CoreSchema, custom_error_schema

MOST_CLASSES = 100_000
STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
NAME = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)


@dataclass(frozen=True)
class OneError:
    """Annotation of a union: whatever is wrong with the value is one error, not one for each branch."""

    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return custom_error_schema(handler(source), custom_error_type="wrong", custom_error_message=self.message)


Size = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]
FeatureName = Annotated[str, Field(min_length=1, max_length=256)]
LabelValue = Annotated[
    Annotated[StrictStr, Field(max_length=256)] | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)] | StrictBool,
    OneError("must be a string of at most 256 characters, a 64-bit integer or a boolean"),
]


class BlockSpec(BaseModel):
    """How samples are cut into learning steps where they are accepted."""

    model_config = STRICT

    size: Annotated[int, Field(ge=1, le=65_536)] = 64
    wait_ms: Annotated[float, Field(ge=0, le=10_000)] = 5.0


class FixedScaleSpec(BaseModel):
    """Mean and deviation known beforehand: numbers, or lists with one a feature."""

    model_config = STRICT

    mean: float | list[float]
    deviation: Positive | list[Positive] = 1.0


Scale = Annotated[
    Literal["running", "pooled", "none"] | FixedScaleSpec,
    OneError(
        "must be 'running', 'pooled', 'none', or mean and deviation: a number or a list each, deviations positive"
    ),
]
