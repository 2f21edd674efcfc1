"""The output layer of the recommended AM-mem: top memories side by side, and what of each is served.

Every memory is a linear map of the same input, [a^L, z, 1], so that whatever shares they have, what is served is one matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.error_rates import ErrorRates
from models.stacking import Stack
from models.top_memory import TopMemory, View, no_top_memory

ACTIVATIONS_PER_SAMPLE = 8
"""A memory with a horizon of h samples sees at most this times h activations: it could not tell more apart."""
DISTRUST = 0.03
"""Of error rates, see `Ensemble.trust`."""


def views(horizons: tuple[float, ...], activations: int, inputs: int, *, averaged: bool) -> tuple[View, ...]:
    """By horizon, each on a^L and the direct inputs; beside them one on these alone, if there are; the longest last.

    Args: inputs: direct ones, 0 for none. averaged: whether the longest sees a^L by the averaged hidden weights.
    """
    *shorter, longest = horizons
    seen = [View(h, int(min(activations, ACTIVATIONS_PER_SAMPLE * h)), inputs, averaged=False) for h in shorter]
    if inputs and shorter:
        seen.append(View(shorter[-1], 0, inputs, averaged=False))
    return (*seen, View(longest, activations, inputs, averaged))


@dataclass(frozen=True)
class Ensemble:
    """State of the output layer. The longest memory is the last of K; the others are the live ones.

    Args:
        views: of the memories, (K,). memories: (K,).
        stack: of the live memories.
        rates: discounted prequential error rates: of the live memories, the stack, the mixture, the longest, (K + 2,).
    """

    views: tuple[View, ...]
    memories: tuple[TopMemory, ...]
    stack: Stack
    rates: ErrorRates

    @classmethod
    def unknown(
        cls, views: tuple[View, ...], outputs: int, device: torch.device, *, multinomial: bool, low_rank: bool
    ) -> Ensemble:
        memories = tuple(
            no_top_memory(view.width, outputs, device, multinomial=multinomial, low_rank=low_rank) for view in views
        )
        stack = Stack.unknown(len(views) - 1, device)
        return cls(views, memories, stack, ErrorRates.unknown(len(views) + 2, device))

    def tensors(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for number, memory in enumerate(self.memories, start=1):
            named |= memory.tensors(number)
        if self._is_single:
            return named
        named |= {f"stack.{name}": tensor for name, tensor in self.stack.tensors().items()}
        return named | {f"errors.{name}": tensor for name, tensor in self.rates.tensors().items()}

    def like(self, tensors: Mapping[str, Tensor]) -> Ensemble:
        """A state with these tensors in the places of this one's."""
        memories = tuple(TopMemory.from_tensors(tensors, number) for number in range(1, len(self.views) + 1))
        if self._is_single:
            return Ensemble(self.views, memories, self.stack, self.rates)
        stack = Stack(tensors["stack.A"], tensors["stack.B"])
        return Ensemble(self.views, memories, stack, ErrorRates(tensors["errors.errors"], tensors["errors.mass"]))

    @property
    def _is_single(self) -> bool:
        return len(self.views) == 1

    def scores(self, rows: Sequence[Tensor]) -> Tensor:
        """What each memory says of its own rows (n, h_k): (K, n, m)."""
        return torch.stack([row @ memory.V.T for row, memory in zip(rows, self.memories, strict=True)])

    def combined(self, shares: Tensor) -> Tensor:
        """The one matrix of what is served: the memories' weighted by shares (K,), (m, H + N + 1)."""
        activations, inputs = self.views[-1].activations, self.views[-1].inputs
        pairs = zip(self.views, self.memories, strict=True)
        return weighted_sum(shares, torch.stack([view.placed(one.V, activations, inputs) for view, one in pairs]))

    def mixture(self) -> Tensor:
        """Shares of the memories in their mixture, (K,): of the live ones, each by itself and stacked, by their error rates."""
        if self._is_single:
            return self._alone(-1)
        of_candidates = self.rates.mixture(len(self.views))
        live = of_candidates[:-1] + of_candidates[-1] * self.stack.shares()
        return torch.cat([live, live.new_zeros(1)])

    def shares(self, tolerance: Tensor | float) -> Tensor:
        """Shares in what is served, (K,): the longest alone where it errs at most `tolerance` more often than the mixture."""
        if self._is_single:
            return self._alone(-1)
        return torch.where(self.rates.is_close(-2, -1, tolerance), self._alone(-1), self.mixture())

    def longest_live(self) -> Tensor:
        """Shares of the live memory on a^L that remembers longest, alone: for codes, which shorter ones would make restless."""
        return self._alone(self._longest_live)

    @property
    def _longest_live(self) -> int:
        return max(k for k, view in enumerate(self.views[:-1]) if view.activations)

    def trust(self) -> Tensor:
        """How far the errors of long memories are of the features, 0-dim in (0, 1]: not where the short-sighted err less.

        exp(−d/DISTRUST), d the difference of the best long memory's error rate and the best one's.
        """
        rates = self.rates.rates()
        long = torch.minimum(rates[self._longest_live], rates[-1])
        best = torch.minimum(rates[: len(self.views) - 1].amin(), rates[-1])
        return torch.exp((best - long) / DISTRUST).float()

    def _alone(self, k: int) -> Tensor:
        shares = torch.zeros(len(self.views), device=self.memories[-1].mass.device)
        shares[k] = 1
        return shares

    def judged(
        self, scores: Tensor, losses: Callable[[Tensor], Tensor], targets: Tensor, weight: Tensor, *, tau: float
    ) -> Ensemble:
        """With the errors of one block, which was predicted before it is learned.

        Args:
            scores: of the memories, (K, n, m). losses: of such scores, (…, n, m) → (…, n).
            targets: (n, m). weight: (n,), 0 for what shall not count. tau: horizon in samples.
        """
        if self._is_single:
            return self
        live, longest = scores[:-1], scores[-1]
        stacked, mixed = weighted_sum(self.stack.shares(), live), weighted_sum(self.mixture(), scores)
        candidates = torch.cat([live, torch.stack([stacked, mixed, longest])])
        return replace(
            self,
            stack=self.stack.updated(live, targets, weight, tau=tau),
            rates=self.rates.updated(losses(candidates).T, weight, tau=tau),
        )

    def updated(
        self,
        rows: Sequence[Tensor],
        targets: Tensor,
        weight: Tensor,
        *,
        holds: Tensor,
        samples: Tensor,
        ridge: float,
        renew: bool,
    ) -> Ensemble:
        """With one block remembered.

        Args:
            rows: as each memory sees them, (n, h_k). targets: (n, m). weight: (n,).
            holds: whether the longest memory forgets nothing and counts all of the past alike, 0-dim.
            samples: learned so far, 0-dim.
            ridge, renew: see `TopMemory.updated`.
        """
        ages = torch.arange(len(weight), -1, -1, dtype=torch.float64, device=weight.device)
        memories = []
        for view, memory, row in zip(self.views, self.memories, rows, strict=True):
            keep = torch.exp(-ages / view.horizon)
            if view is self.views[-1] and math.isfinite(view.horizon):
                holding = holds & (memory.mass > 0)
                past = torch.where(holding, samples / torch.where(memory.mass > 0, memory.mass, 1), 1)
                memory, keep = memory.scaled(past), torch.where(holding, 1, keep)
            memories.append(memory.updated(row, targets, weight, keep, ridge=ridge, renew=renew))
        return replace(self, memories=tuple(memories))


def weighted_sum(shares: Tensor, parts: Tensor) -> Tensor:
    """Σ_k shares_k parts_k: (K,), (K, …) → (…)."""
    summed: Tensor = torch.tensordot(shares, parts, dims=1)
    return summed
