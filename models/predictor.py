"""One immutable version of a net, as predictions need it: weights and input scaling, nothing for learning alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.activations import ACTIVATIONS, Activation
from models.network import Weights, encode_input
from models.scaling import Scaling


@dataclass(frozen=True)
class Predictor:
    """x ↦ class probabilities. Safe to call from any number of threads: nothing in it ever changes."""

    weights: Weights
    scaling: Scaling
    sigma: Activation

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """P(y | x) of eq. 2.

        Args:
            inputs: x as posted, (n, N), NaN for a missing value.
        Returns: (n, m) float32 on the CPU, rows summing to 1.
        Raises: ValueError for another shape.
        """
        width = self.scaling.center.shape[0]
        if inputs.ndim != 2 or inputs.shape[1] != width:
            raise ValueError(f"inputs must have shape (n, {width}), not {tuple(inputs.shape)}")
        scaled = self.scaling(inputs.to(self.weights[0].device))
        return encode_input(scaled, self.weights, self.sigma)[-1].softmax(dim=1).cpu()

    def tensors(self) -> dict[str, Tensor]:
        named = {f"W.{layer}": matrix for layer, matrix in enumerate(self.weights, start=1)}
        return named | {f"scaling.{name}": tensor for name, tensor in self.scaling.tensors().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], activation: str) -> Predictor:
        """The inverse of `tensors`."""
        layers = sum(name.startswith("W.") for name in tensors)
        scaling = {name.removeprefix("scaling."): t for name, t in tensors.items() if name.startswith("scaling.")}
        weights = tuple(tensors[f"W.{layer}"] for layer in range(1, layers + 1))
        return cls(weights, Scaling.from_tensors(scaling), ACTIVATIONS[activation])
