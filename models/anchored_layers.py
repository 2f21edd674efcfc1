"""The hidden layers of the recommended AM-mem: codes by Algorithm 2.2, weights from B = W(Ā + λI) + share·Σ w(c − W a)aᵀ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.anchored_hyperparameters import AnchoredHyperparameters
from models.codes import update_codes
from models.density_ratio import DensityRatio
from models.layers import append_one
from models.memory import co_activations, ridge_of
from models.network import Architecture, Sigma, Weights
from models.scaling import Scaling
from models.top_memory import View


@dataclass(frozen=True)
class Encoded:
    """A block under one version of the hidden layers: z; the codes c^1 … c^L; a^L, and a^L by the averaged weights."""

    inputs: Tensor
    codes: list[Tensor]
    top: Tensor
    averaged_top: Tensor

    def rows(self, view: View) -> Tensor:
        return view.rows(self.averaged_top if view.averaged else self.top, self.inputs)


@dataclass(frozen=True)
class AnchoredLayers:
    """The rule of the hidden layers.

    Args: net: with the squared loss, which codes are updated for. sigmas: of its hidden layers.
    """

    net: Architecture
    sigmas: Sequence[Sigma]
    hyperparameters: AnchoredHyperparameters

    def learned(
        self,
        slots: dict[str, Tensor],
        encoded: Encoded,
        hidden: Weights,
        top: Tensor,
        targets: Tensor,
        w: Tensor,
        share: Tensor,
        scaling: Scaling,
        renew: bool,
    ) -> Weights:
        """Algorithm 2.2's codes, from what the longest live memory asks of a^L, then each hidden layer's memory and weights."""
        hyper, activations = self.hyperparameters, self.net.layers[-1].fan_in
        of_top, direct = top[:, :activations], top[:, activations:-1]
        left = targets - encoded.inputs @ direct.T if direct.shape[1] else targets
        weights = (*hidden, torch.cat([of_top, top[:, -1:]], dim=1))
        updated = update_codes(
            encoded.codes, encoded.inputs, left, weights, self.net, self.sigmas, hyper.descent, mu=hyper.mu
        )
        below = [encoded.inputs, *(sigma(c) for sigma, c in zip(self.sigmas, encoded.codes, strict=True))]
        ratio = DensityRatio.from_tensors(slots)
        learned = w * (share > 0)  # what is not learned from is not remembered either
        moved = []
        for layer, (W, a, new, old) in enumerate(zip(hidden, below, updated, encoded.codes, strict=False), start=1):
            rows = append_one(a)
            block = co_activations(rows, learned)
            block = scaling.to_fixed(slots["shift"]).congruence(block) if layer == 1 else block
            A = slots[f"A.{layer}"] = slots[f"A.{layer}"] + block
            if layer == 1:
                ratio = ratio.updated(rows, w, scaling.to_fixed(slots["shift"]), tau=hyper.recent)
            if renew:
                seen = scaling.from_fixed(slots["shift"]).congruence(A) if layer == 1 else A
                factor = self._preconditioner(seen)
                if layer == 1:
                    ratio = ratio.fitted(factor, seen[-1] / seen[-1, -1], scaling.from_fixed(slots["shift"]))
                measured = torch.cholesky_solve(rows.T, factor).T  # a (Ā + λI)⁻¹, (n, n_in + 1)
                if hyper.solve_every > 1:
                    slots[f"P.{layer}"] = torch.cholesky_inverse(factor)
            else:
                measured = rows @ slots[f"P.{layer}"]
            moved.append(_anchored(W, rows, measured, new - old, w, share))
        slots |= ratio.tensors()
        return tuple(moved)

    def _preconditioner(self, A: Tensor) -> Tensor:
        """The Cholesky factor of Ā + λI, float32; NaN where it fails, so that `learn` discards the block."""
        tiny = torch.finfo(A.dtype).tiny
        average = A / A[-1, -1].clamp_min(tiny)
        strength = ridge_of(average, self.hyperparameters.ridge)
        identity = torch.eye(len(A), dtype=A.dtype, device=A.device)
        regularised = torch.where(A[-1, -1] > 0, average + strength * identity, identity)
        factor, failed = torch.linalg.cholesky_ex(regularised.float())
        return torch.where(failed == 0, factor, torch.nan)


def _anchored(W: Tensor, rows: Tensor, measured: Tensor, residuals: Tensor, w: Tensor, share: Tensor) -> Tensor:
    """B(Ā + λI)⁻¹ with B = W(Ā + λI) + share·Σ w(c − W a)aᵀ; the share falls where a block leans on few directions."""
    weighted = measured * w.unsqueeze(1)
    leverage = (weighted * rows).sum() / len(w)
    return W + share / (1 + share * leverage / 4) * residuals.T @ weighted
