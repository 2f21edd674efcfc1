"""Fully connected nets as plain tuples of weights: shapes, initial values, the forward pass (Algorithm 2.2).

W^l is (n_l, n_{l−1} + 1): its last column is the bias, met by a constant 1 appended to the activations of the layer
below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from models.activations import ACTIVATIONS, Activation

Weights = tuple[Tensor, ...]


@dataclass(frozen=True)
class Architecture:
    """What a fully connected net is before it has learned: 784-100-100-10 is `Architecture(784, (100, 100), 10)`.

    Args:
        inputs: number of features N.
        hidden: sizes m_1 … m_L of the hidden layers, at least one.
        outputs: number of classes m.
        activation: name of σ for all hidden layers.
    Raises: ValueError naming the argument and the value.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        if not self.hidden:
            raise ValueError("hidden must name at least one layer, not ()")
        for name, size in (("inputs", self.inputs), ("outputs", self.outputs), *(("hidden", h) for h in self.hidden)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_0 … n_{L+1}."""
        return (self.inputs, *self.hidden, self.outputs)

    @property
    def sigma(self) -> Activation:
        return ACTIVATIONS[self.activation]

    @property
    def name(self) -> str:
        return "-".join(map(str, self.sizes))


def initial_weights(architecture: Architecture, *, seed: int, top_gain: float, device: torch.device) -> Weights:
    """He's initialisation, N(0, 2 / n_{l−1}), with biases 0 and the top layer times `top_gain`.

    The numbers are drawn on the CPU, so that a seed means the same net on every device.
    Source: He et al. 2015, eq. 10; the small top layer is ours (the paper leaves W_0 open).
    """
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for n_in, n_out in pairwise(architecture.sizes):
        matrix = torch.randn(n_out, n_in, generator=generator) * (2 / n_in) ** 0.5
        weights.append(torch.cat([matrix, torch.zeros(n_out, 1)], dim=1))
    weights[-1] *= top_gain
    return tuple(w.to(device) for w in weights)


def append_one(activations: Tensor) -> Tensor:
    """(n, k) → (n, k + 1): the constant 1 that meets the bias column."""
    return torch.cat([activations, activations.new_ones(activations.shape[0], 1)], dim=1)


def encode_input(inputs: Tensor, weights: Sequence[Tensor], sigma: Activation) -> list[Tensor]:
    """Algorithm 2.2, encodeInput: c^l = W^l σ_{l−1}(c^{l−1}) for the hidden layers, σ_0 the identity.

    Args:
        inputs: x, scaled, (n, n_0).
        weights: W^1 … W^L, or all of W^1 … W^{L+1} to get the output layer's linear output as the last code.
    Returns: one (n, n_l) tensor a layer of `weights`.
    Differs from the paper: biases.
    """
    codes: list[Tensor] = []
    activations = inputs
    for matrix in weights:
        codes.append(append_one(activations) @ matrix.T)
        activations = sigma(codes[-1])
    return codes
