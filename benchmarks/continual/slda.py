"""Streaming linear discriminant analysis: a mean per class and one covariance for all."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.continual.features import FrozenFeatures


class SLDA:
    """Classes are Gaussians with one covariance; the class with the highest likelihood is predicted.

    Args:
        features: of the input, frozen.
        classes: how many; those without a sample are never predicted.
        shrinkage: s in (1 − s)Σ + s·(tr Σ/p)·I, in [0, 1].
    Source: Hayes & Kanan 2020, "Lifelong machine learning with deep streaming linear discriminant analysis", eqs. 1–4.
    Differs: Σ is about the present means, exactly, and so independent of the order; their update is about those that the
        classes had when a sample came. Shrinkage is relative to the mean variance, and inputs or random features take the
        place of a pretrained network's.
    """

    def __init__(self, features: FrozenFeatures, classes: int, shrinkage: float) -> None:
        self.features = features
        self.shrinkage = shrinkage
        self.classes = classes
        self.count = torch.zeros(classes, dtype=torch.float64)
        self.sums: Tensor | None = None
        self.moment: Tensor | None = None
        self._scores: tuple[Tensor, Tensor] | None = None

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        phi = self.features(inputs).double()
        one_hot = torch.nn.functional.one_hot(targets, self.classes).double()
        sums, moment = one_hot.T @ phi, phi.T @ phi
        self.sums = sums if self.sums is None else self.sums + sums
        self.moment = moment if self.moment is None else self.moment + moment
        self.count = self.count + one_hot.sum(dim=0)
        self._scores = None

    def covariance(self) -> Tensor:
        """Within classes, shrunk, (p, p) float64. Call it after a block."""
        assert self.moment is not None
        assert self.sums is not None
        means = self.sums / self.count.clamp_min(1).unsqueeze(1)
        within = (self.moment - self.sums.T @ means) / self.count.sum()
        within = (within + within.T) / 2
        ridge = self.shrinkage * within.diagonal().mean()
        return (1 - self.shrinkage) * within + ridge * torch.eye(len(within), dtype=torch.float64)

    def predict(self, inputs: Tensor) -> Tensor:
        if self.sums is None:
            return torch.zeros(len(inputs), self.classes)
        if self._scores is None:
            means = self.sums / self.count.clamp_min(1).unsqueeze(1)
            W = torch.cholesky_solve(means.T, torch.linalg.cholesky(self.covariance())).T
            bias = torch.where(self.count > 0, -(W * means).sum(dim=1) / 2, -torch.inf)
            self._scores = W.float(), bias.float()
        W, bias = self._scores
        return self.features(inputs) @ W.T + bias

    def state_dict(self) -> dict[str, Tensor]:
        assert self.moment is not None
        assert self.sums is not None
        return self.features.state_dict() | {"count": self.count, "sums": self.sums, "moment": self.moment}
