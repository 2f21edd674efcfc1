"""Which classes a stream has lately held: whether some that it knows well are absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

PRIOR = 2000.0
"""Samples that count as seen before the first, spread evenly over the classes."""
RARE = 0.1
"""A class is absent when its share of late is below this part of its share of all."""
MOST_ABSENT = 0.05
"""Share of all samples whose classes may be absent without anything following from it."""


@dataclass(frozen=True)
class Presence:
    """Weighted counts per class, (m,) float64, discounted or not. Time counts samples.

    Args: recent: discounted by τ; latest: by τ/5; ever: not.
    """

    recent: Tensor
    latest: Tensor
    ever: Tensor

    @classmethod
    def unknown(cls, classes: int, device: torch.device) -> Presence:
        zeros = torch.zeros(classes, dtype=torch.float64, device=device)
        return cls(zeros, zeros.clone(), zeros.clone())

    def updated(self, one_hot: Tensor, weight: Tensor, *, tau: float) -> Presence:
        """With one block more: one_hot (n, m), weight (n,)."""
        n, counts = len(weight), (weight @ one_hot.to(weight.dtype)).double()
        recent, latest = math.exp(-n / tau) * self.recent, math.exp(-5 * n / tau) * self.latest
        return Presence(recent + counts, latest + counts, self.ever + counts)

    def absent(self) -> Tensor:
        """Whether classes that make up more than MOST_ABSENT of all samples are absent of late: 0-dim bool."""
        return (self._expected() * self._is_rare(self.recent)).sum() > MOST_ABSENT

    def present(self) -> Tensor:
        """The classes of the very latest samples, (m,) bool."""
        return ~self._is_rare(self.latest)

    def known(self) -> Tensor:
        """The classes that were seen at all, (m,) bool."""
        return self.ever > 0

    def _is_rare(self, counts: Tensor) -> Tensor:
        return self._share(counts) < RARE * self._expected()

    def _expected(self) -> Tensor:
        return self._share(self.ever + PRIOR / len(self.ever))

    @staticmethod
    def _share(counts: Tensor) -> Tensor:
        return counts / counts.sum().clamp_min(torch.finfo(counts.dtype).tiny)

    def tensors(self) -> dict[str, Tensor]:
        return {f"presence.{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Presence:
        return cls(**{field.name: tensors[f"presence.{field.name}"] for field in fields(cls)})
