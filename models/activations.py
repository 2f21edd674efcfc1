"""Nonlinearities σ of hidden layers. Gradients go through them by autograd, a local problem at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Activation:
    """σ, elementwise on codes of any shape.

    Args:
        name: under which a net asks for it.
        function: σ; differentiable almost everywhere, or with a derivative of its own.
        slope: the largest |σ′|.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    slope: float = 1.0

    def __call__(self, codes: Tensor) -> Tensor:
        return self.function(codes)


class _Sign(Function):
    """±1, with the derivative of tanh in the place of its own, which is 0 wherever it exists.

    Source: Bengio et al. 2013, the straight-through estimator; that tanh lies under the step is the published code's.
    """

    @staticmethod
    def forward(ctx: Any, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        return torch.where(codes < 0, -1.0, 1.0).to(codes.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        codes: Tensor = ctx.saved_tensors[0]
        return gradient * (1 - codes.tanh().square())


def _sign(codes: Tensor) -> Tensor:
    signs: Tensor = _Sign.apply(codes)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return signs


RELU = Activation("relu", torch.relu)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        RELU,
        Activation("tanh", torch.tanh),
        Activation("sigmoid", torch.sigmoid, slope=0.25),
        Activation("identity", lambda codes: codes),
        Activation("sign", _sign),
        Activation("hard-sigmoid", lambda codes: codes.clamp(0, 1)),
    )
}
"""By name; whoever adds one here can use it in every net."""
