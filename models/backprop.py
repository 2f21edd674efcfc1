"""Baselines: the same nets trained by backpropagation, one step of Adam or SGD a block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models import losses
from models.blocks import checked_block, checked_state, unless_poisoned
from models.errors import ArgumentError
from models.network import Architecture, encode_input, initial_weights
from models.predictor import Predictor
from models.scaling import InputScale, Moments, no_moments


@dataclass(frozen=True)
class BackpropHyperparameters:
    """Args: lr: step size, > 0.  Raises: ValueError naming the argument and the value."""

    lr: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ArgumentError("lr", "positive", self.lr)


class _Backprop:
    """Weights, input moments and the optimiser's slots, all as one flat dict of tensors."""

    slots: tuple[str, ...] = ()

    def __init__(
        self,
        architecture: Architecture,
        hyperparameters: BackpropHyperparameters,
        *,
        scale: InputScale,
        seed: int,
        device: torch.device,
    ) -> None:
        self.architecture = architecture
        self.hyperparameters = hyperparameters
        self.scale = scale
        self.device = device
        self.layers = range(1, len(architecture.sizes))
        weights = initial_weights(architecture, seed=seed, top_gain=1.0, device=device)
        named = {f"W.{layer}": matrix for layer, matrix in zip(self.layers, weights, strict=True)}
        for slot in self.slots:
            named |= {f"{slot}.{layer}": torch.zeros_like(W) for layer, W in zip(self.layers, weights, strict=True)}
        moments = no_moments(architecture.inputs, device)
        named |= {"moments.count": moments.count, "moments.mean": moments.mean, "moments.squares": moments.squares}
        self.state = named | {"steps": torch.zeros((), dtype=torch.int64, device=device)}
        scale.scaling(moments)  # raises for a scale of another width

    @torch.no_grad()
    def learn(self, inputs: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """One step on the block mean of the weighted loss; see `Learner.learn`."""
        x, y, w = checked_block(inputs, targets, weight, self.architecture, self.device)
        moments = _moments(self.state).updated(x.double(), w.double())
        scaled = self.scale.scaling(moments)(x)
        with torch.enable_grad():
            weights = tuple(self.state[f"W.{layer}"].clone().requires_grad_() for layer in self.layers)
            outputs = encode_input(scaled, weights, self.architecture.sigma)[-1]
            gradients = torch.autograd.grad((losses.multinomial(outputs, y) * w).mean(), weights)
        new = self.state | {"steps": self.state["steps"] + 1}
        new |= {f"moments.{name}": getattr(moments, name) for name in ("count", "mean", "squares")}
        for layer, gradient in zip(self.layers, gradients, strict=True):
            new |= self.updated_layer(layer, gradient, new["steps"])
        self.state, finite = unless_poisoned(new, self.state)
        return finite

    def updated_layer(self, layer: int, gradient: Tensor, steps: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def predictor(self) -> Predictor:
        state = self.state  # one version, whatever another thread learns meanwhile
        weights = tuple(state[f"W.{layer}"] for layer in self.layers)
        return Predictor(weights, self.scale.scaling(_moments(state)), self.architecture.sigma)

    def predict(self, inputs: Tensor) -> Tensor:
        return self.predictor()(inputs)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.state = checked_state(state, self.state)


def _moments(state: Mapping[str, Tensor]) -> Moments:
    return Moments(state["moments.count"], state["moments.mean"], state["moments.squares"])


class Sgd(_Backprop):
    """Plain stochastic gradient descent. Source: Robbins & Monro 1951."""

    def updated_layer(self, layer: int, gradient: Tensor, steps: Tensor) -> dict[str, Tensor]:
        return {f"W.{layer}": self.state[f"W.{layer}"] - self.hyperparameters.lr * gradient}


class Adam(_Backprop):
    """Adam with β = (0.9, 0.999), ε = 1e-8. Source: Kingma & Ba 2014, Algorithm 1."""

    slots = ("first", "second")

    def updated_layer(self, layer: int, gradient: Tensor, steps: Tensor) -> dict[str, Tensor]:
        beta1, beta2, epsilon = 0.9, 0.999, 1e-8
        first = beta1 * self.state[f"first.{layer}"] + (1 - beta1) * gradient
        second = beta2 * self.state[f"second.{layer}"] + (1 - beta2) * gradient.square()
        corrected_first = first / (1 - beta1 ** steps.double())
        corrected_second = second / (1 - beta2 ** steps.double())
        step = self.hyperparameters.lr * corrected_first / (corrected_second.sqrt() + epsilon)
        return {f"W.{layer}": self.state[f"W.{layer}"] - step, f"first.{layer}": first, f"second.{layer}": second}
