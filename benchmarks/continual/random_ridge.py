"""Ridge regression of the classes on frozen random features, which forgets nothing: its memories are sums."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.continual.features import FrozenFeatures
from models.layers import append_one


class RandomRidge:
    """W = B(A + λI)⁻¹ with A = Σ φφᵀ and B = Σ yφᵀ, φ the features with an appended 1, y one-hot.

    Args:
        features: frozen.
        classes: how many.
        ridge: λ over the mean of diag A, > 0.
    Source: Prabhu et al. 2024, "RanDumb", with ridge regression for their LDA and ReLU for their Fourier features.
    Differs: the above.
    """

    def __init__(self, features: FrozenFeatures, classes: int, ridge: float) -> None:
        self.features = features
        self.classes = classes
        self.ridge = ridge
        self.A: Tensor | None = None
        self.B: Tensor | None = None
        self._W: Tensor | None = None

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        phi = append_one(self.features(inputs)).double()
        A = phi.T @ phi
        B = torch.nn.functional.one_hot(targets, self.classes).double().T @ phi
        self.A = A if self.A is None else self.A + A
        self.B = B if self.B is None else self.B + B
        self._W = None

    def predict(self, inputs: Tensor) -> Tensor:
        if self.A is None or self.B is None:
            return torch.zeros(len(inputs), self.classes)
        if self._W is None:
            ridge = self.ridge * self.A.diagonal().mean() * torch.eye(len(self.A), dtype=torch.float64)
            self._W = torch.cholesky_solve(self.B.T, torch.linalg.cholesky(self.A + ridge)).T.float()
        return append_one(self.features(inputs)) @ self._W.T

    def state_dict(self) -> dict[str, Tensor]:
        assert self.A is not None
        assert self.B is not None
        return self.features.state_dict() | {"A": self.A, "B": self.B}
