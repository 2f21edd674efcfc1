"""Batch normalisation of codes, as a part of σ: a^l = σ((c^l − mean) / deviation), per unit.

Codes stay what the paper makes them, linear outputs, so memories and local problems know nothing of it. While a block is
learned, mean and deviation are those of its forward codes and constants of its local problems; predictions use running
ones, folded into the weights.

Source: Ioffe & Szegedy 2015; the published code puts it between a linear map and its nonlinearity, too.
Differs from it: no trained gain and shift (the maps above have both); a block of one row takes the running moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.layers import Layer
from models.network import Net, Sigma, Weights, sigmas_of

EPSILON = 1e-5
MOMENTUM = 0.1
"""Share of a block's moments in the running ones."""


@dataclass(frozen=True)
class Norm:
    """Mean and variance of the codes of one layer, (units,) each."""

    mean: Tensor
    variance: Tensor

    @property
    def deviation(self) -> Tensor:
        return (self.variance + EPSILON).sqrt()

    def sigma(self, layer: Layer) -> Sigma:
        mean, deviation = layer.per_unit(self.mean), layer.per_unit(self.deviation)
        return lambda codes: layer.activate((codes - mean) / deviation)

    def folded(self, W: Tensor) -> Tensor:
        """W with which the layer below σ does what normalising its codes would do."""
        deviation = self.deviation.unsqueeze(1)
        return torch.cat([W[:, :-1] / deviation, (W[:, -1:] - self.mean.unsqueeze(1)) / deviation], dim=1)

    def towards(self, block: Norm, share: Tensor | float) -> Norm:
        return Norm(
            self.mean + share * (block.mean - self.mean), self.variance + share * (block.variance - self.variance)
        )


Norms = tuple[Norm, ...]
"""Of the hidden layers; () for a net without batch normalisation."""


def initial_norms(net: Net, device: torch.device) -> Norms:
    hidden = net.layers[:-1] if net.batch_norm else ()
    return tuple(Norm(torch.zeros(n, device=device), torch.ones(n, device=device)) for n in (h.units for h in hidden))


def block_sigmas(
    inputs: Tensor, weight: Tensor, weights: Sequence[Tensor], net: Net, running: Norms
) -> tuple[list[Sigma], Norms]:
    """σ_1 … σ_L for learning one block, and the block's moments; without batch normalisation those of the layers, and ().

    Args: inputs: scaled, (n, N); weight: (n,), of the samples in the moments; weights: W^1 … W^{L+1}; running: moments.
    """
    hidden = net.layers[:-1]
    if not net.batch_norm:
        return sigmas_of(hidden), ()
    sigmas: list[Sigma] = []
    norms: list[Norm] = []
    activations = inputs
    for layer, W, before in zip(hidden, weights, running, strict=False):
        codes = layer.encode(W, activations)
        norms.append(_moments(layer.per_row(codes), weight, before))
        sigmas.append(norms[-1].sigma(layer))
        activations = sigmas[-1](codes)
    return sigmas, tuple(norms)


def _moments(codes: Tensor, weight: Tensor, otherwise: Norm) -> Norm:
    """Of (N, units) codes; `otherwise` where there is one row, or nothing that weighs."""
    if len(codes) == 1:
        return otherwise
    shares = weight.repeat_interleave(len(codes) // len(weight)).unsqueeze(1)
    total = shares.sum()
    known = total > 0
    divisor = torch.where(known, total, 1)
    mean = (shares * codes).sum(dim=0) / divisor
    variance = (shares * (codes - mean).square()).sum(dim=0) / divisor
    return Norm(torch.where(known, mean, otherwise.mean), torch.where(known, variance, otherwise.variance))


def running_norms(running: Norms, block: Norms, *, samples: Tensor) -> Norms:
    """Moments for predictions, after a block; the first block's are taken as they are. samples: learned before it, 0-dim."""
    share = torch.where(samples == 0, 1.0, MOMENTUM)
    return tuple(old.towards(new, share) for old, new in zip(running, block, strict=True))


def folded(weights: Weights, norms: Norms) -> Weights:
    """Weights with which a net without batch normalisation predicts the same."""
    return (*(norm.folded(W) for norm, W in zip(norms, weights, strict=False)), *weights[len(norms) :])
