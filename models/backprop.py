"""Baselines: the same nets trained by backpropagation, one step of Adam or SGD a block.

Through a sign, autograd takes its surrogate derivative (`models.activations`): on such nets these are the
straight-through estimator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.block_learner import BlockLearner
from models.errors import ArgumentError
from models.learner_state import LearnerState
from models.network import Net, encode_input
from models.normalisation import learning_sigmas, running_norms
from models.optimisers import Adam, Optimiser, Sgd
from models.scaling import InputScale
from models.solvers import shrunk


@dataclass(frozen=True)
class BackpropHyperparameters:
    """Hyper-parameters of the baselines.

    Args:
        lr: step size, > 0.
        decay: factor on lr at the end of an epoch, in (0, 1]; the paper's SGD has 0.9 (appendices B, C).
        lambda_w: weight of ‖W‖₁ in the objective (appendix C), by a proximal step; ≥ 0.
    Raises: ArgumentError.
    """

    lr: float = 1e-3
    decay: float = 1.0
    lambda_w: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ArgumentError("lr", "positive", self.lr)
        if not 0 < self.decay <= 1:
            raise ArgumentError("decay", "in (0, 1]", self.decay)
        if not 0 <= self.lambda_w < math.inf:
            raise ArgumentError("lambda_w", "at least 0", self.lambda_w)


class Backprop(BlockLearner):
    """One step of `optimiser` on the block mean of the weighted loss. Args: see `BlockLearner`."""

    optimiser: Optimiser

    def __init__(
        self,
        net: Net,
        hyperparameters: BackpropHyperparameters,
        *,
        scale: InputScale,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(net, scale=scale, seed=seed, top_gain=1.0, device=device)
        self.hyperparameters = hyperparameters
        self.state = replace(self.state, slots=empty_slots(self.optimiser, self.state.weights))

    def _step(self, state: LearnerState, x: Tensor, y: Tensor, w: Tensor) -> LearnerState:
        moments = state.moments.updated(x.double(), w.double())
        scaled = self.scale.scaling(moments)(x)
        with torch.enable_grad():
            weights = tuple(W.clone().requires_grad_() for W in state.weights)
            codes = encode_input(scaled, weights, self.net.layers, learning_sigmas(w, self.net, state.norms))
            gradients = torch.autograd.grad((self.net.loss(codes[-1], y) * w).mean(), weights)
        hyper = self.hyperparameters
        slots = {"steps": state.slots["steps"] + 1}
        new = []
        for layer, (W, gradient) in enumerate(zip(state.weights, gradients, strict=True), start=1):
            own = {name: state.slots[f"{name}.{layer}"] for name in self.optimiser.slots}
            W, own_new = self.optimiser.step(W, gradient, own, steps=slots["steps"], lr=hyper.lr)
            new.append(shrunk(W, hyper.lr * hyper.lambda_w) if hyper.lambda_w > 0 else W)
            slots |= {f"{name}.{layer}": tensor for name, tensor in own_new.items()}
        norms = running_norms(state.norms, codes, w, self.net, samples=state.samples)
        return LearnerState(tuple(new), moments, state.samples + len(x), norms=norms, slots=slots)

    def end_epoch(self) -> None:
        self.hyperparameters = replace(self.hyperparameters, lr=self.hyperparameters.lr * self.hyperparameters.decay)


def empty_slots(optimiser: Optimiser, weights: tuple[Tensor, ...]) -> dict[str, Tensor]:
    slots = {"steps": torch.zeros((), dtype=torch.int64, device=weights[0].device)}
    for name in optimiser.slots:
        slots |= {f"{name}.{layer}": torch.zeros_like(W) for layer, W in enumerate(weights, start=1)}
    return slots


class SgdBackprop(Backprop):
    """SGD by backpropagation."""

    optimiser = Sgd()


class AdamBackprop(Backprop):
    """Adam by backpropagation."""

    optimiser = Adam()
