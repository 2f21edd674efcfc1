"""How several memories are combined: by a small regression on what they say, and by their lately observed error rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 0.01
"""Over the mean of diag A, towards equal shares."""


@dataclass(frozen=True)
class Stack:
    """A regression of the targets on K candidates' scores, one coefficient a candidate, forgetting with a horizon: fold state.

    Args: A: Σ q w s sᵀ over samples and outputs, (K, K). B: Σ q w s y, (K,); float64.
    Source: Wolpert 1992; Breiman 1996, with prequential scores for those of cross-validation.
    """

    A: Tensor
    B: Tensor

    @classmethod
    def unknown(cls, candidates: int, device: torch.device) -> Stack:
        A = torch.zeros(candidates, candidates, dtype=torch.float64, device=device)
        return cls(A, A.new_zeros(candidates))

    def updated(self, scores: Tensor, targets: Tensor, weight: Tensor, *, tau: float) -> Stack:
        """With one block more of predictions made before it was learned: scores (K, n, m), targets (n, m), weight (n,)."""
        s = torch.where(weight.unsqueeze(1) > 0, scores, 0).double()
        weighted = s * weight.unsqueeze(1)
        keep = math.exp(-len(weight) / tau)
        A = torch.tensordot(weighted, s, dims=([1, 2], [1, 2]))
        return Stack(keep * self.A + (A + A.T) / 2, keep * self.B + (weighted * targets).sum(dim=(1, 2)))

    def shares(self) -> Tensor:
        """The coefficients, (K,) float32; equal ones before anything was seen."""
        candidates = len(self.B)
        strength = RIDGE * self.A.diagonal().mean() + torch.finfo(self.A.dtype).tiny
        identity = torch.eye(candidates, dtype=self.A.dtype, device=self.A.device)
        factor, failed = torch.linalg.cholesky_ex(self.A + strength * identity)
        solved = torch.cholesky_solve((self.B + strength / candidates).unsqueeze(1), factor).squeeze(1)
        return torch.where(failed == 0, solved, 1 / candidates).float()

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))
