"""Memories of the output layer: regressions of the targets on what lies below it, with several horizons side by side.

Each keeps A = Σ q w r rᵀ and B = Σ q w y rᵀ over rows r, the share q forgetting with a horizon of its own, and the weights
V = B (A + λI)⁻¹ that follow from them. For the multinomial loss there is no B: V takes the steps of the quadratic bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from models.layers import append_one
from models.memory import co_activations, ridge_of

BOUND = 2.0
"""The multinomial loss bends by at most half of r rᵀ, so that a step may be twice the inverse (Böhning 1992)."""
LOW_RANK = 8
"""A block of fewer samples than a row has numbers over this is taken in by a low-rank update, where that is allowed."""


@dataclass(frozen=True)
class View:
    """What one memory sees of the top layer's input, and how long it remembers it.

    Args:
        horizon: in samples, +inf for never forgetting.
        activations: it sees the first so many of a^L.
        inputs: and so many of z, the scaled input: all or none.
        averaged: whether a^L is that of the averaged hidden weights.
    """

    horizon: float
    activations: int
    inputs: int
    averaged: bool

    @property
    def width(self) -> int:
        return self.activations + self.inputs + 1

    def rows(self, activations: Tensor, inputs: Tensor) -> Tensor:
        """a^L (n, H) and z (n, N) → (n, width), the appended 1 last."""
        seen = activations[:, : self.activations]
        return append_one(torch.cat([seen, inputs], dim=1) if self.inputs else seen)

    def placed(self, V: Tensor, activations: int, inputs: int) -> Tensor:
        """V (m, width) for rows of so many activations and inputs, with zeros for what this memory does not see."""
        bias_and_inputs = functional.pad(V[:, self.activations :], (inputs - self.inputs, 0))
        return torch.cat(
            [functional.pad(V[:, : self.activations], (0, activations - self.activations)), bias_and_inputs], dim=1
        )


@dataclass(frozen=True)
class TopMemory:
    """One memory's state; h is the width of its rows.

    Args:
        A: (h, h). B: (m, h), None for the multinomial loss; float64.
        mass: discounted number of samples, 0-dim. ridge: λ, 0-dim; float64.
        V: (m, h) float32.
        P: (A + λI)⁻¹, (h, h) float64, where blocks may be taken in by low-rank updates; else None.
    """

    A: Tensor
    mass: Tensor
    ridge: Tensor
    V: Tensor
    B: Tensor | None = None
    P: Tensor | None = None

    def updated(
        self, rows: Tensor, targets: Tensor, weight: Tensor, keep: Tensor, *, ridge: float, renew: bool
    ) -> TopMemory:
        """With one block more.

        Args:
            rows: (n, h) float32. targets: (n, m). weight: (n,).
            keep: share that it keeps of what came before the block and before all but the first of its samples, (n + 1,).
            ridge: λ in samples: that of so many average ones, which count less the more there are.
            renew: whether λ is taken anew from A; else it fades with the past, so that A + λI moves by the block's rank
                alone. Which of the two ways then leads to (A + λI)⁻¹ is a matter of speed, not of the result.
        """
        keep, shares = keep[0], keep[1:]
        weight = weight * shares.to(weight.dtype)
        A = keep * self.A + co_activations(rows, weight)
        mass = keep * self.mass + shares.sum()
        strength = ridge_of(A, ridge) / mass.clamp_min(1) if renew else keep * self.ridge
        weighted = rows * weight.unsqueeze(1)
        B = None if self.B is None else keep * self.B + (targets.T @ weighted).double()
        low_rank = self.P is not None and not renew and len(rows) * LOW_RANK < len(A)
        P: Tensor | None = None
        if low_rank and self.P is not None:
            P = _with_rows(self.P / keep, rows.double(), weight.double())
            solved = partial(_times, P)
        else:
            factor, failed = _factor(A, strength)
            solved = partial(_solved, factor, failed)
            if self.P is not None:
                P = torch.where(failed, torch.nan, torch.cholesky_inverse(factor))
        if B is not None:
            V = solved(B)
        else:
            residuals = targets - (rows @ self.V.T).softmax(dim=1)
            V = self.V + solved(BOUND * (residuals.T @ weighted).double())
        return TopMemory(A, mass, strength, V.float(), B, P)

    def scaled(self, factor: Tensor) -> TopMemory:
        """With the past counted `factor` times, the ridge's share of it too; V stays."""
        return replace(
            self,
            A=factor * self.A,
            mass=factor * self.mass,
            ridge=factor * self.ridge,
            B=None if self.B is None else factor * self.B,
            P=None if self.P is None else self.P / factor,
        )

    def tensors(self, number: int) -> dict[str, Tensor]:
        return {f"{name}.top{number}": tensor for name, tensor in vars(self).items() if tensor is not None}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], number: int) -> TopMemory:
        return cls(**{field.name: tensors.get(f"{field.name}.top{number}") for field in fields(cls)})  # type: ignore[arg-type]


def no_top_memory(width: int, outputs: int, device: torch.device, *, multinomial: bool, low_rank: bool) -> TopMemory:
    """Args: width: of its rows, the appended 1 included."""
    A = torch.zeros(width, width, dtype=torch.float64, device=device)
    V = torch.zeros(outputs, width, device=device)
    B = None if multinomial else V.double()
    return TopMemory(A, A.new_zeros(()), A.new_zeros(()), V, B, torch.zeros_like(A) if low_rank else None)


def _factor(A: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """The Cholesky factor of A + λI, and whether there is none."""
    factor, failed = torch.linalg.cholesky_ex(A + ridge * torch.eye(len(A), dtype=A.dtype, device=A.device))
    return factor, failed > 0


def _solved(factor: Tensor, failed: Tensor, B: Tensor) -> Tensor:
    """B (A + λI)⁻¹; all NaN, so that `learn` discards the block, where that is not positive definite."""
    return torch.where(failed, torch.nan, torch.cholesky_solve(B.T, factor).T)


def _times(P: Tensor, B: Tensor) -> Tensor:
    return B @ P


def _with_rows(P: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """(P⁻¹ + Σ w r rᵀ)⁻¹ of rows (n, h), by Woodbury's identity; exactly symmetric."""
    roots = rows * weight.sqrt().unsqueeze(1)
    seen = roots @ P  # (n, h)
    gram = seen @ roots.T + torch.eye(len(rows), dtype=P.dtype, device=P.device)
    factor, _ = torch.linalg.cholesky_ex((gram + gram.T) / 2)
    change = torch.linalg.solve_triangular(factor, seen, upper=False)
    P = P - change.T @ change
    return (P + P.T) / 2
