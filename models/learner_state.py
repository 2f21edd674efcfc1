"""What a learner carries from one block to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from models.memory import Memory
from models.network import Weights
from models.normalisation import Norm, Norms
from models.scaling import Moments


@dataclass(frozen=True)
class LearnerState:
    """Immutable: a step makes a new one. Parts that a learner has no use for are empty.

    Args:
        weights: W^1 … W^{L+1}, float32.
        moments: of the inputs.
        samples: learned so far, 0-dim int64.
        memories: A^l and B^l of the hidden layers; layer 1's in fixed coordinates (see `models.scaling`).
        norms: running moments of the codes, see `models.normalisation`.
        slots: whatever else the rule carries, by name: an optimiser's moments, say.
    """

    weights: Weights
    moments: Moments
    samples: Tensor
    memories: tuple[Memory, ...] = ()
    norms: Norms = ()
    slots: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        named = {f"W.{layer}": matrix for layer, matrix in enumerate(self.weights, start=1)}
        for layer, memory in enumerate(self.memories, start=1):
            named |= {f"A.{layer}": memory.A, f"B.{layer}": memory.B}
        for layer, norm in enumerate(self.norms, start=1):
            named |= {f"norm.mean.{layer}": norm.mean, f"norm.variance.{layer}": norm.variance}
        named |= {f"moments.{name}": getattr(self.moments, name) for name in ("count", "mean", "squares")}
        return named | {"samples": self.samples} | dict(self.slots)

    def like(self, tensors: Mapping[str, Tensor]) -> LearnerState:
        """A state with these tensors in the places of this one's."""

        def series(kind: str, length: int) -> list[Tensor]:
            return [tensors[f"{kind}.{layer}"] for layer in range(1, length + 1)]

        remembered, normed = len(self.memories), len(self.norms)
        pairs = zip(series("A", remembered), series("B", remembered), strict=True)
        norms = zip(series("norm.mean", normed), series("norm.variance", normed), strict=True)
        return LearnerState(
            weights=tuple(series("W", len(self.weights))),
            moments=Moments(tensors["moments.count"], tensors["moments.mean"], tensors["moments.squares"]),
            samples=tensors["samples"],
            memories=tuple(Memory(A, B) for A, B in pairs),
            norms=tuple(Norm(mean, variance) for mean, variance in norms),
            slots={name: tensors[name] for name in self.slots},
        )
