"""AM-SGD and AM-Adam: Algorithm 2.1 with Mem = no. Each layer takes optimiser steps on its own regression of codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.am import MOST_ITERATIONS, AMHyperparameters, Block, OnlineAM, Regression, Rules, is_count
from models.backprop import empty_slots
from models.learner_state import LearnerState
from models.network import Net
from models.optimisers import Adam, Optimiser, Sgd
from models.scaling import InputScale
from models.solvers import shrunk


@dataclass(frozen=True)
class AMLocalHyperparameters(AMHyperparameters):
    """Hyper-parameters of AM-SGD and AM-Adam; those of `AMHyperparameters`, and:

    Args:
        lr: step size of the hidden layers, > 0.
        eta: η of Algorithm 2.1, step size of the top layer; None for lr.
        weight_iterations: steps a block in every layer, from 1 to MOST_ITERATIONS.
        decay: factor on lr and eta at the end of an epoch, in (0, 1].
    Raises: ArgumentError.
    """

    lr: float = 1e-3
    eta: float | None = None
    weight_iterations: int = 1
    decay: float = 1.0

    def _rules(self) -> Rules:
        return (
            *super()._rules(),
            ("lr", 0 < self.lr < math.inf, "positive"),
            ("eta", self.eta is None or 0 < self.eta < math.inf, "positive, or None"),
            ("weight_iterations", is_count(self.weight_iterations, least=1), f"an integer from 1 to {MOST_ITERATIONS}"),
            ("decay", 0 < self.decay <= 1, "in (0, 1]"),
        )

    def after_epoch(self, samples: int) -> AMLocalHyperparameters:
        eta = None if self.eta is None else self.eta * self.decay
        return replace(super().after_epoch(samples), lr=self.lr * self.decay, eta=eta)


class AMLocal(OnlineAM):
    """Algorithm 2.1 with Mem = no, as a `Learner`. Args: see `BlockLearner`.

    Source: Algorithms 2.1–2.3, eqs. 3–6.
    Differs from the paper: biases, sample weights. Under the `published` objective, a hidden layer's is the mean squared
        error over block and units, as in its authors' code; under the `paper`'s, μ times its block mean.
    """

    optimiser: Optimiser
    hyperparameters: AMLocalHyperparameters

    def __init__(
        self, net: Net, hyperparameters: AMLocalHyperparameters, *, scale: InputScale, seed: int, device: torch.device
    ) -> None:
        super().__init__(net, hyperparameters, scale=scale, seed=seed, device=device)
        self.state = replace(self.state, slots=empty_slots(self.optimiser, self.state.weights))

    def update_weights(self, state: LearnerState, block: Block) -> LearnerState:
        hyper = self.hyperparameters
        regressions = block.regressions(self.net)

        def update(depth: int) -> tuple[Tensor, Mapping[str, Tensor]]:
            top = depth == len(regressions)
            W = state.weights[depth]
            slots: Mapping[str, Tensor] = {n: state.slots[f"{n}.{depth + 1}"] for n in self.optimiser.slots}
            lr = hyper.eta if top and hyper.eta is not None else hyper.lr
            for iteration in range(1, hyper.weight_iterations + 1):
                if top:
                    gradient = block.top_gradient(W, self.net)
                else:
                    gradient = local_gradient(W, regressions[depth], len(block.weight)) * self._factor(block, depth)
                W, slots = self.optimiser.step(W, gradient, slots, steps=state.slots["steps"] + iteration, lr=lr)
                W = shrunk(W, lr * hyper.lambda_w) if hyper.lambda_w > 0 else W
            return W, slots

        results = self._for_each_layer(update)
        slots = {"steps": state.slots["steps"] + hyper.weight_iterations}
        for depth, (_, own) in enumerate(results, start=1):
            slots |= {f"{name}.{depth}": tensor for name, tensor in own.items()}
        return replace(state, weights=tuple(W for W, _ in results), slots=slots)

    def _factor(self, block: Block, depth: int) -> Tensor | float:
        """On the block mean of ‖c − W a‖²."""
        published = self.hyperparameters.objective == "published"
        return len(block.weight) / block.codes[depth].numel() if published else block.mu


def local_gradient(W: Tensor, regression: Regression, n: int) -> Tensor:
    """∂/∂W of Σ w‖c − W a‖² / n over all rows of a block of n samples: (units, fan_in + 1). It reads one layer alone."""
    residual = (regression.rows @ W.T - regression.codes) * regression.weight.unsqueeze(1)
    return (2 / n) * residual.T @ regression.rows


class AMSgd(AMLocal):
    """AM-SGD."""

    optimiser = Sgd()


class AMAdam(AMLocal):
    """AM-Adam."""

    optimiser = Adam()
