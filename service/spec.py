"""A model's spec: what a user asks for, checked and completed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, FailFast, Field, model_validator

from models import (
    Architecture,
    ArgumentError,
    ConvolutionalNet,
    FixedScale,
    InputScale,
    LabelIndex,
    Learner,
    NoScale,
    PooledScale,
    RunningScale,
    create_learner,
    patch_net,
)
from models.device import choose_device
from service.hyperparameters import complete
from service.problems import FieldError, Invalid
from service.spec_fields import (
    MOST_CLASSES,
    NAME,
    STRICT,
    BlockSpec,
    FeatureName,
    FixedScaleSpec,
    LabelValue,
    Scale,
    Size,
)

USUAL_MAX_CLASSES = 100
"""Where none is declared."""


class ModelSpec(BaseModel):
    """What a model is. `inputs` or `features` must be given, and for classification `classes` or `label_type`.

    Attributes:
        features: names of the inputs, in order.
        targets: how many numbers a regression predicts.
        classes: in the order of probabilities. max_classes: how many there may be: labels that come later and are not among
            them become classes, too, as long as there is room; by default all are declared, or 100 when none is.
        shadow_of: the model whose samples this one learns, to be compared with it.
        image: channels, height and width, when `inputs` are the pixels of one: for the learner never-forget, which then sees
            patches.
    """

    model_config = STRICT

    task: Literal["classification", "regression"] = "classification"
    inputs: Size = 0
    features: Annotated[list[FeatureName] | None, Field(max_length=1_000_000)] = None
    targets: Annotated[int, Field(ge=1, le=1000)] | None = None
    hidden: Annotated[list[Size], Field(min_length=1, max_length=64)] = [100, 100]
    classes: Annotated[list[LabelValue], Field(max_length=MOST_CLASSES), FailFast()] = []
    max_classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)] | None = None
    label_type: Literal["integer", "string", "boolean"] | None = None
    activation: Literal["relu"] = "relu"
    learner: Literal["am-mem", "never-forget", "am-mem-paper"] = "am-mem"
    image: Annotated[list[Size], Field(min_length=3, max_length=3)] | None = None
    hyperparameters: dict[str, Any] = {}
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    scale: Scale = "running"
    block: BlockSpec = BlockSpec()
    retain_s: Annotated[float, Field(ge=0)] = 3600.0
    shadow_of: Annotated[str, Field(pattern=NAME.pattern)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Fills in what was left open, so that equal specs are equal however they were written.

        Raises: Invalid (which pydantic lets through) naming the field and value.
        """
        self._complete_inputs()
        if self.task == "classification":
            self._complete_classes()
        else:
            self._complete_values()
        if isinstance(self.scale, FixedScaleSpec):
            self._check_fixed_scale(self.scale)
        object.__setattr__(self, "hyperparameters", complete(self.learner, self.hyperparameters))
        self._check_net()
        return self

    def _complete_inputs(self) -> None:
        if self.features is None:
            if not self.inputs:
                raise Invalid(FieldError("inputs", None, "must say how many features there are, or features name them"))
            return
        if self.inputs not in (0, len(self.features)):
            raise Invalid(FieldError("inputs", self.inputs, f"must be {len(self.features)}, the number of features"))
        if len(set(self.features)) != len(self.features) or not self.features:
            repeated = next((name for name in self.features if self.features.count(name) > 1), None)
            raise Invalid(FieldError("features", repeated, "must be distinct names, one or more"))
        object.__setattr__(self, "inputs", len(self.features))

    def _complete_classes(self) -> None:
        if self.targets is not None:
            raise Invalid(FieldError("targets", self.targets, "is for the task 'regression'"))
        if not self.classes and self.label_type is None:
            raise Invalid(
                FieldError("classes", [], "must name classes, or label_type the type of those that will come")
            )
        if len(self.classes) == 1 and self.max_classes is None:
            raise Invalid(
                FieldError("classes", self.classes, "must be two or more, or max_classes say how many may come")
            )
        try:
            labels = LabelIndex(self.classes, None if self.classes else self.label_type)
        except ValueError as error:
            raise Invalid(FieldError("classes", self.classes, str(error).removeprefix("classes "))) from error
        if self.label_type not in (None, labels.label_type):
            raise Invalid(
                FieldError("label_type", self.label_type, f"must be {labels.label_type!r}, the type of classes")
            )
        most = self.max_classes or len(self.classes) or USUAL_MAX_CLASSES
        if most < len(self.classes):
            raise Invalid(
                FieldError("max_classes", most, f"must be at least {len(self.classes)}, the number of classes")
            )
        object.__setattr__(self, "label_type", labels.label_type)
        object.__setattr__(self, "max_classes", most)

    def _complete_values(self) -> None:
        for field in ("classes", "max_classes", "label_type"):
            if getattr(self, field):
                raise Invalid(FieldError(field, getattr(self, field), "is for the task 'classification'"))
        if self.learner == "am-mem-paper":
            raise Invalid(
                FieldError("learner", self.learner, "must be am-mem or never-forget for the task 'regression'")
            )
        object.__setattr__(self, "targets", self.targets or 1)

    def _check_net(self) -> None:
        if self.image is not None:
            if self.learner != "never-forget":
                raise Invalid(FieldError("image", self.image, "is for the learner 'never-forget'"))
            if len(self.hidden) != 1:
                raise Invalid(FieldError("hidden", self.hidden, "must be one number where there is an image"))
            if math.prod(self.image) != self.inputs:
                raise Invalid(FieldError("image", self.image, f"must have {self.inputs} numbers, as many as inputs"))
            scale = self.input_scale()
            if isinstance(scale, RunningScale) or (isinstance(scale, FixedScale) and not scale.is_uniform):
                rule = "must be one for all features where there is an image: 'pooled', say"
                raise Invalid(FieldError("scale", self.scale, rule))
        try:
            self.net(2)
        except ArgumentError as error:
            raise Invalid(FieldError(error.argument, error.value, f"must be {error.rule}")) from error

    def _check_fixed_scale(self, scale: FixedScaleSpec) -> None:
        for field, given in (("scale.mean", scale.mean), ("scale.deviation", scale.deviation)):
            if isinstance(given, list) and len(given) != self.inputs:
                rule = f"must be one number, or {self.inputs}: one a feature"
                raise Invalid(FieldError(field, f"{len(given)} numbers", rule))

    @cached_property
    def labels(self) -> LabelIndex:
        """The declared classes."""
        return LabelIndex(self.classes, self.label_type)

    @property
    def open(self) -> bool:
        """Whether labels that are not declared may become classes."""
        return self.max_classes is not None and self.max_classes > len(self.classes)

    def outputs(self, classes: int) -> int:
        """Of a net for so many classes, or of values; before any class is known there is one that nothing asks for."""
        return self.targets or max(classes, 1)

    def net(self, outputs: int) -> Architecture | ConvolutionalNet:
        """Raises: ArgumentError."""
        if self.image is not None:
            channels, height, width = self.image
            return patch_net(
                (channels, height, width), self.hidden[0], outputs, "squared" if self.targets else "multinomial"
            )
        loss = "multinomial" if self.targets is None else "squared"
        return Architecture(self.inputs, tuple(self.hidden), outputs, self.activation, loss)

    def input_scale(self) -> InputScale:
        if isinstance(self.scale, FixedScaleSpec):
            mean, deviation = (tuple(v) if isinstance(v, list) else v for v in (self.scale.mean, self.scale.deviation))
            return FixedScale(mean, deviation)
        kinds: dict[str, Callable[[], InputScale]] = {"running": RunningScale, "pooled": PooledScale, "none": NoScale}
        return kinds[self.scale]()

    def changed(self, **fields: Any) -> ModelSpec:
        """With other values, checked like any. Raises: Invalid, ValidationError."""
        return ModelSpec.model_validate_json(json.dumps(self.model_dump(mode="json") | fields))

    def create_learner(self, device: str, classes: int | None = None) -> Learner:
        """Args: classes: how many; those declared when omitted. It does not matter for regression."""
        return self._learner_on(choose_device(device), len(self.classes) if classes is None else classes)

    def _learner_on(self, device: torch.device, classes: int) -> Learner:
        return create_learner(
            self.learner,
            self.net(self.outputs(classes)),
            hyperparameters=self.hyperparameters,
            scale=self.input_scale(),
            seed=self.seed,
            device=device,
        )

    def state_bytes(self, classes: int | None = None) -> int:
        """Size of the learner's state, by default with all classes that there may be; none of it is made.

        Most of it is memories: A grows with inputs².
        """
        state = self._largest_state() if classes is None else self._state_on_no_device(classes)
        return sum(tensor.nbytes for tensor in state.values())

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every tensor, with all classes that there may be."""
        return {name: tuple(tensor.shape) for name, tensor in self._largest_state().items()}

    def _largest_state(self) -> Mapping[str, torch.Tensor]:
        return self._state_on_no_device(self.max_classes or 1)

    def _state_on_no_device(self, classes: int) -> Mapping[str, torch.Tensor]:
        return self._learner_on(torch.device("meta"), classes).state_dict()
