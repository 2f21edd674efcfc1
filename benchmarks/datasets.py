"""Data sets as tensors, each with a digest, so that a result is never taken for another data set's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

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


@cache
def mnist(folder: Path | None) -> Split:
    """MNIST as appendix D.1 splits it: 50,000 to learn, the last 10,000 of its training set to choose, its test set.

    Raises: MissingDataError.
    """
    if folder is None or not (folder / "mnist_full.npz").exists():
        raise MissingDataError(
            "MNIST is needed: --data FOLDER with a mnist_full.npz of x_train, y_train, x_test, y_test "
            "(60,000 and 10,000 images of 28 x 28 bytes, labels from 0; http://yann.lecun.com/exdb/mnist has them)"
        )
    with numpy.load(folder / "mnist_full.npz") as arrays:
        x, y = (torch.tensor(arrays[name]) for name in ("x_train", "y_train"))
        test = Dataset(
            "mnist", torch.tensor(arrays["x_test"]).flatten(1).float(), torch.tensor(arrays["y_test"]).long()
        )
    x, y = x.flatten(1).float(), y.long()
    return Split(Dataset("mnist", x[:50_000], y[:50_000]), Dataset("mnist", x[50_000:], y[50_000:]), test)


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
