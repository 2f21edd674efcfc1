"""How much a learner keeps from one block to the next, in numbers, so that accuracy is compared at equal state."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

ROUNDING = 1e-5


def state_floats(state: Mapping[str, Tensor]) -> int:
    """How many numbers persist, whatever their precision; of symmetric matrices, a stack of them too, one triangle."""
    return sum(_numbers(tensor) for tensor in state.values())


def _numbers(tensor: Tensor) -> int:
    if not _is_symmetric(tensor):
        return tensor.numel()
    side = tensor.shape[-1]
    return tensor.numel() // side**2 * (side * (side + 1) // 2)


def _is_symmetric(tensor: Tensor) -> bool:
    """But for the rounding of a product."""
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.numel() == 0:
        return False
    return bool((tensor - tensor.mT).abs().max() <= ROUNDING * tensor.abs().max())
