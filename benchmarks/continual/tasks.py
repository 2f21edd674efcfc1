"""Tasks that come one after the other, each with its samples to learn and to be tested on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Task:
    """Args: pixels: order of the features, which is applied when they are read; None leaves them as they are."""

    train: Dataset
    test: Dataset
    pixels: Tensor | None = None

    def samples(self, seed: int) -> tuple[Tensor, Tensor]:
        """All to learn, in the order of `seed`."""
        x, y = self.train.shuffled(seed)
        return (x if self.pixels is None else x[:, self.pixels]), y

    @cached_property
    def tested(self) -> Dataset:
        if self.pixels is None:
            return self.test
        return Dataset(self.test.name, self.test.x[:, self.pixels], self.test.y)


def split_by_class(train: Dataset, test: Dataset, per_task: int = 2) -> list[Task]:
    """Class-incremental: classes 0 and 1, then 2 and 3, and so on; nobody is told which task a sample is from."""
    classes = int(train.y.max()) + 1
    ranges = [(start, start + per_task) for start in range(0, classes, per_task)]
    return [Task(_between(train, *ends), _between(test, *ends)) for ends in ranges]


def _between(data: Dataset, first: int, last: int) -> Dataset:
    chosen = (data.y >= first) & (data.y < last)
    return Dataset(data.name, data.x[chosen], data.y[chosen])


def permuted(train: Dataset, test: Dataset, tasks: int = 10) -> list[Task]:
    """Domain-incremental: the same images and classes in every task, under an own order of the pixels; task 0 has theirs.

    Source: Goodfellow et al. 2014, as benchmarked by Kirkpatrick et al. 2017.
    """
    orders = [torch.randperm(train.x.shape[1], generator=torch.Generator().manual_seed(t)) for t in range(1, tasks)]
    return [Task(train, test, order) for order in (None, *orders)]


def thinned(data: Dataset, samples: int) -> Dataset:
    """At most so many of `data`, always the same ones."""
    if samples >= len(data.y):
        return data
    x, y = data.shuffled(seed=0)
    return Dataset(data.name, x[:samples], y[:samples])
