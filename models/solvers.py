"""argmin over W of Tr(WᵀW A) − 2 Tr(Wᵀ B) (Algorithm 2.3, line 6), by column sweeps or by an exact ridge solve.

A column is *dead* when its A_jj is at most 1e-6 of the largest: nothing is known about it, and it keeps its weights.
All of it runs without synchronising with the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DEAD = 1e-6

Solver = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(W, A, B) → W, with W (n_out, n_in), A (n_in, n_in), B (n_out, n_in); W's dtype is kept, the work is in A's."""


def dead_columns(A: Tensor) -> Tensor:
    """Which columns A knows nothing about: (n_in,) bool."""
    diagonal = A.diagonal()
    return diagonal <= DEAD * diagonal.max()


def sweep_columns(W: Tensor, A: Tensor, B: Tensor, *, sweeps: int) -> Tensor:
    """Block-coordinate descent over the columns, left to right: W_j ← (B_j − Σ_{k≠j} W_k A_kj) / A_jj.

    One sweep over all columns is Gauss–Seidel, W ← (B − W·tril(A, −1))·triu(A)⁻¹, or W ← W + (B − W·A)·triu(A)⁻¹: one
    product and one triangular solve.

    Args:
        sweeps: passes over all columns, at least 1.
    Source: section 2, "Co-Activation Memory"; Mairal et al. 2009, Algorithm 2.
    Differs from the paper: dead columns.
    """
    dead = dead_columns(A)
    upper = torch.where(dead, _identity_like(A), A)  # below its diagonal the solve does not look
    solved = W.to(A.dtype)
    for _ in range(sweeps):
        residual = torch.where(dead, 0, B - solved @ A)
        solved = solved + torch.linalg.solve_triangular(upper, residual, upper=True, left=False)
    return solved.to(W.dtype)


def sweep_columns_sparsely(W: Tensor, A: Tensor, B: Tensor, *, sweeps: int, lambda_w: float) -> Tensor:
    """`sweep_columns` for the objective plus λ_w·‖W‖₁: each column goes to its minimum by a proximal step.

    W_j ← soft(B_j − Σ_{k≠j} W_k A_kj, λ_w/2) / A_jj. The threshold breaks the product form, so this loops over columns.
    The bias's column is not shrunk.

    Source: the paper's footnote 2; Mairal et al. 2009, section 3.3, with the ℓ1 norm in the place of their projection.
    """
    live = ~dead_columns(A)
    diagonal = torch.where(live, A.diagonal(), 1)
    solved = W.to(A.dtype).clone()
    for _ in range(sweeps):
        for j in range(A.shape[0]):
            free = B[:, j] - solved @ A[:, j] + solved[:, j] * A[j, j]
            if j < A.shape[0] - 1:
                free = soft_threshold(free, lambda_w / 2)
            solved[:, j] = torch.where(live[j], free / diagonal[j], solved[:, j])
    return solved.to(W.dtype)


def soft_threshold(values: Tensor, threshold: Tensor | float) -> Tensor:
    """argmin over v of ½(v − values)² + threshold·|v|: the proximal step of the ℓ1 norm."""
    return values.sign() * (values.abs() - threshold).clamp_min(0)


def shrunk(W: Tensor, threshold: Tensor | float) -> Tensor:
    """The proximal step of the ℓ1 norm on weights; the bias's column stays."""
    return torch.cat([soft_threshold(W[:, :-1], threshold), W[:, -1:]], dim=1)


def solve_ridge(W: Tensor, A: Tensor, B: Tensor, *, ridge: float) -> Tensor:
    """The exact minimiser with a ridge towards zero: W (A + λI) = B, λ = ridge · mean(diag A).

    Differs from the paper: exact instead of iterated, the ridge, dead columns.
    """
    return _solve_exactly(W, A, B, torch.zeros_like(B), ridge)


def solve_proximal_ridge(W: Tensor, A: Tensor, B: Tensor, *, ridge: float) -> Tensor:
    """The exact minimiser with a ridge towards the current weights: W′ (A + λI) = B + λW, λ as in `solve_ridge`."""
    return _solve_exactly(W, A, B, W.to(A.dtype), ridge)


def _solve_exactly(W: Tensor, A: Tensor, B: Tensor, towards: Tensor, ridge: float) -> Tensor:
    """Solves for the change of the live columns; all NaN, so that `learn` discards it, if A + λI is indefinite."""
    dead = dead_columns(A)
    identity = _identity_like(A)
    strength = ridge * A.diagonal().mean()
    current = W.to(A.dtype)
    residual = torch.where(dead, 0, B - current @ A + strength * (towards - current))
    regularised = torch.where(dead | dead.unsqueeze(1), identity, A + strength * identity)
    factor, failed = torch.linalg.cholesky_ex(regularised)
    change = torch.cholesky_solve(residual.T, factor).T
    return torch.where(failed == 0, current + change, torch.nan).to(W.dtype)


def _identity_like(A: Tensor) -> Tensor:
    return torch.eye(A.shape[0], dtype=A.dtype, device=A.device)
