"""One immutable version of a model, as predictions use it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from models import Label, Predictor
from models.prequential import ClassificationMetrics
from models.prequential_values import RegressionMetrics
from models.target_scale import TargetScale
from service.entry_id import EntryId
from service.spec import ModelSpec

Metrics = ClassificationMetrics | RegressionMetrics


@dataclass(frozen=True)
class Version:
    """`model_version` counts the entries applied.

    Args:
        labels: of the classes, in the order of probabilities; none for regression.
        target_scale: of a regression's values.
        in_force: the spec as commands have changed it.
        newest_time: when the latest of the samples learned happened, seconds since 1970; None where none said when.
    """

    model_version: int
    applied_entry: EntryId
    samples_learned: int
    predictor: Predictor
    labels: tuple[Label, ...]
    target_scale: TargetScale | None
    metrics: Metrics
    in_force: ModelSpec
    newest_time: float | None = None

    @cached_property
    def classes(self) -> frozenset[Label]:
        return frozenset(self.labels)
