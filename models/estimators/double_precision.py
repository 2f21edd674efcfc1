"""Predictions in float64: a row's does not depend on its batch beyond that precision, as both libraries demand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from models.predictor import Predictor


@torch.no_grad()
def predictions(predictor: Predictor, inputs: Tensor) -> Tensor:
    """What `predictor(inputs)` answers in float32, (n, m) float64 on the CPU; the weights and inputs are the same.

    Args:
        inputs: x as posted, (n, N), NaN for a missing value.
    """
    weights = tuple(W.double() for W in predictor.weights)
    scaled = predictor.scaling(inputs.to(weights[0].device)).double()
    return predictor.net.loss.link(replace(predictor, weights=weights).codes(scaled)[-1]).cpu()
