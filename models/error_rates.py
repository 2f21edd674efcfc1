"""How often several predictors have lately erred, before they learned; and what share each should have in their mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SHARPNESS = 0.003
"""Of error rates: a candidate that errs by so much more often has 1/e of the share."""
ROUNDING = 1e-9
"""Error rates that differ by less are equal, so that rounding decides nothing."""


def discounted(weight: Tensor, tau: float) -> tuple[float, Tensor]:
    """What the past keeps over a block of n samples, exp(−n/τ), and what each of these counts, w exp(−age/τ): (n,) float64.

    Time counts samples, whatever they weigh, and a sample is discounted by those after it, so that it does not matter how a
    stream is cut.
    """
    ages = torch.arange(len(weight) - 1, -1, -1, dtype=torch.float64, device=weight.device)
    return math.exp(-len(weight) / tau), weight.double() * torch.exp(-ages / tau)


@dataclass(frozen=True)
class ErrorRates:
    """Errors of K candidates on the same samples, as `discounted`: fold state, all on the device.

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

    def updated(self, wrong: Tensor, weight: Tensor, *, tau: float) -> ErrorRates:
        """With one block added.

        Args:
            wrong: (n, K), bool or losses, of predictions made before the block was learned; those of samples of weight 0
                have no influence.
            weight: (n,), non-negative; 0 for what shall not count, such as new classes (see `models.known_classes`).
            tau: horizon of the discount in samples; +inf never forgets.
        """
        keep, shares = discounted(weight, tau)
        counted = torch.where((weight == 0).unsqueeze(1), 0, wrong.double())
        return ErrorRates(
            errors=keep * self.errors + (shares.unsqueeze(1) * counted).sum(dim=0),
            mass=keep * self.mass + shares.sum(),
        )

    def rates(self) -> Tensor:
        """(K,); 0 for all before anything counted."""
        return self.errors / torch.where(self.mass > 0, self.mass, 1)

    def mixture(self, candidates: int) -> Tensor:
        """Shares of the first so many candidates in their mixture, (candidates,): softmax(−rate/SHARPNESS).

        Before anything counted all have the same.
        Source: exponentially weighted forecasts (Littlestone & Warmuth 1994), with discounted errors.

        >>> rates = ErrorRates(errors=torch.tensor([20.0, 21.0, 30.0]), mass=torch.tensor(100.0))
        >>> rates.mixture(3)
        tensor([9.6555e-01, 3.4445e-02, 3.2232e-15])
        """
        return (-self.rates()[:candidates] / SHARPNESS).softmax(dim=0).float()

    def is_close(self, reference: int, candidate: int, tolerance: Tensor | float) -> Tensor:
        """Whether a candidate errs at most so much more often than another: 0-dim bool."""
        rates = self.rates()
        return rates[candidate] <= rates[reference] + tolerance + ROUNDING
