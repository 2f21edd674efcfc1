"""Targets of a regression, standardised by their own running moments, and a top layer that follows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.learner import Learner
from models.scaling import Moments, RunningScale, Scaling, no_moments


@dataclass(frozen=True)
class TargetScale:
    """z = (y − mean)/deviation, clipped to ±10 like an input; y = mean + deviation·o for an output o.

    Targets that have not varied yet are all 0, and every prediction is their mean.

    Args:
        moments: of the targets, (m,) each, on the CPU.

    >>> scale = TargetScale.unknown(1).with_block(torch.tensor([[10.0], [30.0]]), torch.ones(2))
    >>> scale.standardised(torch.tensor([[40.0]]))
    tensor([[2.]])
    """

    moments: Moments

    @classmethod
    def unknown(cls, outputs: int) -> Self:
        return cls(no_moments(outputs, torch.device("cpu")))

    @property
    def scaling(self) -> Scaling:
        return RunningScale().scaling(self.moments)

    def with_block(self, targets: Tensor, weight: Tensor) -> Self:
        """With one block more: targets (n, m), weight (n,)."""
        return type(self)(self.moments.updated(targets.double(), weight.double()))

    def standardised(self, targets: Tensor) -> Tensor:
        """y (n, m) → z (n, m) float32."""
        return self.scaling(targets)

    def restored(self, outputs: Tensor) -> Tensor:
        """o (n, m) → y (n, m) float64."""
        scaling = self.scaling
        return scaling.center + torch.where(scaling.varied, scaling.deviation * outputs.double(), 0)

    def carry(self, learner: Learner, previous: Self) -> None:
        """Makes a learner whose outputs were in `previous`'s units the same function of x in these units.

        W^{L+1} ← W^{L+1}·d/d⁺ and b ← (d·b + c − c⁺)/d⁺, with c and d the mean and the deviation of a target; V of a top
        memory likewise, and B ← B·d/d⁺ + (c − c⁺)/d⁺·Σ w aᵀ. Nothing is carried from or to a target that has not varied.
        Source: van Hasselt et al. 2016, Algorithm 1 (Pop-Art).
        Differs from it: moments never forget; an optimiser's slots stay as they are.
        """
        old, new = previous.scaling, self.scaling
        known = old.varied & new.varied
        ratio = torch.where(known, old.deviation / new.deviation, 1).unsqueeze(1)
        moved = torch.where(known, (old.center - new.center) / new.deviation, 0).unsqueeze(1)

        def carried(matrix: Tensor, ones: Tensor) -> Tensor:
            """ones: what the same regression has for a target that is always 1, (h,)."""
            return (ratio * matrix.double().cpu() + moved * ones.double().cpu()).to(matrix)

        state = learner.state_dict()
        top = f"W.{sum(name.startswith('W.') for name in state)}"
        new_state = {top: carried(state[top], _bias(state[top]))}
        for name, matrix in state.items():
            if name.startswith(("V.top", "V.reflex")):
                new_state[name] = carried(matrix, _bias(matrix))
            elif name.startswith("B.top"):
                new_state[name] = carried(matrix, state[name.replace("B", "A", 1)][-1])
        learner.load_state_dict(dict(state) | new_state)


def _bias(matrix: Tensor) -> Tensor:
    """A row of `matrix` that is 1 at the bias alone."""
    return torch.eye(matrix.shape[1])[-1]
