"""The multinomial loss of eq. 2, per sample, as a function of the output layer's linear output o = W^{L+1} a^L."""

from __future__ import annotations

import torch
from torch import Tensor

CURVATURE = 0.5
"""Largest eigenvalue that the Hessian of the multinomial loss in o can have (Böhning's bound)."""


def multinomial(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log P(y | o), eq. 2.

    Args:
        outputs: o, (n, m).
        targets: class indices, (n,) int64.
    Returns: (n,), one loss a sample (no reduction).
    Differs from the paper: nothing.
    """
    return -torch.where(one_hot(targets, outputs), outputs.log_softmax(dim=1), 0).sum(dim=1)


def multinomial_gradient(outputs: Tensor, targets: Tensor) -> Tensor:
    """∂(−log P(y | o))/∂o = softmax(o) − one-hot(y), per sample: (n, m)."""
    return outputs.softmax(dim=1) - one_hot(targets, outputs).to(outputs.dtype)


def one_hot(targets: Tensor, outputs: Tensor) -> Tensor:
    """y as (n, m) bool. An index out of range is no class; torch's own one-hot would end the CUDA process there."""
    return targets.unsqueeze(1) == torch.arange(outputs.shape[1], device=outputs.device)
