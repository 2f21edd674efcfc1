"""Test, then train: every block is predicted before it is learned, the first one included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

from benchmarks.datasets import Dataset


class Learns(Protocol):
    """What can be run prequentially: the learners of `models`, the trivial baselines, a service behind HTTP."""

    def predict(self, inputs: Tensor) -> Tensor:
        """Scores (n, m) of x (n, N); the highest is the prediction."""
        ...

    def learn(self, inputs: Tensor, targets: Tensor) -> Any:
        """Takes in one block, x (n, N) and class indices (n,)."""
        ...


def prequential(learner: Learns, x: Tensor, y: Tensor, block: int) -> Iterator[int]:
    """Runs `learner` over (x, y) in blocks of at most `block`; yields how many of each were predicted right."""
    for start in range(0, len(y), block):
        inputs, targets = x[start : start + block], y[start : start + block]
        predicted = learner.predict(inputs).argmax(dim=1)
        right = int((predicted == targets).sum())
        learner.learn(inputs, targets)
        yield right


def prequential_accuracy(learner: Learns, x: Tensor, y: Tensor, block: int) -> float:
    """Share of all samples, from the very first, that were predicted right before they were learned."""
    return sum(prequential(learner, x, y, block)) / len(y)


def accuracy(learner: Learns, data: Dataset) -> float:
    """Share of `data` that is predicted right now."""
    return float((learner.predict(data.x).argmax(dim=1) == data.y).float().mean())
