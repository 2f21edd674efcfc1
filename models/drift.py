"""Has the error risen? The Page–Hinkley test as fold state: tensors in, tensors out, nothing asks the device for a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor


class Change(StrEnum):
    """Of the mean error, that is to be noticed. Falling errors are learning, rising ones drift."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True)
class DriftState:
    """What a test has seen since its start or since its last detection, all on the device; zeros at the start.

    Args:
        samples: counted, 0-dim int64.
        total: sum of their errors, 0-dim float64.
        sums: m_t = α m_{t−1} + (x_t − mean_t) − δ, for the errors and for their negatives, (2,) float64.
        lowest: the least of these so far, (2,) float64.
    """

    samples: Tensor
    total: Tensor
    sums: Tensor
    lowest: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> DriftState:
        return cls(**tensors)

    @classmethod
    def fresh(cls, device: torch.device) -> DriftState:
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return cls(torch.zeros((), dtype=torch.int64, device=device), zero, zero.new_zeros(2), zero.new_zeros(2))


@dataclass(frozen=True)
class PageHinkley:
    """Drift is detected where m_t − min m exceeds `threshold`; the test then starts anew with the next sample.

    Source: Page 1954; Sebastião & Fernandes 2017; detections are those of river.drift.PageHinkley, sample by sample.
    Differs from river's: whole blocks at once, samples that do not count, and the default direction.

    Args:
        delta: δ, change of the mean error that is tolerated, in the error's unit.
        threshold: sum of deviations beyond δ that is drift; the larger, the fewer false alarms and the later a true one.
        min_samples: before the first detection, and between two.
        alpha: share of the sum that is kept over one sample; it forgets in about 1/(1 − α) samples, 1 never.
        change: direction that is noticed.

    Raises: ValueError.

    >>> test, state = PageHinkley(threshold=5.0), DriftState.fresh(torch.device("cpu"))
    >>> state, drifted = test.updated(state, torch.tensor([0.0] * 40 + [1.0] * 40))
    >>> drifted.nonzero().flatten().tolist()
    [45]
    """

    delta: float = 0.005
    threshold: float = 50.0
    min_samples: int = 30
    alpha: float = 0.9999
    change: Change = Change.UP

    def __post_init__(self) -> None:
        if not 0 <= self.delta < math.inf:
            raise ValueError(f"delta must be non-negative and finite, not {self.delta}")
        if not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold must be positive and finite, not {self.threshold}")
        if self.min_samples < 1:
            raise ValueError(f"min_samples must be at least 1, not {self.min_samples}")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must be in (0, 1], not {self.alpha}")

    def updated(
        self, state: DriftState, errors: Tensor, counted: Tensor | None = None, *, ask: bool = False
    ) -> tuple[DriftState, Tensor]:
        """The state after one block, and at which of its samples drift was detected, (n,) bool.

        However a stream is cut into blocks, detections are the same and states equal up to rounding. An error that counts
        and is not finite leaves a state that is not.

        Args:
            errors: one a sample, in order, (n,): 0 and 1, or losses.
            counted: (n,) bool; the test is as if the others had not been, time included. All when omitted.
            ask: whether the device may be asked for what it found, which spares work where that costs no waiting.
        """
        n = len(errors)
        if counted is None:
            counted = torch.ones(n, dtype=torch.bool, device=errors.device)
        positions = torch.arange(n, device=errors.device)
        detected, start = torch.zeros_like(counted), positions.new_zeros(())
        for _ in range(1 + math.ceil((n - 1) / self.min_samples)):  # a block has no more detections than this
            state, first = self._until_detection(state, errors.double(), counted & (positions >= start))
            detected = detected | (positions == first)
            start = first + 1
            if ask and first == n:
                break
        return state, detected

    def _until_detection(self, state: DriftState, errors: Tensor, live: Tensor) -> tuple[DriftState, Tensor]:
        """Walks over the live samples up to the first detection; its position, n if there is none, and the state there."""
        n = len(errors)
        x = torch.where(live, errors, 0).unsqueeze(1)
        ones = torch.ones_like(x)
        samples = state.samples + live.cumsum(dim=0)
        totals = _decayed_sums(x, ones, state.total)
        deviations = x - totals / samples.clamp_min(1).unsqueeze(1)
        steps = torch.where(live.unsqueeze(1), torch.cat([deviations, -deviations], dim=1) - self.delta, 0)
        sums = _decayed_sums(steps, torch.where(live.unsqueeze(1), self.alpha * ones, 1), state.sums)
        lowest = torch.minimum(state.lowest, sums.cummin(dim=0).values)
        beyond = self._noticed(sums - lowest > self.threshold) & live & (samples >= self.min_samples)
        first = torch.where(beyond, torch.arange(n, device=errors.device), n).amin()
        last = DriftState(samples[-1], totals[-1, 0], sums[-1], lowest[-1])
        return DriftState(**{name: torch.where(first < n, 0, tensor) for name, tensor in last.tensors().items()}), first

    def _noticed(self, beyond: Tensor) -> Tensor:
        """(n,) of (n, 2): up, down."""
        match self.change:
            case Change.UP:
                return beyond[:, 0]
            case Change.DOWN:
                return beyond[:, 1]
            case Change.BOTH:
                return beyond.any(dim=1)


def _decayed_sums(values: Tensor, keep: Tensor, start: Tensor) -> Tensor:
    """S_i = keep_i S_{i−1} + v_i, (n, k), from S_{−1} = start; in log₂ n steps, always in the same order of additions.

    Args: values: (n, k); keep: (n, 1); start: (k,) or 0-dim.
    """
    sums = torch.cat([values[:1] + keep[:1] * start, values[1:]])
    reach = 1
    while reach < len(values):
        sums = torch.cat([sums[:reach], sums[reach:] + keep[reach:] * sums[:-reach]])
        keep = torch.cat([keep[:reach], keep[reach:] * keep[:-reach]])
        reach *= 2
    return sums
