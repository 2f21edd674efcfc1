"""What a linear classifier can see of an input without learning: the input itself, or frozen random activations."""

from __future__ import annotations

import torch
from torch import Tensor

from models import Architecture
from models.network import encode_input, initial_weights, sigmas_of


class FrozenFeatures:
    """a^L of a net that stays as it was initialised; without a net, the inputs themselves.

    Inputs are standardised with the mean and the deviation over all features of the first block; that stays, too.

    Args: seed: of the initial weights, the same as those of a learner of this net and seed.
    """

    def __init__(self, net: Architecture | None, seed: int) -> None:
        layers = net.layers if net else ()
        weights = initial_weights(layers, seed=seed, top_gain=1.0, device=torch.device("cpu")) if layers else ()
        self.layers, self.weights = layers[:-1], weights[:-1]
        self.scale: Tensor | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """x (n, N) → (n, m)."""
        if self.scale is None:
            self.scale = torch.stack([inputs.mean(), inputs.std()])
        scaled = (inputs - self.scale[0]) / self.scale[1]
        if not self.layers:
            return scaled
        sigmas = sigmas_of(self.layers)
        return sigmas[-1](encode_input(scaled, self.weights, self.layers, sigmas)[-1])

    def state_dict(self) -> dict[str, Tensor]:
        named = {f"W.{layer}": W for layer, W in enumerate(self.weights, start=1)}
        return named if self.scale is None else named | {"scale": self.scale}
