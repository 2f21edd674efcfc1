"""Algorithm 2.2, updateCodes: propagates the error down the net by changing codes, one local problem a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models import losses
from models.activations import Activation
from models.network import append_one

POWER_ITERATIONS = 16


def update_codes(
    codes: Sequence[Tensor],
    targets: Tensor,
    weights: Sequence[Tensor],
    sigma: Activation,
    *,
    mu: Tensor | float,
    iterations: int,
    momentum: float,
) -> list[Tensor]:
    """Solves (4) for c^L, then (5) for c^{L−1} … c^1, each from the forward codes by gradient steps of 1/Lipschitz.

    Every sample has its own objective, so the result for one sample does not depend on the block it came in.

    Args:
        codes: c^1 … c^L from `encode_input`, (n, n_l) each; they are the anchors W^l σ(c^{l−1}) of both problems,
            because c^{l−1} is not yet updated when c^l is.
        targets: class indices, (n,) int64.
        weights: W^1 … W^{L+1}.
        mu: μ of eq. 3; cancels in (5).
        iterations: gradient steps a problem; 0 leaves the codes as they are.
        momentum: of the heavy ball, in [0, 1).
    Returns: the updated c^1 … c^L.
    Source: Algorithm 2.2, eqs. 4 and 5.
    Differs from the paper: nothing; it leaves the solver and its step open.
    """
    updated = list(codes)
    top = len(codes) - 1

    def top_gradient(code: Tensor) -> Tensor:
        return top_code_gradient(code, codes[top], targets, weights[top + 1], sigma, mu)

    curvature = losses.CURVATURE * squared_spectral_norm(weights[top + 1][:, :-1]) + 2 * mu
    updated[top] = _descend(codes[top], top_gradient, 1 / curvature, iterations, momentum)

    for layer in range(top - 1, -1, -1):

        def gradient(code: Tensor, layer: int = layer) -> Tensor:
            return hidden_code_gradient(code, codes[layer], updated[layer + 1], weights[layer + 1], sigma)

        curvature = 2 * squared_spectral_norm(weights[layer + 1][:, :-1]) + 2
        updated[layer] = _descend(codes[layer], gradient, 1 / curvature, iterations, momentum)
    return updated


def top_code_gradient(
    code: Tensor, anchor: Tensor, targets: Tensor, top_weights: Tensor, sigma: Activation, mu: Tensor | float
) -> Tensor:
    """∂/∂c of L(y, σ(c), W^{L+1}) + μ‖c − anchor‖² (eq. 4), per sample: (n, n_L)."""
    output_gradient = losses.multinomial_gradient(append_one(sigma(code)) @ top_weights.T, targets)  # (n, m)
    return (output_gradient @ top_weights[:, :-1]) * sigma.derivative(code) + 2 * mu * (code - anchor)


def hidden_code_gradient(
    code: Tensor, anchor: Tensor, code_above: Tensor, weights_above: Tensor, sigma: Activation
) -> Tensor:
    """∂/∂c of ‖c^{l+1} − W^{l+1} σ(c)‖² + ‖c − anchor‖² (eq. 5 over μ), per sample: (n, n_l)."""
    residual = append_one(sigma(code)) @ weights_above.T - code_above  # (n, n_{l+1})
    return 2 * (residual @ weights_above[:, :-1]) * sigma.derivative(code) + 2 * (code - anchor)


def _descend(
    start: Tensor, gradient: Callable[[Tensor], Tensor], step: Tensor, iterations: int, momentum: float
) -> Tensor:
    code, velocity = start, torch.zeros_like(start)
    for _ in range(iterations):
        velocity = momentum * velocity - step * gradient(code)
        code = code + velocity
    return code


def squared_spectral_norm(matrix: Tensor) -> Tensor:
    """‖M‖₂² from below, by power iteration: no synchronisation with the device, no SVD, deterministic.

    It starts at the longest row of the smaller Gram matrix and, because that can be orthogonal to the vector sought, at
    one in general position too. An estimate that is too small lengthens a step of 1/Lipschitz, and the heavy ball is
    stable up to steps of 2(1 + momentum)/Lipschitz.
    """
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    tiny = torch.finfo(gram.dtype).tiny
    longest = gram[gram.diagonal().argmax().unsqueeze(0)].squeeze(0)
    general = gram @ torch.arange(1, gram.shape[0] + 1, dtype=gram.dtype, device=gram.device).sin()
    vectors = torch.stack([longest, general], dim=1)
    for _ in range(POWER_ITERATIONS):
        vectors = gram @ (vectors / torch.linalg.vector_norm(vectors, dim=0).clamp_min(tiny))
    return torch.amax(torch.linalg.vector_norm(vectors, dim=0))
