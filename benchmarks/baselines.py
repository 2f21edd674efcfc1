"""What needs no learning: a method that does not beat these has shown nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


class MostFrequent:
    """Predicts the class seen most often so far; class 0 before any, the lower index among equals."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, dtype=torch.int64)

    def predict(self, inputs: Tensor) -> Tensor:
        return self.counts.expand(len(inputs), -1)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        self.counts = self.counts + targets.bincount(minlength=len(self.counts))


class LastClass:
    """Predicts the class of the last sample seen, for a whole block; class 0 before any."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.last = torch.zeros((), dtype=torch.int64)

    def predict(self, inputs: Tensor) -> Tensor:
        return one_hot(self.last, self.classes).expand(len(inputs), -1)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        self.last = targets[-1]


BASELINES: dict[str, type[MostFrequent] | type[LastClass]] = {"most-frequent": MostFrequent, "last-class": LastClass}
