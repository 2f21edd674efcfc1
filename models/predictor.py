"""One immutable version of a net, as predictions need it: weights and input scaling, nothing for learning alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from models.activations import Activation
from models.blocks import part_of
from models.density_ratio import UNLIKE
from models.layers import Dense, append_one
from models.network import Net, Weights, encode_input, sigmas_of
from models.scaling import Scaling


@dataclass(frozen=True)
class Past:
    """What predicts inputs that have become rare, because it has not forgotten them.

    Args: weights: as a predictor's. ratio: how likely an input is of late over ever, for rows [z, 1], (N + 1,).
    """

    weights: Weights
    ratio: Tensor

    def is_meant(self, scaled: Tensor) -> Tensor:
        """z (n, N) → (n,) bool."""
        return append_one(scaled) @ self.ratio < UNLIKE


@dataclass(frozen=True)
class _Affine:
    """a ↦ σ(V a + b), what a fully connected layer is where nothing is learned. Args: V: (units, k), b: (units,)."""

    V: Tensor
    b: Tensor
    activation: Activation

    def __call__(self, below: Tensor) -> Tensor:
        return self.activation(functional.linear(below, self.V, self.b))


@dataclass(frozen=True)
class Predictor:
    """x ↦ class probabilities, or values. Safe to call from any number of threads: nothing in it ever changes.

    Batch normalisation, where the net has it, is folded into the weights.

    Args:
        direct: whether the output layer sees the scaled inputs beside a^L.
        past: what older inputs are left to, if there is such a thing.
    """

    weights: Weights
    scaling: Scaling
    net: Net
    direct: bool = False
    past: Past | None = None

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """P(y | x) of eq. 2, or what else the net's loss makes of its output.

        Args:
            inputs: x as posted, (n, N), NaN for a missing value.
        Returns: (n, m) float32 on the CPU; for classes, rows summing to 1.
        Raises: ValueError for another shape.
        """
        return self._predicted(inputs).cpu()

    @torch.no_grad()
    def on_device(self, inputs: Tensor) -> Tensor:
        """The same, without waiting for the device of the weights."""
        return self._predicted(inputs)

    def _predicted(self, inputs: Tensor) -> Tensor:
        scaled = self._scaled(inputs)
        outputs = self._outputs(scaled)
        if self.past is not None:
            outputs = torch.where(self.past.is_meant(scaled).unsqueeze(1), self._older._outputs(scaled), outputs)
        return self.net.loss.link(outputs)

    def _outputs(self, scaled: Tensor) -> Tensor:
        """c^{L+1}, with as few calls of torch as there can be: each takes longer than what a single input needs of it."""
        if self._dense is None:
            return self.codes(scaled)[-1]
        activations = scaled
        for layer in self._dense[:-1]:
            activations = layer(activations)
        return self._dense[-1](torch.cat([activations, scaled], dim=1) if self.direct else activations)

    @cached_property
    def _dense(self) -> tuple[_Affine, ...] | None:
        """Views of the weights of a net that is fully connected, else None."""
        layers = self.net.layers
        if not all(type(layer) is Dense for layer in layers):
            return None
        return tuple(
            _Affine(W[:, :-1], W[:, -1], layer.activation) for W, layer in zip(self.weights, layers, strict=True)
        )

    @cached_property
    def _older(self) -> Predictor:
        """Of inputs that are left to the past."""
        assert self.past is not None
        return replace(self, weights=self.past.weights, past=None)

    @cached_property
    def products(self) -> int:
        """Multiplications that a fully connected net takes for an input."""
        return sum(W.numel() for W in self.weights) + (0 if self.past is None else self._older.products)

    @torch.no_grad()
    def top_activations(self, inputs: Tensor) -> Tensor:
        """a^L, what the output layer sees of x (n, N): (n, …), on the device of the weights."""
        return sigmas_of(self.net.layers)[-2](self.codes(self._scaled(inputs))[-2])

    def _scaled(self, inputs: Tensor) -> Tensor:
        width = self.scaling.center.shape[0]
        if inputs.ndim != 2 or inputs.shape[1] != width:
            raise ValueError(f"inputs must have shape (n, {width}), not {tuple(inputs.shape)}")
        return self.scaling(inputs.to(self.weights[0].device))

    def codes(self, scaled: Tensor) -> list[Tensor]:
        """c^1 … c^{L+1} of z (n, N), in the precision of the weights."""
        sigmas = sigmas_of(self.net.layers)
        if not self.direct:
            return encode_input(scaled, self.weights, self.net.layers, sigmas)
        codes = encode_input(scaled, self.weights[:-1], self.net.layers, sigmas)
        top = append_one(torch.cat([sigmas[-2](codes[-1]).flatten(1), scaled], dim=1))
        return [*codes, top @ self.weights[-1].T]

    def tensors(self) -> dict[str, Tensor]:
        named = _named(self.weights) | {f"scaling.{name}": tensor for name, tensor in self.scaling.tensors().items()}
        if self.past is None:
            return named
        past = _named(self.past.weights) | {"ratio": self.past.ratio}
        return named | {f"past.{name}": tensor for name, tensor in past.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], net: Net) -> Predictor:
        """The inverse of `tensors`."""
        weights = _weights(tensors, net)
        direct = weights[-1].shape[1] > net.layers[-1].fan_in + 1
        of_past = part_of(tensors, "past.")
        past = Past(_weights(of_past, net), of_past["ratio"]) if of_past else None
        return cls(weights, Scaling.from_tensors(part_of(tensors, "scaling.")), net, direct, past)


def _named(weights: Weights) -> dict[str, Tensor]:
    return {f"W.{layer}": matrix for layer, matrix in enumerate(weights, start=1)}


def _weights(tensors: Mapping[str, Tensor], net: Net) -> Weights:
    return tuple(tensors[f"W.{layer}"] for layer in range(1, len(net.layers) + 1))
