"""Algorithm 2.2, updateCodes: propagates the error down the net by changing codes, one local problem a layer.

A problem reads the weights of two layers and the codes of three, so that is how far any of its gradients reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.layers import Layer
from models.network import Net, Sigma
from models.solvers import soft_threshold


@dataclass(frozen=True)
class CodeDescent:
    """How a problem is solved: by gradient steps with momentum from the forward codes.

    Args:
        objective: `paper`: eqs. 4 and 5, sums over units, per sample. `published`: what the paper's authors' code
            minimises, L/μ averaged over the block + each squared norm averaged over block and units.
        iterations: steps a problem; 0 leaves the codes as they are.
        step: their size; None for 1/Lipschitz.
        momentum: in [0, 1). nesterov: of that kind instead of the heavy ball.
        lambda_c: weight of ‖c‖₁, by a proximal step after each gradient step (the paper's footnote 2).
    """

    objective: Literal["paper", "published"] = "paper"
    iterations: int = 5
    step: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    lambda_c: float = 0.0

    def descend(
        self,
        start: Tensor,
        objective: Callable[[Tensor], Tensor],
        curvature: Tensor | float,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Args: objective: codes → per-sample values, (n, …) → (n,); curvature: a bound on its Hessian, for the step;
        weight: see `gradient_of`.
        """
        step = 1 / curvature if self.step is None else self.step
        codes, velocity = start, torch.zeros_like(start)
        for _ in range(self.iterations):
            gradient = gradient_of(objective, codes, weight)
            velocity = self.momentum * velocity + gradient
            codes = codes - step * (gradient + self.momentum * velocity if self.nesterov else velocity)
            if self.lambda_c > 0:
                codes = soft_threshold(codes, step * self.lambda_c)
        return codes


def update_codes(
    codes: Sequence[Tensor],
    inputs: Tensor,
    targets: Tensor,
    weights: Sequence[Tensor],
    net: Net,
    sigmas: Sequence[Sigma],
    descent: CodeDescent,
    *,
    mu: Tensor | float,
    weight: Tensor | None = None,
) -> list[Tensor]:
    """Solves (4) for c^L, then (5) for c^{L−1} … c^1, each from the forward codes.

    Under the `paper`'s objective every sample has its own problems, whatever block it came in.

    Args:
        codes: c^1 … c^L from `encode_input`, (n, …) each; they are the anchors W^l σ(c^{l−1}) of both problems, because
            c^{l−1} is not yet updated when c^l is.
        inputs: x, scaled, (n, N).
        targets: of the net's loss.
        weights: W^1 … W^{L+1}.
        sigmas: σ_1 … σ_L.
        mu: μ of eq. 3; cancels in (5).
        weight: (n,), of the samples' problems where they are coupled (see `gradient_of`); None where they are not.
    Returns: the updated c^1 … c^L.
    Source: Algorithm 2.2, eqs. 4 and 5.
    Differs from the paper: nothing, it leaves the solver open. The codes of a recurrent layer's steps descend together.
    """
    updated = list(codes)
    for depth in range(len(codes) - 1, -1, -1):
        top = depth == len(codes) - 1
        layer, above = net.layers[depth : depth + 2]
        W, W_above = weights[depth : depth + 2]
        below = inputs if depth == 0 else sigmas[depth - 1](codes[depth - 1])
        fit, stay = _shares(codes, depth, net, descent, mu)
        problem = Problem(layer, W, below, codes[depth], above, W_above, sigmas[depth], fit=fit, stay=stay)
        if top:
            objective, fit_curvature = problem.to_targets(targets, net), net.loss.curvature
        else:
            objective, fit_curvature = problem.to_code(updated[depth + 1]), 2.0
        curvature = fit * fit_curvature * layer.activation.slope**2 * above.stretch(W_above)
        curvature = curvature + 2 * stay * layer.self_stretch(W)
        updated[depth] = descent.descend(codes[depth], objective, curvature, weight)
    return updated


@dataclass(frozen=True)
class Problem:
    """The terms of eq. 3 that the codes of one layer take part in, the rest of the net held fixed.

    Args: fit, stay: factors of the term above the codes and of their distance from W·a^{l−1}.
    """

    layer: Layer
    W: Tensor
    below: Tensor
    forward: Tensor
    above: Layer
    W_above: Tensor
    sigma: Sigma
    fit: Tensor | float
    stay: Tensor | float

    def to_targets(self, targets: Tensor, net: Net) -> Callable[[Tensor], Tensor]:
        """L(y, σ(c), W^{L+1}) + μ‖c − W^L σ(c^{L−1})‖², eq. 4, per sample."""
        return lambda codes: (
            self.fit * net.loss(self.above.encode(self.W_above, self.sigma(codes)), targets) + self._distance(codes)
        )

    def to_code(self, code_above: Tensor) -> Callable[[Tensor], Tensor]:
        """‖c^{l+1} − W^{l+1} σ(c)‖² + ‖c − W^l σ(c^{l−1})‖², eq. 5 over μ, per sample."""
        return lambda codes: (
            self.fit * squared_norm(code_above - self.above.encode(self.W_above, self.sigma(codes)))
            + self._distance(codes)
        )

    def _distance(self, codes: Tensor) -> Tensor:
        return self.stay * squared_norm(codes - self.layer.anchor(self.W, self.below, codes, self.forward))


def _shares(
    codes: Sequence[Tensor], depth: int, net: Net, descent: CodeDescent, mu: Tensor | float
) -> tuple[Tensor | float, Tensor | float]:
    """Factors of (what lies above, the distance from below)."""
    top = depth == len(codes) - 1
    if descent.objective == "paper":
        return (1.0, mu) if top else (1.0, 1.0)
    return (1 / (mu * len(codes[0])) if top else 1 / codes[depth + 1].numel(), 1 / codes[depth].numel())


def gradient_of(objective: Callable[[Tensor], Tensor], at: Tensor, weight: Tensor | None = None) -> Tensor:
    """Of the sum of per-sample values; nothing outside `objective` is differentiated.

    Args: weight: (n,). Where a sample's value depends on other samples' codes, it pulls at these by the ratio of the two
        weights: the gradient of the weighted sum, over the sample's own weight; 0 for a sample of weight 0.
    """
    with torch.enable_grad():
        variable = at.detach().requires_grad_()
        values = objective(variable)
        (gradient,) = torch.autograd.grad((values if weight is None else values * weight).sum(), variable)
    if weight is None:
        return gradient
    own = weight.view(-1, *[1] * (at.ndim - 1))
    return torch.where(own > 0, gradient / own.clamp_min(torch.finfo(own.dtype).tiny), 0)


def squared_norm(codes: Tensor) -> Tensor:
    """Per sample: (n, …) → (n,)."""
    return codes.flatten(1).square().sum(dim=1)
