"""Elastic weight consolidation: weights that mattered to earlier tasks are held where those left them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from models import Architecture, PooledScale
from models.backprop import BackpropHyperparameters, SgdBackprop
from models.layers import Layer
from models.network import encode_input, sigmas_of

FISHER_SAMPLES = 1000


class EWC:
    """SGD on loss + (strength/2) Σ F (W − W*)², W* the weights at the end of the last task and F ← decay·F + its Fisher.

    Args:
        net: fully connected.
        lr: step size of SGD.
        strength: λ of the penalty.
        decay: γ, the share of the earlier tasks' Fisher information that a new task leaves; 1 sums over all tasks.
        seed: of the initial weights.
    Source: Kirkpatrick et al. 2017, eq. 3, in the online form of Schwarz et al. 2018, section 4 (one anchor, one F).
    Differs: the penalty's step is implicit (proximal), which is stable at any strength. The Fisher information is exact
        over the classes, on the task's last samples. It is told where a task ends, which no other learner here is.
    """

    def __init__(self, net: Architecture, *, lr: float, strength: float, decay: float = 1.0, seed: int) -> None:
        hyperparameters = BackpropHyperparameters(lr=lr)
        self.sgd = SgdBackprop(net, hyperparameters, scale=PooledScale(), seed=seed, device=torch.device("cpu"))
        self.pull = lr * strength
        self.decay = decay
        self.anchor = self.sgd.state.weights
        self.fisher = tuple(torch.zeros_like(W) for W in self.anchor)

    def predict(self, inputs: Tensor) -> Tensor:
        return self.sgd.predict(inputs)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        self.sgd.learn(inputs, targets)
        weights = tuple(
            (W + self.pull * F * anchor) / (1 + self.pull * F)
            for W, F, anchor in zip(self.sgd.state.weights, self.fisher, self.anchor, strict=True)
        )
        self.sgd.state = replace(self.sgd.state, weights=weights)

    def end_task(self, inputs: Tensor) -> None:
        """Args: inputs: the task's last samples, as posted."""
        self.anchor = self.sgd.state.weights
        scaled = self.sgd.scale.scaling(self.sgd.state.moments)(inputs[-FISHER_SAMPLES:])
        own = diagonal_fisher(scaled, self.anchor, self.sgd.net.layers)
        self.fisher = tuple(self.decay * F + new for F, new in zip(self.fisher, own, strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        kept = {f"{kind}.{i}": W for kind in ("anchor", "fisher") for i, W in enumerate(getattr(self, kind), start=1)}
        return self.sgd.state_dict() | kept


def diagonal_fisher(inputs: Tensor, weights: Sequence[Tensor], layers: Sequence[Layer]) -> list[Tensor]:
    """Mean over samples of Σ_k P(k | x) (∂ log P(k | x) / ∂W)², per layer of a fully connected net.

    A sample's gradient is the outer product of its codes' gradient and its row, so its square is that of their squares.

    Args: inputs: scaled, (n, N).
    """
    sigmas = sigmas_of(layers)
    with torch.enable_grad():
        codes = encode_input(inputs, [W.detach().requires_grad_() for W in weights], layers, sigmas)
        log_p = codes[-1].log_softmax(dim=1)
        gradients = [torch.autograd.grad(column.sum(), codes, retain_graph=True) for column in log_p.T]
    below = [inputs, *(sigma(c.detach()) for sigma, c in zip(sigmas, codes[:-1], strict=False))]
    rows = [layer.rows(activations).square() for layer, activations in zip(layers, below, strict=True)]
    fisher = [torch.zeros_like(W) for W in weights]
    for share, deltas in zip(log_p.detach().exp().T, gradients, strict=True):
        for F, delta, row in zip(fisher, deltas, rows, strict=True):
            F += (share.unsqueeze(1) * delta.square()).T @ row / len(inputs)
    return fisher
