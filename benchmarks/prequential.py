"""Test, then train: every block is predicted before it is learned, the first one included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
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


def predictions(learner: Learns, x: Tensor, y: Tensor, block: int) -> Iterator[Tensor]:
    """Runs `learner` over (x, y) in blocks of at most `block`; yields the classes that it predicted of each."""
    for start in range(0, len(y), block):
        inputs, targets = x[start : start + block], y[start : start + block]
        predicted = learner.predict(inputs).argmax(dim=1)
        learner.learn(inputs, targets)
        yield predicted


def prequential(learner: Learns, x: Tensor, y: Tensor, block: int) -> Iterator[int]:
    """Runs `learner` over (x, y) in blocks of at most `block`; yields how many of each were predicted right."""
    for number, predicted in enumerate(predictions(learner, x, y, block)):
        yield int((predicted == y[number * block : (number + 1) * block]).sum())


def prequential_accuracy(learner: Learns, x: Tensor, y: Tensor, block: int) -> float:
    """Share of all samples, from the very first, that were predicted right before they were learned."""
    return sum(prequential(learner, x, y, block)) / len(y)


def cohens_kappa(predicted: Tensor, y: Tensor) -> float:
    """(p − q)/(1 − q), p the accuracy and q that of the same predictions in random order; 0 where q is 1."""
    classes = int(torch.maximum(predicted.max(), y.max())) + 1
    shares, predicted_shares = (labels.bincount(minlength=classes).double() / len(y) for labels in (y, predicted))
    by_chance = float(shares @ predicted_shares)
    accuracy = float((predicted == y).double().mean())
    return (accuracy - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def accuracy(learner: Learns, data: Dataset) -> float:
    """Share of `data` that is predicted right now."""
    return float((learner.predict(data.x).argmax(dim=1) == data.y).float().mean())
