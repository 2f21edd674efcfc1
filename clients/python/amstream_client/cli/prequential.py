"""What predictions that were made before learning are worth, beside predictors that learn nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from amstream_client.wire import Label, Predictions

LEAST_LIKELIHOOD = 2.0**-23  # as the service's own metrics have it: a certain error does not cost infinitely much


@dataclass(frozen=True)
class Figures:
    """NaN while there are no samples. no_change and majority are accuracies."""

    samples: int
    accuracy: float
    kappa: float
    log_loss: float
    no_change: float
    majority: float


class Prequential:
    """Counts batches, each predicted before it was learned."""

    def __init__(self) -> None:
        self.samples = 0
        self._right = self._same = self._majority = 0
        self._loss = 0.0
        self._came: Counter[Label] = Counter()
        self._said: Counter[Label] = Counter()
        self._last: Label | None = None

    def add(self, labels: Sequence[Label], predictions: Predictions | None) -> None:
        """predictions: None where the model knew no class yet, which counts as wrong."""
        frequent = self._came.most_common(1)[0][0] if self._came else None
        for place, label in enumerate(labels):
            likelihood = 0.0
            if predictions is not None:
                self._right += predictions.labels[place] == label
                self._said[predictions.labels[place]] += 1
                if label in predictions.classes:
                    likelihood = predictions.probabilities[place][predictions.classes.index(label)]
            self._loss -= math.log(max(likelihood, LEAST_LIKELIHOOD))
            self._same += label == self._last
            self._majority += label == frequent
        self._came.update(labels)
        self._last = labels[-1]
        self.samples += len(labels)

    def figures(self) -> Figures:
        if not self.samples:
            return Figures(0, *[math.nan] * 5)
        accuracy = self._right / self.samples
        by_chance = sum(count * self._said[label] for label, count in self._came.items()) / self.samples**2
        return Figures(
            samples=self.samples,
            accuracy=accuracy,
            kappa=(accuracy - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0,
            log_loss=self._loss / self.samples,
            no_change=self._same / self.samples,
            majority=self._majority / self.samples,
        )


@dataclass(frozen=True)
class ValueFigures:
    """Of a regression. no_change and mean are absolute errors; NaN while there are no samples, r2 while all are equal."""

    samples: int
    mae: float
    rmse: float
    r2: float
    no_change: float
    mean: float


class PrequentialValues:
    """As `Prequential`, of a regression with one target. Before anything is known, all predict 0."""

    def __init__(self) -> None:
        self.samples = 0
        self._absolute = self._squared = self._same = self._mean = 0.0
        self._sum = self._sum_of_squares = self._last = 0.0

    def add(self, values: Sequence[float], predictions: Sequence[float] | None) -> None:
        before = self._sum / max(self.samples, 1)
        for value, said in zip(values, predictions or [0.0] * len(values), strict=True):
            self._absolute += abs(value - said)
            self._squared += (value - said) ** 2
            self._same += abs(value - self._last)
            self._mean += abs(value - before)
        self._sum += math.fsum(values)
        self._sum_of_squares += math.fsum(value * value for value in values)
        self._last = values[-1]
        self.samples += len(values)

    def figures(self) -> ValueFigures:
        n = self.samples
        if not n:
            return ValueFigures(0, *[math.nan] * 5)
        variance = self._sum_of_squares / n - (self._sum / n) ** 2
        return ValueFigures(
            samples=n,
            mae=self._absolute / n,
            rmse=math.sqrt(self._squared / n),
            r2=1 - self._squared / n / variance if variance > 0 else math.nan,
            no_change=self._same / n,
            mean=self._mean / n,
        )
