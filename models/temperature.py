"""Probabilities from scores of squared loss: P(y | x) = softmax(β·o), β fitted to the stream's own predictions.

A ridge regression of one-hot targets answers with scores near 0 and 1, which are no probabilities: their softmax is nearly
even. β is the inverse temperature that makes the labels that then came likeliest, by Newton steps on the discounted log
loss of predictions made before learning. Source: Guo et al. 2017 (temperature scaling), made online.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

START = 5.0
LEAST, MOST = 0.5, 100.0


def updated_temperature(beta: Tensor, scores: Tensor, target: Tensor, weight: Tensor, *, tau: float) -> Tensor:
    """β after a block, 0-dim.

    Args:
        beta: before, 0-dim. scores: o, (n, m), of predictions made before the block was learned.
        target: one-hot, (n, m). weight: (n,).
        tau: samples over which β moves by about a Newton step.
    """
    expected = (beta * scores).softmax(dim=1)
    mean = (expected * scores).sum(dim=1)
    slope = (weight * (mean - (scores * target).sum(dim=1))).sum()
    curvature = (weight * (expected * (scores - mean.unsqueeze(1)).square()).sum(dim=1)).sum()
    known = curvature > 0
    step = torch.where(known, slope / torch.where(known, curvature, 1), 0)
    share = 1 - math.exp(-len(weight) / tau)
    return (beta - share * step.clamp(-beta / 2, beta)).clamp(LEAST, MOST)
