"""First-order optimisers of one matrix: gradient and slots in, new matrix and slots out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

Slots = Mapping[str, Tensor]


class Optimiser(Protocol):
    """Attributes: slots: names of the tensors, each of the matrix's shape and 0 at first, that a step needs and renews."""

    @property
    def slots(self) -> tuple[str, ...]: ...

    def step(self, W: Tensor, gradient: Tensor, slots: Slots, *, steps: Tensor, lr: float) -> tuple[Tensor, Slots]:
        """Args: steps: this one's number, from 1 (0-dim int64); lr: step size."""
        ...


class Sgd:
    """Plain stochastic gradient descent. Source: Robbins & Monro 1951."""

    slots = ()

    def step(self, W: Tensor, gradient: Tensor, slots: Slots, *, steps: Tensor, lr: float) -> tuple[Tensor, Slots]:
        return W - lr * gradient, {}


class Adam:
    """Adam with β = (0.9, 0.999), ε = 1e-8. Source: Kingma & Ba 2014, Algorithm 1."""

    slots = ("first", "second")

    def step(self, W: Tensor, gradient: Tensor, slots: Slots, *, steps: Tensor, lr: float) -> tuple[Tensor, Slots]:
        beta1, beta2, epsilon = 0.9, 0.999, 1e-8
        first = beta1 * slots["first"] + (1 - beta1) * gradient
        second = beta2 * slots["second"] + (1 - beta2) * gradient.square()
        corrected_first = first / (1 - beta1 ** steps.double())
        corrected_second = second / (1 - beta2 ** steps.double())
        return W - lr * corrected_first / (corrected_second.sqrt() + epsilon), {"first": first, "second": second}
