"""Nonlinearities σ of hidden layers, each with the derivative that the code updates need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """σ and σ′, both elementwise on codes of any shape."""

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]

    def __call__(self, codes: Tensor) -> Tensor:
        return self.function(codes)


RELU = Activation("relu", torch.relu, lambda codes: (codes > 0).to(codes.dtype))

ACTIVATIONS = {activation.name: activation for activation in (RELU,)}
