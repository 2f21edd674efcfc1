"""Eq. 8: stochastic alternating minimisation over K blocks of variables θ_1 … θ_K, each kept in a ball."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from models.errors import ArgumentError

Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Scheme(Generic[Sample]):
    """θ_d ← Π_d(θ_d − η ∇_d f¹(θ_1 … θ_K)) for d = 1 … K in order, each gradient on one sample and on what is newest.

    Leading dimensions of θ_d are independent repetitions; norms run over the last.

    Args:
        starts: θ_1⁰ … θ_K⁰, (…, n_d) each, float64.
        radii: r_1 … r_K, each positive. θ_d stays within r_d/2 of θ_d⁰, so within r_d of any optimum that is that near.
        gradient: (d, [θ_1 … θ_K], sample) → ∇_d f¹, (…, n_d), with d from 0; f is minimised, f = −L.
    Raises: ArgumentError.
    Source: section 3, eq. 8.
    Differs from the paper: θ_{d−1} is already at t+1 (printed: t). A step takes one sample *per block*: the proof of
        Theorem 3.1 sets E[∇_d L¹] = ∇_d L at (θ_1^{t+1} … θ_{d−1}^{t+1}, θ_d^t …), which a sample that already moved
        θ_1^{t+1} does not give: it is off by O(η), and (9) given θ^t can then fail. Pass one sample K times for that.
    """

    starts: Sequence[Tensor]
    radii: Sequence[float]
    gradient: Callable[[int, Sequence[Tensor], Sample], Tensor]

    def __post_init__(self) -> None:
        if not self.starts or any(start.dtype != torch.float64 or start.dim() == 0 for start in self.starts):
            shapes = [(start.dtype, tuple(start.shape)) for start in self.starts]
            raise ArgumentError("starts", "one or more float64 tensors with a dimension", shapes)
        if len(self.radii) != len(self.starts) or not all(radius > 0 for radius in self.radii):
            raise ArgumentError("radii", f"{len(self.starts)} positive numbers", self.radii)

    def step(self, thetas: Sequence[Tensor], samples: Sequence[Sample], eta: float) -> list[Tensor]:
        """One iteration: θ^t → θ^{t+1}.

        Args:
            thetas: θ_1^t … θ_K^t.
            samples: what each block's gradient is taken on.
            eta: η^t, positive.
        Raises: ArgumentError.
        """
        if len(thetas) != len(self.starts):
            raise ArgumentError("thetas", f"{len(self.starts)} tensors", len(thetas))
        if len(samples) != len(self.starts):
            raise ArgumentError("samples", f"{len(self.starts)}, one a block", len(samples))
        if not eta > 0:
            raise ArgumentError("eta", "positive", eta)
        newest = list(thetas)
        for d, sample in enumerate(samples):
            moved = newest[d] - eta * self.gradient(d, newest, sample)
            newest[d] = project(moved, self.starts[d], self.radii[d] / 2)
        return newest

    def run(self, eta: Callable[[int], float], samples: Iterable[Sequence[Sample]]) -> Iterator[list[Tensor]]:
        """Yields θ^1, θ^2 … from the starts, as long as there are samples.

        Args:
            eta: t → η^t, from t = 0; `Rate.eta` for Theorem 3.2.
            samples: for each iteration one sample a block.
        """
        thetas = list(self.starts)
        for t, per_block in enumerate(samples):
            thetas = self.step(thetas, per_block, eta(t))
            yield thetas


def project(point: Tensor, center: Tensor, radius: float) -> Tensor:
    """Π: the nearest point of the ball B₂(radius, center); norms over the last dimension. Raises: ArgumentError."""
    if not radius > 0:
        raise ArgumentError("radius", "positive", radius)
    offset = point - center
    norm = torch.linalg.vector_norm(offset, dim=-1, keepdim=True)
    return torch.where(norm > radius, center + offset * (radius / norm), point)
