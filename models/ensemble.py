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
from models.reflex import Reflex
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
    """State of the output layer: K candidates, all of them live but the last, the longest memory. One alone is just that.

    Args:
        views: of the memories. memories: as many.
        reflex: the candidate before the longest, which sees all that this sees, by the hidden weights as they are.
        stack: of the live candidates.
        rates: discounted prequential error rates: of the live candidates, the stack, the mixture, the longest, (K + 2,).
    """

    views: tuple[View, ...]
    memories: tuple[TopMemory, ...]
    reflex: Reflex
    stack: Stack
    rates: ErrorRates

    @classmethod
    def unknown(
        cls, views: tuple[View, ...], outputs: int, device: torch.device, *, multinomial: bool, low_rank: bool
    ) -> Ensemble:
        memories = tuple(
            no_top_memory(view.width, outputs, device, multinomial=multinomial, low_rank=low_rank) for view in views
        )
        reflex = Reflex(torch.zeros(outputs, views[-1].width, device=device))
        stack = Stack.unknown(len(views), device)
        return cls(views, memories, reflex, stack, ErrorRates.unknown(len(views) + 3, device))

    def tensors(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for number, memory in enumerate(self.memories, start=1):
            named |= memory.tensors(number)
        if self._is_single:
            return named
        named |= {f"stack.{name}": tensor for name, tensor in self.stack.tensors().items()} | {
            "V.reflex": self.reflex.V
        }
        return named | {f"errors.{name}": tensor for name, tensor in self.rates.tensors().items()}

    def like(self, tensors: Mapping[str, Tensor]) -> Ensemble:
        """A state with these tensors in the places of this one's."""
        memories = tuple(TopMemory.from_tensors(tensors, number) for number in range(1, len(self.views) + 1))
        if self._is_single:
            return replace(self, memories=memories)
        stack = Stack(tensors["stack.A"], tensors["stack.B"])
        rates = ErrorRates(tensors["errors.errors"], tensors["errors.mass"])
        return Ensemble(self.views, memories, Reflex(tensors["V.reflex"]), stack, rates)

    @property
    def _is_single(self) -> bool:
        return len(self.views) == 1

    @property
    def candidates(self) -> tuple[View, ...]:
        """What each of the K sees."""
        if self._is_single:
            return self.views
        *shorter, longest = self.views
        return (*shorter, replace(longest, averaged=False), longest)

    @property
    def _weights(self) -> list[Tensor]:
        *shorter, longest = (memory.V for memory in self.memories)
        return [longest] if self._is_single else [*shorter, self.reflex.V, longest]

    def scores(self, rows: Sequence[Tensor]) -> Tensor:
        """What each candidate says of its own rows (n, h_k): (K, n, m)."""
        return torch.stack([row @ V.T for row, V in zip(rows, self._weights, strict=True)])

    def combined(self, shares: Tensor) -> Tensor:
        """The one matrix of what is served: the candidates' weighted by shares (K,), (m, H + N + 1)."""
        activations, inputs = self.views[-1].activations, self.views[-1].inputs
        pairs = zip(self.candidates, self._weights, strict=True)
        return weighted_sum(shares, torch.stack([view.placed(V, activations, inputs) for view, V in pairs]))

    def mixture(self) -> Tensor:
        """Shares in the mixture, (K,): of the live candidates, each by itself and stacked, by their error rates."""
        if self._is_single:
            return self._alone(-1)
        of_candidates = self.rates.mixture(len(self.candidates))
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

    def longest(self) -> Tensor:
        """Shares of the longest memory alone."""
        return self._alone(-1)

    @property
    def _longest_live(self) -> int:
        return max(k for k, view in enumerate(self.views[:-1]) if view.activations)

    def trust(self) -> Tensor:
        """How far the errors of long memories are of the features, 0-dim in (0, 1]: not where the short-sighted err less.

        exp(−d/DISTRUST), d the difference of the best long memory's error rate and the best one's.
        """
        rates = self.rates.rates()
        long = torch.minimum(rates[self._longest_live], rates[-1])
        best = torch.minimum(rates[: len(self.views)].amin(), rates[-1])
        return torch.exp((best - long) / DISTRUST).float()

    def _alone(self, k: int) -> Tensor:
        shares = torch.zeros(len(self.candidates), device=self.memories[-1].mass.device)
        shares[k] = 1
        return shares

    def judged(
        self, scores: Tensor, losses: Callable[[Tensor], Tensor], targets: Tensor, weight: Tensor, *, tau: float
    ) -> Ensemble:
        """With the errors of one block, which was predicted before it is learned.

        Args:
            scores: of the candidates, (K, n, m). losses: of such scores, (…, n, m) → (…, n).
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
        classes: bool,
    ) -> Ensemble:
        """With one block remembered.

        Args:
            rows: as each candidate sees them, (n, h_k). targets: (n, m). weight: (n,).
            holds: whether the longest memory forgets nothing and counts all of the past alike, 0-dim.
            samples: learned so far, 0-dim.
            ridge, renew: see `TopMemory.updated`. classes: see `Reflex.updated`.
        """
        ages = torch.arange(len(weight), -1, -1, dtype=torch.float64, device=weight.device)
        memories = []
        of_memories = rows if self._is_single else [*rows[:-2], rows[-1]]
        for view, memory, row in zip(self.views, self.memories, of_memories, strict=True):
            keep = torch.exp(-ages / view.horizon)
            if view is self.views[-1] and math.isfinite(view.horizon):
                holding = holds & (memory.mass > 0)
                past = torch.where(holding, samples / torch.where(memory.mass > 0, memory.mass, 1), 1)
                memory, keep = memory.scaled(past), torch.where(holding, 1, keep)
            memories.append(memory.updated(row, targets, weight, keep, ridge=ridge, renew=renew))
        if self._is_single:
            return replace(self, memories=tuple(memories))
        longest = memories[-1]
        size = longest.A.diagonal().sum() / longest.mass
        reflex = self.reflex.updated(rows[-2], targets, weight, size, classes=classes)
        return replace(self, memories=tuple(memories), reflex=reflex)


def weighted_sum(shares: Tensor, parts: Tensor) -> Tensor:
    """Σ_k shares_k parts_k: (K,), (K, …) → (…)."""
    summed: Tensor = torch.tensordot(shares, parts, dims=1)
    return summed
