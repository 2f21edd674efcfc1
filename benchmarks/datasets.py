"""Data sets as tensors, each with a digest, so that a result is never taken for another data set's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from benchmarks.scenario import MissingDataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Args: x: (n, N) float32.  y: class indices, (n,) int64."""

    name: str
    x: Tensor
    y: Tensor

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for tensor in (self.x, self.y):
            digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def shuffled(self, seed: int) -> tuple[Tensor, Tensor]:
        """(x, y) in the order of `seed`."""
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(seed))
        return self.x[order], self.y[order]


@cache
def digits() -> Dataset:
    """scikit-learn's 1,797 digits: 8 by 8 pixels from 0 to 16, ten classes. Comes with scikit-learn."""
    bunch = load_digits()
    return Dataset("digits", torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target))


def mnist_start(folder: Path | None, samples: int) -> Dataset | None:
    """The start of MNIST's training set, 784 pixels from 0 to 255; None without mnist_full.npz in `folder`."""
    if folder is None or not (folder / "mnist_full.npz").exists():
        return None
    with numpy.load(folder / "mnist_full.npz") as arrays:
        x, y = torch.tensor(arrays["x_train"][:samples]), torch.tensor(arrays["y_train"][:samples])
    return Dataset("mnist", x.flatten(start_dim=1).float(), y.long())


@dataclass(frozen=True, eq=False)
class Split:
    """Where to learn, where to choose hyper-parameters, where to report."""

    train: Dataset
    validation: Dataset
    test: Dataset

    @cached_property
    def everything_but_test(self) -> Dataset:
        """What there is to learn once everything is chosen."""
        parts = (self.train, self.validation)
        return Dataset(self.train.name, torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))


HOMES = {
    "mnist_full": "60,000 and 10,000 images of 28 x 28 bytes, labels from 0; http://yann.lecun.com/exdb/mnist has them",
    "fashion_mnist_full": "the same shapes as MNIST; https://github.com/zalandoresearch/fashion-mnist has them",
    "higgs_subset": "rows of 28 features; https://archive.ics.uci.edu/dataset/280/higgs has 11 million",
    "letter": "20,000 rows of 16 features; https://archive.ics.uci.edu/dataset/59/letter+recognition has them",
}
"""What a file of `--data` holds and who has it."""


def mnist(folder: Path | None) -> Split:
    """MNIST as appendix D.1 splits it. Raises: MissingDataError."""
    return images(folder, "mnist_full")


@cache
def images(folder: Path | None, name: str) -> Split:
    """50,000 images to learn, the last 10,000 of the training set to choose, the official test set.

    Raises: MissingDataError.
    """
    arrays = _arrays(folder, name, ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (torch.tensor(arrays[key]).flatten(1).float() for key in ("x_train", "x_test"))
    y, y_test = (torch.tensor(arrays[key]).long() for key in ("y_train", "y_test"))
    short = name.removesuffix("_full")
    return Split(
        Dataset(short, x[:50_000], y[:50_000]),
        Dataset(short, x[50_000:], y[50_000:]),
        Dataset(short, x_test, y_test),
    )


@cache
def table(folder: Path | None, name: str) -> Split:
    """20 % of the rows to report, 10 % of the others to choose, the rest to learn; the same rows in every run.

    Raises: MissingDataError.
    """
    arrays = _arrays(folder, name, ("x", "y"))
    x, y = Dataset(name, torch.tensor(arrays["x"]).float(), torch.tensor(arrays["y"]).long()).shuffled(seed=0)
    test = len(y) // 5
    validation = test + (len(y) - test) // 10
    return Split(
        Dataset(name, x[validation:], y[validation:]),
        Dataset(name, x[test:validation], y[test:validation]),
        Dataset(name, x[:test], y[:test]),
    )


def _arrays(folder: Path | None, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if folder is None or not (folder / f"{name}.npz").exists():
        title = {"mnist_full": "MNIST", "fashion_mnist_full": "Fashion-MNIST"}.get(name, name)
        raise MissingDataError(
            f"{title} is needed: --data FOLDER with a {name}.npz of {', '.join(keys)} ({HOMES[name]})"
        )
    with numpy.load(folder / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in keys}


@cache
def labelled_stream(folder: Path | None, name: str, contents: str) -> Dataset:
    """`name`.npz of `folder`, x (n, N) and labels y (n,) from 0, in the order of time.

    Args: contents: what the file holds and where it comes from, for the error.
    Raises: MissingDataError.
    """
    if folder is None or not (folder / f"{name}.npz").exists():
        raise MissingDataError(f"{contents} is needed: --data FOLDER with a {name}.npz of x, y in the order of time")
    with numpy.load(folder / f"{name}.npz") as arrays:
        return Dataset(name, torch.tensor(arrays["x"]).float(), torch.tensor(arrays["y"]).long())


def synthetic_pixels(samples: int) -> Dataset:
    """Uniform noise in MNIST's shape: enough to time a step, not to learn from."""
    generator = torch.Generator().manual_seed(0)
    x = 255 * torch.rand(samples, 784, generator=generator)
    return Dataset("synthetic", x, torch.randint(10, (samples,), generator=generator))
