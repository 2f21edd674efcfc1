"""Post-processing: the output layer fitted anew to the activations that the hidden layers have ended with."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from models.block_learner import BlockLearner
from models.blocks import all_finite, checked_block
from models.errors import ArgumentError


def refit_top(
    learner: BlockLearner,
    inputs: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    *,
    ridge: float = 1e-4,
    iterations: int = 100,
) -> Tensor:
    """W^{L+1} ← argmin over W of the mean of w·L(y, a^L, W) + ridge·‖W‖², by L-BFGS from the current one.

    The problem is convex for every loss that this package has. Codes that were auxiliary variables leave the top layer
    fitted to activations that the forward pass does not produce; this closes the gap.

    Args:
        inputs, targets, weight: as in `Learner.learn`: the data set.
        ridge: on all of W but the bias, ≥ 0.
        iterations: of L-BFGS, at least 1.
    Returns: the objective before and after, (2,).
    Raises: ArgumentError; ValueError as `Learner.learn`; ArithmeticError when the result is not finite, which changes nothing.
    Source: Carreira-Perpiñán & Wang 2014, section 3 ("postprocessing").
    """
    if not 0 <= ridge < math.inf:
        raise ArgumentError("ridge", "at least 0", ridge)
    if iterations < 1:
        raise ArgumentError("iterations", "at least 1", iterations)
    x, y, w = checked_block(inputs, targets, weight, learner.net, learner.device)
    layer = learner.net.layers[-1]
    rows = layer.rows(learner.predictor().top_activations(x))
    top = learner.state.weights[-1].clone().requires_grad_()

    def objective() -> Tensor:
        return (w * learner.net.loss(rows @ top.T, y)).mean() + ridge * top[:, :-1].square().sum()

    optimiser = torch.optim.LBFGS([top], max_iter=iterations, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        value = objective()
        (top.grad,) = torch.autograd.grad(value, top)
        return value.detach()

    with torch.enable_grad():
        before = objective().detach()
        if not before.isfinite():  # the search would go on without end
            raise ArithmeticError("the objective is not finite; the output layer stays as it is")
        optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        after = objective().detach()
    if not all_finite({"W": top.detach()}):
        raise ArithmeticError("the refitted output layer is not finite; the old one stays")
    learner.state = replace(learner.state, weights=(*learner.state.weights[:-1], top.detach()))
    return torch.stack([before, after])
