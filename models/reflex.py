"""The paper's own update of the output layer, a gradient step: beside memories, what reacts at once and remembers nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.top_memory import BOUND

DAMPING = 0.1
"""Of a step, over the mean square of rows: at 0 the residuals that it is made of would vanish."""
STEPS = 16
"""At most so many a block: single samples where there are no more, else parts of a block, one after the other."""


@dataclass(frozen=True)
class Reflex:
    """V ← V + 2 Σ w (y − p) rᵀ (Σ w r rᵀ + λI)⁻¹, the sums over a sample or a few; without the 2 for squared loss.

    What came last counts most, so a block is taken in in order, part by part.

    Args: V: (m, h) float32.
    Source: Algorithm 2.3, line 1; Nagumo & Noda 1967 (normalised steps), for blocks and, by the bound, for the multinomial
        loss.
    """

    V: Tensor

    def updated(self, rows: Tensor, targets: Tensor, weight: Tensor, size: Tensor, *, classes: bool) -> Reflex:
        """With one block more.

        Args:
            rows: (n, h). targets: (n, m). weight: (n,).
            size: mean of ‖r‖² over the stream, 0-dim.
            classes: multinomial loss, or squared.
        """
        V, few = self.V, -(-len(rows) // STEPS)
        damping = DAMPING * size.float() + torch.finfo(torch.float32).tiny
        for r, y, w in zip(*(torch.split(tensor, few) for tensor in (rows, targets, weight)), strict=True):
            outputs, roots = r @ V.T, w.sqrt().unsqueeze(1)
            wanted = (y - (outputs.softmax(dim=1) if classes else outputs)) * roots
            V = V + (BOUND if classes else 1.0) * _step(r * roots, wanted, damping)
        return Reflex(V)


def _step(rows: Tensor, wanted: Tensor, damping: Tensor) -> Tensor:
    """Mᵀ R (Rᵀ R + λI)⁻¹ of rows R (n, h) and M (n, m), by the smaller one of the two Gram matrices."""
    if len(rows) <= rows.shape[1]:
        return _solved(rows @ rows.T, damping, wanted).T @ rows
    return _solved(rows.T @ rows, damping, rows.T @ wanted).T


def _solved(gram: Tensor, damping: Tensor, wanted: Tensor) -> Tensor:
    """(G + λI)⁻¹ M; all NaN, so that `learn` discards the block, where that is not positive definite."""
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(gram + damping * identity)
    return torch.where(failed > 0, torch.nan, torch.cholesky_solve(wanted, factor))
