"""Growth: a larger net takes over the state of a smaller one and is, until it learns, the same function.

Only the input and the output of a fully connected net grow; its hidden layers keep their sizes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def grown_state(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state`, padded to the shapes of a learner's for a net with more inputs, more outputs, or both.

    - A new feature has columns of zeros in W¹, and zeros in A¹, B¹, the moments and an optimiser's slots: as if it had been
      there from the start, missing in every sample, under weights that were 0.
    - A new class's row of the top layer is the mean of the others' rows, so that its output is the mean of theirs: ratios
      of the old classes' probabilities stay, the largest output stays the largest, and of m classes before no new one
      gets more than 1/(m + 1).

    Predictions for samples without a value of the new features hence do not change, and none changes its class.

    Args:
        state: of the smaller net, as `Learner.state_dict` answers it.
        like: of a learner made alike for the larger net; its shapes alone count.
    Returns: for that learner's `load_state_dict`.
    Raises: ValueError naming the tensor that is missing, superfluous or larger in `state`.

    >>> small, large = torch.tensor([[1.0, 2.0]]), torch.empty(2, 2)  # two units over a bias; one class becomes two
    >>> grown_state({"W.1": torch.ones(1, 2), "W.2": small}, {"W.1": torch.empty(1, 3), "W.2": large})
    {'W.1': tensor([[1., 0., 1.]]), 'W.2': tensor([[1., 2.],
            [1., 2.]])}
    """
    for name in sorted(state.keys() ^ like.keys()):
        raise ValueError(f"state tensor {name!r} is {'unknown' if name in state else 'missing'}")
    top = f"W.{sum(name.startswith('W.') for name in state)}"
    grown = {name: _padded(name, tensor, tuple(like[name].shape)) for name, tensor in state.items()}
    old = grown[top][: len(state[top])]
    new_rows = len(grown[top]) - len(old)
    if new_rows:
        grown[top] = torch.cat([old, old.mean(dim=0, keepdim=True).expand(new_rows, -1)])
    return grown


def _padded(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """With zeros up to `shape`: at the end of an axis, but before the bias, which comes last on axes of a fan-in."""
    if tensor.ndim != len(shape) or any(new < old for new, old in zip(shape, tensor.shape, strict=True)):
        raise ValueError(f"state tensor {name!r} cannot grow from {tuple(tensor.shape)} to {shape}")
    last = tensor.ndim - 1
    of_fan_in = (last - 1, last) if {"A", "P"} & set(name.split(".")) else (last,)
    for axis, size in enumerate(shape):
        more = size - tensor.shape[axis]
        if not more:
            continue
        end = tensor.shape[axis] - (1 if tensor.ndim > 1 and axis in of_fan_in else 0)
        before, after = tensor.narrow(axis, 0, end), tensor.narrow(axis, end, tensor.shape[axis] - end)
        padding = [0, 0] * (tensor.ndim - 1 - axis) + [0, more]
        tensor = torch.cat([functional.pad(before, padding), after], dim=axis)
    return tensor
