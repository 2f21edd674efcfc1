"""How much likelier an input is of late than ever: older ones should not be predicted by what has forgotten them.

The density ratio w(z) = p_late(z)/p_ever(z) is modelled as g · r, r = [z, 1]. Its least-squares fit is g = (Ā + λI)⁻¹ m, with
Ā the mean of r rᵀ over all samples, which the first hidden layer keeps anyway, and m the mean of r over those of late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.error_rates import ErrorRates, discounted
from models.scaling import Affine

UNLIKE = 0.7
"""An input is an older one where it is at most so many times as likely of late as ever."""
SHIFTED = 1.1
"""Inputs have shifted where fresh ones are, on average, so many times as likely of late as ever; 1 where nothing changes."""


@dataclass(frozen=True)
class DensityRatio:
    """Fold state. Time counts samples; what is "of late" is discounted by τ.

    Args:
        late: Σ q w u over rows u in fixed coordinates, the appended 1 last, (1, N + 1) float64.
        g: for rows [z, 1], as of the last fit, so that their mean ratio is 1; (1, N + 1) float32, all 0 before the first.
        ratios, mass: Σ q w g·r and Σ q w over fresh samples, before they were in `late`, 0-dim float64.
        errors: on fresh older samples, of what is served and of the longest memory.
    Source: least-squares importance fitting (Kanamori, Hido, Sugiyama 2009).
    """

    late: Tensor
    g: Tensor
    ratios: Tensor
    mass: Tensor
    errors: ErrorRates

    @classmethod
    def unknown(cls, inputs: int, device: torch.device) -> DensityRatio:
        late = torch.zeros(1, inputs + 1, dtype=torch.float64, device=device)
        zero = late.new_zeros(())
        return cls(late, late.float(), zero, zero.clone(), ErrorRates.unknown(2, device))

    def judged(self, rows: Tensor, wrong: Tensor, weight: Tensor, *, tau: float) -> DensityRatio:
        """With what a block says, before it is learned.

        Args:
            rows: [z, 1], (n, N + 1). wrong: errors or losses of what is served and of the longest memory, (n, 2).
            weight: (n,).
        """
        ratio = rows @ self.g[0]
        known = weight * self.g.any()
        keep, shares = discounted(known, tau)
        return replace(
            self,
            ratios=keep * self.ratios + (shares * ratio).sum(),
            mass=keep * self.mass + shares.sum(),
            errors=self.errors.updated(wrong, known * (ratio < UNLIKE), tau=tau),
        )

    def updated(self, rows: Tensor, weight: Tensor, to_fixed: Affine, *, tau: float) -> DensityRatio:
        """With a block's rows [z, 1], (n, N + 1), among those of late."""
        keep, shares = discounted(weight, tau)
        late = keep * self.late + shares @ to_fixed.right(rows.double())
        return replace(self, late=late)

    def fitted(self, factor: Tensor, mean: Tensor, from_fixed: Affine) -> DensityRatio:
        """Args: factor: of Ā + λI, Cholesky's. mean: row of all samples, (N + 1,) float64."""
        late = self.late / self.late[0, -1].clamp_min(torch.finfo(torch.float64).tiny)
        g = torch.cholesky_solve(from_fixed.right(late).float().T, factor).T
        average = g[0] @ mean.float()
        g = torch.where(average > 0, g / average, 0)
        return replace(self, g=g)

    def tells(self, tolerance: float) -> Tensor:
        """Whether inputs have shifted, and the longest memory errs on older ones, as far as any came, at most `tolerance` more
        often than what is served: 0-dim bool."""
        return (self.ratios > SHIFTED * self.mass) & self.errors.is_close(0, 1, tolerance)

    def tensors(self) -> dict[str, Tensor]:
        own = {"late": self.late, "g": self.g, "ratios": self.ratios, "mass": self.mass}
        own |= {f"errors.{name}": tensor for name, tensor in self.errors.tensors().items()}
        return {f"ratio.{name}": tensor for name, tensor in own.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> DensityRatio:
        late, g, ratios, mass = (tensors[f"ratio.{name}"] for name in ("late", "g", "ratios", "mass"))
        return cls(late, g, ratios, mass, ErrorRates(tensors["ratio.errors.errors"], tensors["ratio.errors.mass"]))
