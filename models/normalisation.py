"""Batch normalisation of codes, as a part of σ: a^l = σ((c^l − mean) / deviation), per unit.

Codes stay what the paper makes them, linear outputs, so memories know nothing of it. While a block is learned, mean and
deviation are those of its codes, which couples the local problems of its samples; predictions use running ones, folded
into the weights.

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


def learning_sigmas(weight: Tensor, net: Net, running: Norms) -> list[Sigma]:
    """σ_1 … σ_L for learning one block, each normalising by the moments of whatever codes it gets.

    So a common shift of a block's codes changes nothing, and no problem's gradient asks for one.

    Args: weight: (n,), of the samples in the moments; running: for a block of one row.
    """
    hidden = net.layers[:-1]
    if not net.batch_norm:
        return sigmas_of(hidden)
    return [_normalising(layer, weight, norm) for layer, norm in zip(hidden, running, strict=True)]


def _normalising(layer: Layer, weight: Tensor, running: Norm) -> Sigma:
    return lambda codes: _moments(layer.per_row(codes), weight, running).sigma(layer)(codes)


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


def running_norms(running: Norms, codes: Sequence[Tensor], weight: Tensor, net: Net, *, samples: Tensor) -> Norms:
    """Moments for predictions, after a block; those of the first one are taken as they are.

    Args: codes: c^1 … c^L of the forward pass; samples: learned before, 0-dim.
    """
    share = torch.where(samples == 0, 1.0, MOMENTUM)
    layers = zip(running, net.layers, codes, strict=False)
    return tuple(old.towards(_moments(layer.per_row(c.detach()), weight, old), share) for old, layer, c in layers)


def folded(weights: Weights, norms: Norms) -> Weights:
    """Weights with which a net without batch normalisation predicts the same."""
    return (*(norm.folded(W) for norm, W in zip(norms, weights, strict=False)), *weights[len(norms) :])
