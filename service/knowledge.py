"""What a model knows, without its place in the log: its learner and what goes with it, and the state stored of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models import Label, LabelIndex, Learner
from models.blocks import checked_state, part_of
from models.prequential import ClassificationMetrics
from models.prequential_values import RegressionMetrics
from models.scaling import Moments
from models.target_scale import TargetScale
from service.entries import EARLIEST, LATEST
from service.problems import Invalid
from service.spec import ModelSpec
from service.state import FoldState
from service.version import Metrics

METRICS, TARGET = "metrics.", "target."
"""Prefixes of tensors that are not the learner's."""
IN_FORCE = ("learner", "hyperparameters", "hidden", "activation", "image", "scale")
"""Fields of the spec that a stored state brings along: `set` and `adopt` may change them."""


class Knowledge:
    """Nothing, to begin with.

    Args:
        spec: as created; what of it is in force may have been changed by commands.
        device: `auto`, `cpu` or `cuda`.
    """

    def __init__(self, spec: ModelSpec, *, device: str) -> None:
        self.spec = spec
        self.device = device
        self.labels: tuple[Label, ...] = () if spec.targets else spec.labels.classes
        self.target_scale = TargetScale.unknown(spec.targets) if spec.targets else None
        self.in_force = spec
        self.newest_time: float | None = None
        self.use(spec.create_learner(device))
        self.metrics: Metrics = self._no_metrics()

    def use(self, learner: Learner) -> None:
        self.learner = learner
        self.predictor = learner.predictor()

    def _no_metrics(self) -> Metrics:
        if self.spec.targets:
            return RegressionMetrics.unknown(self.spec.targets)
        return ClassificationMetrics.unknown(self.spec.outputs(len(self.labels)))

    def grow_metrics(self) -> None:
        """To as many classes as are known."""
        if isinstance(self.metrics, ClassificationMetrics):
            self.metrics = self.metrics.grown(self.spec.outputs(len(self.labels)))

    def set(self, hyperparameters: Mapping[str, Any]) -> None:
        """The same state under other hyper-parameters; those not named stay.

        Raises: ValueError, TypeError or Invalid, and changes nothing then.
        """
        changed = self.in_force.changed(hyperparameters={**self.in_force.hyperparameters, **hyperparameters})
        learner = changed.create_learner(self.device, len(self.labels))
        learner.load_state_dict(self.learner.state_dict())
        self.in_force = changed
        self.use(learner)

    # As a stored state

    def state(self) -> FoldState:
        """Tensors of the learner by their names, metrics and the scale of values under prefixes."""
        header = self.in_force.model_dump(mode="json", include=set(IN_FORCE))
        header |= {"classes": list(self.labels), "newest_time": self.newest_time}
        tensors = dict(self.learner.state_dict())
        tensors |= {METRICS + name: tensor for name, tensor in self.metrics.tensors().items()}
        if self.target_scale is not None:
            tensors |= {TARGET + name: tensor for name, tensor in vars(self.target_scale.moments).items()}
        return FoldState(header, tensors)

    @classmethod
    def of_state(cls, spec: ModelSpec, state: FoldState, *, device: str) -> Knowledge:
        """Raises: ValueError naming what does not fit."""
        known = cls.of_size(spec, state.header, device=device)
        parts = {prefix: part_of(state.tensors, prefix) for prefix in (METRICS, TARGET)}
        rest = {name: t for name, t in state.tensors.items() if not name.startswith((METRICS, TARGET))}
        known.learner.load_state_dict(rest)
        known.use(known.learner)
        checked_state(parts[METRICS], known.metrics.tensors())
        known.metrics = type(known.metrics).from_tensors(parts[METRICS])
        if known.target_scale is not None:
            known.target_scale = TargetScale(Moments(**checked_state(parts[TARGET], vars(known.target_scale.moments))))
        return known

    @classmethod
    def of_size(cls, spec: ModelSpec, header: Mapping[str, Any], *, device: str) -> Knowledge:
        """As large as a state with this header, and as ignorant as new. Raises: ValueError naming what does not fit."""
        known = cls(spec, device=device)
        known.in_force, known.labels = _of_header(spec, header)
        newest_time = header.get("newest_time")
        if newest_time is not None and not (isinstance(newest_time, float) and EARLIEST <= newest_time <= LATEST):
            raise ValueError(f"newest_time is {newest_time!r}, and must be seconds since 1970")
        known.newest_time = newest_time
        known.use(known.in_force.create_learner(device, len(known.labels)))
        known.metrics = known._no_metrics()
        return known


def bytes_like(spec: ModelSpec, header: Mapping[str, Any]) -> int:
    """Size of the learner's part of a state with this header, without making one.

    Raises: ValueError naming what does not fit.
    """
    in_force, labels = _of_header(spec, header)
    return in_force.state_bytes(len(labels))


def _of_header(spec: ModelSpec, header: Mapping[str, Any]) -> tuple[ModelSpec, tuple[Label, ...]]:
    """The spec in force and the classes. Raises: ValueError naming what does not fit."""
    try:
        in_force = spec.changed(**{field: header[field] for field in IN_FORCE if field in header})
    except (Invalid, ValidationError, TypeError) as error:
        raise ValueError(str(error)) from error
    declared: tuple[Label, ...] = () if spec.targets else spec.labels.classes
    classes = header.get("classes")
    if not isinstance(classes, list) or classes[: len(declared)] != list(declared):
        raise ValueError(f"classes is {classes!r}, and must begin with {list(declared)!r}")
    most = 0 if spec.targets else spec.max_classes or 0
    if len(classes) > most:
        raise ValueError(f"classes are {len(classes)}, and may be {most}")
    if classes == list(declared):
        return in_force, declared
    return in_force, LabelIndex(classes, spec.label_type).classes
