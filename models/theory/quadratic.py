"""Means of quadratics, for which every constant of the theorems is known: an oracle to hold them against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.errors import ArgumentError
from models.theory.rates import Assumptions


@dataclass(frozen=True, eq=False)
class MeanQuadratic:
    """f(θ) = mean over samples s of f_s(θ) = ½ θᵀH_sθ − b_sᵀθ, θ = (θ_1 … θ_K).

    Args:
        hessians: H_s, (S, D, D), each symmetric; their mean H is positive definite.
        linears: b_s, (S, D).
        sizes: n_1 … n_K, which sum to D.
    Raises: ArgumentError.
    Source: none; an instance of section 3's setting, whose population is the S samples.
    """

    hessians: Tensor
    linears: Tensor
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        D = self.linears.shape[-1]
        if self.linears.dim() != 2 or self.linears.shape[0] == 0:
            raise ArgumentError("linears", "(S, D)", tuple(self.linears.shape))
        if self.hessians.shape != (*self.linears.shape, D):
            raise ArgumentError("hessians", f"{(*self.linears.shape, D)}", tuple(self.hessians.shape))
        if not self.sizes or min(self.sizes) < 1 or sum(self.sizes) != D:
            raise ArgumentError("sizes", f"positive numbers that sum to {D}", self.sizes)
        smallest = torch.linalg.eigvalsh(self.hessian)[0].item()
        if not smallest > 0:
            raise ArgumentError("hessians", "positive definite in the mean", f"smallest eigenvalue {smallest:.3g}")

    @classmethod
    def regression(cls, features: Tensor, targets: Tensor, sizes: tuple[int, ...]) -> MeanQuadratic:
        """Least squares, f_s = ½(x_sᵀθ − y_s)² less a constant, of features x (S, D) and targets y (S,)."""
        return cls(features.unsqueeze(2) * features.unsqueeze(1), features * targets.unsqueeze(1), sizes)

    @cached_property
    def hessian(self) -> Tensor:
        """H, (D, D)."""
        return self.hessians.mean(0)

    @cached_property
    def optimum(self) -> tuple[Tensor, ...]:
        """θ_1* … θ_K*, (n_d,) each."""
        return tuple(_split(torch.linalg.solve(self.hessian, self.linears.mean(0)), self.sizes))

    def gradient(self, d: int, thetas: Sequence[Tensor], sample: Tensor) -> Tensor:
        """∇_d f_s at θ, (R, n_d), of thetas (R, n_d) each and samples s (R,) int64; d from 0."""
        rows = self._rows(d)
        theta = torch.cat(list(thetas), dim=1).unsqueeze(2)  # (R, D, 1)
        return (self.hessians[sample, rows] @ theta).squeeze(2) - self.linears[sample, rows]

    def assumptions(self) -> Assumptions:
        """λ_d and μ_d: smallest and largest eigenvalue of H_dd; γ_d = max_{i≠d} ‖H_di‖₂.

        γ_d is the least that will do: ‖Σ_{i≠d} H_di Δ_i‖ ≤ max_i ‖H_di‖ Σ_i ‖Δ_i‖, with equality for one Δ_i ≠ 0.
        """
        norms = _block_norms(self.hessian, self.sizes)
        spectra = [torch.linalg.eigvalsh(self.hessian[self._rows(d), self._rows(d)]) for d in range(len(self.sizes))]
        return Assumptions(
            concavity=tuple(spectrum[0].item() for spectrum in spectra),
            smoothness=tuple(spectrum[-1].item() for spectrum in spectra),
            stability=tuple((norms - norms.diagonal().diag()).amax(1).tolist()),
        )

    def second_moment(self, thetas: Sequence[Tensor]) -> Tensor:
        """Σ_d E‖∇_d f_s(θ)‖² at θ, (R,), of thetas (R, n_d) each."""
        theta = torch.cat(list(thetas), dim=1)  # (R, D)
        gradients = torch.einsum("sij,rj->rsi", self.hessians, theta) - self.linears
        return gradients.square().sum(2).mean(1)

    def sigma2(self, radii: Sequence[float]) -> float:
        """A bound on σ² = Σ_d sup{E‖∇_d f_s(θ)‖² : ‖θ_i − θ_i*‖ ≤ r_i}, by norms of blocks.

        With Δ = θ − θ*, E‖∇_d f_s‖² = ΔᵀM_dΔ + 2m_dᵀΔ + c_d ≤ Σ_ij r_i r_j ‖(M_d)_ij‖₂ + 2 Σ_i r_i ‖(m_d)_i‖ + c_d.

        Args:
            radii: r_1 … r_K.
        Raises: ArgumentError.
        Differs from the paper: an upper bound, not the supremum; the theorems hold for either.
        """
        if len(radii) != len(self.sizes) or not all(radius > 0 for radius in radii):
            raise ArgumentError("radii", f"{len(self.sizes)} positive numbers", radii)
        r = torch.tensor(list(radii), dtype=self.linears.dtype)
        total = 0.0
        for d in range(len(self.sizes)):
            slopes = self.hessians[:, self._rows(d)]  # (S, n_d, D)
            at_optimum = slopes @ torch.cat(self.optimum) - self.linears[:, self._rows(d)]  # (S, n_d)
            M = torch.einsum("sij,sik->jk", slopes, slopes) / len(slopes)
            m = torch.einsum("sij,si->j", slopes, at_optimum) / len(slopes)
            norms = torch.stack([part.norm() for part in _split(m, self.sizes)])
            constant = at_optimum.square().sum(1).mean()
            total += (r @ _block_norms(M, self.sizes) @ r + 2 * r @ norms + constant).item()
        return total

    def _rows(self, d: int) -> slice:
        return slice(sum(self.sizes[:d]), sum(self.sizes[: d + 1]))


def _block_norms(matrix: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """‖M_ij‖₂ of the blocks of a (D, D) matrix: (K, K)."""
    rows = [_split(row, sizes, dim=1) for row in _split(matrix, sizes)]
    return torch.stack([torch.stack([torch.linalg.matrix_norm(part, 2) for part in row]) for row in rows])


def _split(tensor: Tensor, sizes: tuple[int, ...], dim: int = 0) -> list[Tensor]:
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [tensor.narrow(dim, end - size, size) for end, size in zip(ends, sizes, strict=True)]
