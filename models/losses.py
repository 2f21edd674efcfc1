"""Losses of the output layer's linear output o = W^{L+1} a^L, per sample and without reduction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


@dataclass(frozen=True)
class Loss:
    """One loss per sample, differentiable in o.

    Args:
        name: under which a net asks for it.
        function: (o (n, m), targets) → (n,).
        link: o (n, m) → what `predict` answers.
        curvature: a bound on the eigenvalues of the Hessian in o.
        classes: targets are class indices (n,) int64; otherwise values (n, m).
        low, high: bounds of legal values.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    link: Callable[[Tensor], Tensor]
    curvature: float
    classes: bool = False
    low: float = -torch.inf
    high: float = torch.inf

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)


def multinomial(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log P(y | o), eq. 2.

    Args:
        outputs: o, (n, m).
        targets: class indices, (n,) int64.
    Returns: (n,), one loss a sample (no reduction).
    Differs from the paper: nothing.
    """
    return -torch.where(one_hot(targets, outputs.shape[1]), outputs.log_softmax(dim=1), 0).sum(dim=1)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """‖o − y‖², for regression: targets (n, m) → (n,)."""
    return (outputs - targets).square().sum(dim=1)


def binary(outputs: Tensor, targets: Tensor) -> Tensor:
    """−Σ_j log P(y_j | o_j) for m independent yes-or-no questions, P(1 | o) = 1/(1 + exp(−o)): targets (n, m) in [0, 1]."""
    return binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(dim=1)


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """y as (n, classes) bool. An index out of range is no class; torch's own one-hot would end the CUDA process there."""
    return targets.unsqueeze(1) == torch.arange(classes, device=targets.device)


def _softmax(outputs: Tensor) -> Tensor:
    return outputs.softmax(dim=1)


def _identity(outputs: Tensor) -> Tensor:
    return outputs


MULTINOMIAL = Loss("multinomial", multinomial, _softmax, curvature=0.5, classes=True)  # Böhning 1992's bound
SQUARED = Loss("squared", squared, _identity, curvature=2.0)
BINARY = Loss("binary", binary, torch.sigmoid, curvature=0.25, low=0.0, high=1.0)

LOSSES = {loss.name: loss for loss in (MULTINOMIAL, SQUARED, BINARY)}
"""By name; whoever adds one here can use it in every net."""
