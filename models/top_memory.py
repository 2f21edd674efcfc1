"""Memories of the output layer: ridge regression of the targets on a^L, with several horizons side by side.

A_k = Σ q w a aᵀ and B_k = Σ q w y aᵀ forget with a horizon of their own each; V_k = B_k (A_k + λI)⁻¹. All K are kept in
stacked tensors, float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.memory import co_activations


@dataclass(frozen=True)
class TopMemories:
    """Args: A: (K, h, h); B: (K, m, h); mass: discounted number of samples, (K,); V: the solved weights, (K, m, h) float32."""

    A: Tensor
    B: Tensor
    mass: Tensor
    V: Tensor

    def updated(self, rows: Tensor, targets: Tensor, weight: Tensor, keep: Tensor, *, ridge: float) -> TopMemories:
        """With one block more.

        Args:
            rows: a^L with the appended 1, as memory k sees it, (K, n, h) float32.
            targets: (n, m). weight: (n,).
            keep: share of the past that each keeps, (K,).
            ridge: λ over the mean of diag A_k.
        """
        A = keep[:, None, None] * self.A + co_activations(rows, weight)
        B = keep[:, None, None] * self.B + (targets.T @ (rows * weight[:, None])).double()
        strength = ridge * A.diagonal(dim1=1, dim2=2).mean(dim=1) + torch.finfo(A.dtype).tiny
        identity = torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
        factor, failed = torch.linalg.cholesky_ex(A + strength[:, None, None] * identity)
        V = torch.cholesky_solve(B.transpose(1, 2), factor).transpose(1, 2)
        V = torch.where((failed == 0)[:, None, None], V, torch.nan)
        return TopMemories(A, B, keep * self.mass + len(targets), V.float())

    def scaled(self, factor: Tensor) -> TopMemories:
        """With the past counted `factor` (K,) times; V stays."""
        return TopMemories(factor[:, None, None] * self.A, factor[:, None, None] * self.B, factor * self.mass, self.V)

    def scores(self, rows: Tensor) -> Tensor:
        """V_k a of rows (K, n, h): (K, n, m)."""
        return rows @ self.V.transpose(1, 2)

    def tensors(self) -> dict[str, Tensor]:
        """One matrix each, so that every A is stored as the symmetric matrix that it is."""
        named = {"top.mass": self.mass}
        for name in ("A", "B", "V"):
            named |= {f"{name}.top{k}": matrix for k, matrix in enumerate(getattr(self, name), start=1)}
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> TopMemories:
        mass = tensors["top.mass"]
        A, B, V = (torch.stack([tensors[f"{name}.top{k}"] for k in range(1, len(mass) + 1)]) for name in "ABV")
        return cls(A, B, mass, V)


def no_top_memories(count: int, width: int, outputs: int, device: torch.device) -> TopMemories:
    """Args: width: of a^L, the appended 1 included."""
    A = torch.zeros(count, width, width, dtype=torch.float64, device=device)
    B = A.new_zeros(count, outputs, width)
    return TopMemories(A, B, A.new_zeros(count), B.float())
