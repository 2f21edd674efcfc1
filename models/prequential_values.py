"""Prequential metrics of regression, the counterpart of `models.prequential`, for one target or several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models.blocks import part_of
from models.prequential import RECENT, Alarms


@dataclass(frozen=True)
class Sums:
    """Sums that figures of regression are made of, discounted or not; float64, means over targets.

    Args: count: samples. absolute, squared: errors. y, y_squared: of the targets, (k,). same, mean: absolute errors of the
        last value before a block, and of the mean so far. 0-dim but for y and y_squared.
    """

    count: Tensor
    absolute: Tensor
    squared: Tensor
    y: Tensor
    y_squared: Tensor
    same: Tensor
    mean: Tensor

    @classmethod
    def unknown(cls, targets: int) -> Sums:
        sizes = (), (), (), (targets,), (targets,), (), ()
        return cls(*(torch.zeros(size, dtype=torch.float64) for size in sizes))

    def plus(self, block: Sums, keep: float) -> Sums:
        return Sums(
            **{field.name: keep * getattr(self, field.name) + getattr(block, field.name) for field in fields(Sums)}
        )

    def figures(self) -> dict[str, float | None]:
        """mae, rmse, r2, and the absolute errors no_change and mean; None before anything counted."""
        count = float(self.count)
        if count == 0:
            return dict.fromkeys(("mae", "rmse", "r2", "no_change", "mean"))
        variance = float((self.y_squared / count - (self.y / count).square()).mean())
        squared = float(self.squared) / count
        return {
            "mae": float(self.absolute) / count,
            "rmse": math.sqrt(squared),
            "r2": 1 - squared / variance if variance > 0 else None,
            "no_change": float(self.same) / count,
            "mean": float(self.mean) / count,
        }


@dataclass(frozen=True)
class RegressionMetrics:
    """Args: ever, recent: sums. last: target of the last sample, (k,), NaN before any."""

    ever: Sums
    recent: Sums
    last: Tensor
    alarms: Alarms

    @classmethod
    def unknown(cls, targets: int) -> RegressionMetrics:
        return cls(
            Sums.unknown(targets), Sums.unknown(targets), torch.zeros(targets, dtype=torch.float64), Alarms.unknown()
        )

    def updated(self, predictions: Tensor, targets: Tensor, weight: Tensor) -> RegressionMetrics:
        """With one block that was predicted, then learned: both (n, k), weight (n,). Drift is that of bounded errors."""
        counted = (weight > 0).double()
        y = targets.double()
        errors = (predictions.double() - y).abs()
        before = self.ever.count.clamp_min(1)
        usual = (self.ever.absolute / before).clamp_min(torch.finfo(torch.float64).tiny)
        age = torch.arange(len(y) - 1, -1, -1, dtype=torch.float64)

        def sums(share: Tensor) -> Sums:
            return Sums(
                count=share.sum(),
                absolute=(share * errors.mean(dim=1)).sum(),
                squared=(share * errors.square().mean(dim=1)).sum(),
                y=share @ y,
                y_squared=share @ y.square(),
                same=(share * (y - self.last).abs().mean(dim=1)).sum(),
                mean=(share * (y - self.ever.y / before).abs().mean(dim=1)).sum(),
            )

        bounded = (errors.mean(dim=1) / (3 * usual)).clamp(max=1)
        known = (counted > 0) & (self.ever.count > 0)
        return RegressionMetrics(
            ever=self.ever.plus(sums(counted), 1.0),
            recent=self.recent.plus(sums(counted * torch.exp(-age / RECENT)), math.exp(-len(y) / RECENT)),
            last=y[counted > 0][-1].clone() if counted.any() else self.last,
            alarms=self.alarms.updated(bounded, known, self.ever.count.long()),
        )

    def tensors(self) -> dict[str, Tensor]:
        parts = {"ever": vars(self.ever), "recent": vars(self.recent), "drift": self.alarms.tensors()}
        named = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        return named | {"last": self.last}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> RegressionMetrics:
        return cls(
            Sums(**part_of(tensors, "ever.")),
            Sums(**part_of(tensors, "recent.")),
            tensors["last"],
            Alarms.from_tensors(part_of(tensors, "drift.")),
        )
