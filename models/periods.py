"""Per-class recall over the life of a stream, in at most PERIODS periods: what forgetting is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

PERIODS = 32
FIRST_LENGTH = 1000
LEAST = 20
"""Samples of a class in a period, below which its recall there says too little."""


@dataclass(frozen=True)
class Periods:
    """Fold state. When all periods are used, each two become one, so that the length doubles and the past is coarser.

    Args:
        seen, right: samples of each class, and those predicted right, per period, (PERIODS, m) int64.
        length: samples a period, 0-dim int64.
        samples: so far, 0-dim int64.
    """

    seen: Tensor
    right: Tensor
    length: Tensor
    samples: Tensor

    @classmethod
    def unknown(cls, classes: int, device: torch.device) -> Periods:
        zeros = torch.zeros(PERIODS, classes, dtype=torch.int64, device=device)
        return cls(zeros, zeros.clone(), zeros.new_tensor(FIRST_LENGTH), zeros.new_zeros(()))

    def updated(self, seen: Tensor, right: Tensor) -> Periods:
        """With one block more: of each class (m,). The block belongs to the period of its first sample."""
        full = self.samples >= PERIODS * self.length
        halved_seen, halved_right = (
            functional.pad(counts[0::2] + counts[1::2], (0, 0, 0, PERIODS // 2)) for counts in (self.seen, self.right)
        )
        length = torch.where(full, 2 * self.length, self.length)
        now = (torch.arange(PERIODS, device=seen.device) == self.samples // length).unsqueeze(1)
        return Periods(
            seen=torch.where(full, halved_seen, self.seen) + now * seen,
            right=torch.where(full, halved_right, self.right) + now * right,
            length=length,
            samples=self.samples + seen.sum(),
        )

    def recalls(self) -> Tensor:
        """(PERIODS, m) float64, NaN where a class had fewer than LEAST samples."""
        known = self.seen >= LEAST
        return torch.where(known, self.right / self.seen.clamp_min(1).double(), torch.nan)

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Periods:
        return cls(**{field.name: tensors[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Retention:
    """What became of each class's recall, (c,) each, over the c classes that two periods or more tell of.

    Args: first, peak, last: of the periods in which it was seen.
    """

    first: Tensor
    peak: Tensor
    last: Tensor

    @classmethod
    def of(cls, recalls: Tensor) -> Retention:
        """Args: recalls: (periods, m), NaN where unknown."""
        columns = [column[~column.isnan()] for column in recalls.unbind(dim=1)]
        told = [(column[0], column[:-1].max(), column[-1]) for column in columns if len(column) > 1]
        return cls(*torch.tensor(told, dtype=recalls.dtype).reshape(-1, 3).T)

    @property
    def average_accuracy(self) -> float | None:
        return float(self.last.mean()) if len(self.last) else None

    @property
    def backward_transfer(self) -> float | None:
        """Mean of last − first; negative: forgotten. Source: Lopez-Paz & Ranzato 2017, eq. 3, with periods for tasks."""
        return float((self.last - self.first).mean()) if len(self.last) else None

    @property
    def forgetting(self) -> float | None:
        """Mean of peak before − last. Source: Chaudhry et al. 2018, eq. 3."""
        return float((self.peak - self.last).mean()) if len(self.last) else None
