"""Blocks of labelled samples on their way into a learner: shapes checked, tensors moved to its device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.network import Net


def checked_block(
    inputs: Tensor, targets: Tensor, weight: Tensor | None, net: Net, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(x, y, w) on `device`, w as float32, all 1 when it was None, and y as float32 unless it names classes.

    A target out of range and a weight below 0 become the weight NaN, which no update survives: values are judged on the
    device, where asking would mean waiting.

    Raises: ValueError naming the argument and its shape or dtype.
    """
    if inputs.ndim != 2 or inputs.shape[0] == 0 or inputs.shape[1] != net.inputs:
        raise ValueError(f"inputs must have shape (n >= 1, {net.inputs}), not {tuple(inputs.shape)}")
    n = inputs.shape[0]
    shape = (n,) if net.loss.classes else (n, net.outputs)
    if targets.shape != shape:
        raise ValueError(f"targets must have shape {shape}, not {tuple(targets.shape)}")
    if net.loss.classes != (targets.dtype == torch.int64) or targets.is_complex():
        raise ValueError(f"targets must be {'torch.int64' if net.loss.classes else 'floats'}, not {targets.dtype}")
    if weight is not None and weight.shape != (n,):
        raise ValueError(f"weight must have shape ({n},), not {tuple(weight.shape)}")
    x, y = inputs.to(device), targets.to(device)
    w = torch.ones(n, device=device) if weight is None else weight.to(device).float()
    if net.loss.classes:
        legal = (y >= 0) & (y < net.outputs)
    else:
        y = y.float()
        legal = (y.isfinite() & (y >= net.loss.low) & (y <= net.loss.high)).all(dim=1)
    return x, y, torch.where(legal & (w >= 0), w, torch.nan)


def checked_state(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state` on the devices of `like`'s.

    Raises: ValueError naming the tensor that is missing, superfluous or of another shape or dtype.
    """
    for name in sorted(state.keys() ^ like.keys()):
        raise ValueError(f"state tensor {name!r} is {'unknown' if name in state else 'missing'}")
    for name, tensor in state.items():
        if tensor.shape != like[name].shape or tensor.dtype != like[name].dtype:
            expected, got = ((tuple(t.shape), t.dtype) for t in (like[name], tensor))
            raise ValueError(f"state tensor {name!r} must be {expected}, not {got}")
    return {name: tensor.to(like[name].device) for name, tensor in state.items()}


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def unless_poisoned(new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """`new` if all of it is finite, else `old`; and the 0-dim bool that says which. Neither waits for the device.

    Results are contiguous: the layout of a matrix decides the order in which BLAS adds, and a state that was stored and
    loaded, hence contiguous, must go on bit for bit like one that was not.
    """
    finite = all_finite(new)
    return {name: torch.where(finite, new[name], old[name]).contiguous() for name in old}, finite


def all_finite(tensors: Mapping[str, Tensor]) -> Tensor:
    """Whether no tensor holds NaN or ±inf: 0-dim bool, left on the device."""
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    return torch.stack([tensor.sum(dtype=torch.float64).isfinite() for tensor in floats]).all()
