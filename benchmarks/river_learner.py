"""river's classifiers as what `prequential` runs: one sample at a time, the whole block predicted first."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot


class Classifier(Protocol):
    """river's classifiers, and its pipelines that end in one, which are no `river.base.Classifier`."""

    def predict_one(self, x: Any) -> Any: ...

    def learn_one(self, x: Any, y: Any) -> None: ...


class RiverLearner:
    """Features are named by their columns, labels are class indices; class 0 before any was learned."""

    def __init__(self, classifier: Classifier, classes: int) -> None:
        self.classifier = classifier
        self.classes = classes

    def predict(self, inputs: Tensor) -> Tensor:
        """One-hot, (n, classes)."""
        labels = [self.classifier.predict_one(sample) for sample in _samples(inputs)]
        return one_hot(torch.tensor([int(label or 0) for label in labels]), self.classes)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        for sample, label in zip(_samples(inputs), targets.tolist(), strict=True):
            self.classifier.learn_one(sample, label)


def _samples(inputs: Tensor) -> list[dict[str, float]]:
    return [{f"x{column}": value for column, value in enumerate(row)} for row in inputs.tolist()]
