"""Which of several predictors serves, the short-sighted or the long-sighted: decided by their discounted prequential errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ROUNDING = 1e-9
"""Error rates that differ by less are equal, so that rounding decides nothing."""


@dataclass(frozen=True)
class ErrorRates:
    """Discounted errors of K candidates on the same samples: fold state, all on the device.

    Time counts samples, whatever they weigh: over n samples the past keeps the share exp(−n/τ), and within a block each
    sample is discounted by those after it, so that it does not matter how a stream is cut.

    Args:
        errors: Σ exp(−age/τ) w e per candidate, (K,) float64.
        mass: Σ exp(−age/τ) w, 0-dim float64.
    """

    errors: Tensor
    mass: Tensor

    @classmethod
    def unknown(cls, candidates: int, device: torch.device) -> ErrorRates:
        errors = torch.zeros(candidates, dtype=torch.float64, device=device)
        return cls(errors, errors.new_zeros(()))

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ErrorRates:
        return cls(**tensors)

    def updated(self, wrong: Tensor, weight: Tensor, *, tau: float) -> ErrorRates:
        """With one block added.

        Args:
            wrong: (n, K), bool or losses, of predictions made before the block was learned; those of samples of weight 0
                have no influence.
            weight: (n,), non-negative; 0 for what shall not count, such as new classes (see `models.known_classes`).
            tau: horizon of the discount in samples; +inf never forgets.
        """
        n = len(weight)
        age = torch.arange(n - 1, -1, -1, dtype=torch.float64, device=weight.device)
        shares = weight * torch.exp(-age / tau)
        counted = torch.where((weight == 0).unsqueeze(1), 0, wrong.double())
        keep = math.exp(-n / tau)
        return ErrorRates(
            errors=keep * self.errors + (shares.unsqueeze(1) * counted).sum(dim=0),
            mass=keep * self.mass + shares.sum(),
        )

    def rates(self) -> Tensor:
        """(K,); 0 for all before anything counted."""
        return self.errors / torch.where(self.mass > 0, self.mass, 1)

    def choice(self, horizons: Tensor, *, tolerance: float) -> Tensor:
        """The longest horizon whose error rate is within `tolerance` of the best: its index, 0-dim int64.

        Before anything counted that is the longest of all.

        Args:
            horizons: of the candidates, (K,) in samples, in any order, +inf for what never forgets.
            tolerance: difference of error rates, an absolute one.

        >>> rates = ErrorRates(errors=torch.tensor([20.0, 21.0, 30.0]), mass=torch.tensor(100.0))
        >>> horizons = torch.tensor([250.0, 4000.0, torch.inf])
        >>> [rates.choice(horizons, tolerance=t).item() for t in (0.0, 0.01, 0.1)]
        [0, 1, 2]
        """
        rates = self.rates()
        eligible = rates <= rates.amin() + (tolerance + ROUNDING)
        return torch.where(eligible, horizons, -torch.inf).argmax()
