"""How much of what was learned is still known: figures of an accuracy matrix.

R[i, j] is the accuracy on task j (or class j) after task i was learned; both count from 0, and R is square. What lies
above the diagonal, the accuracy on tasks that are still to come, is never read and may be NaN.
"""

from __future__ import annotations

from torch import Tensor

from models.errors import ArgumentError


def average_accuracy(R: Tensor) -> Tensor:
    """Mean over tasks of the accuracy at the end: (1/T) Σ_j R[T−1, j].

    Args: R: (T, T).
    Returns: 0-dim.
    Raises: ArgumentError when R is not square or a number that is read is NaN.
    Source: Lopez-Paz & Ranzato 2017, eq. 2 (ACC).
    """
    return _checked(R, least=1)[-1].mean()


def backward_transfer(R: Tensor) -> Tensor:
    """Mean over all tasks but the last of what was gained since they were learned, R[T−1, j] − R[j, j]; < 0: forgotten.

    Args: R: (T, T), T ≥ 2.
    Returns: 0-dim.
    Raises: ArgumentError, as `average_accuracy`.
    Source: Lopez-Paz & Ranzato 2017, eq. 3 (BWT).
    """
    R = _checked(R, least=2)
    return (R[-1] - R.diagonal())[:-1].mean()


def forgetting(R: Tensor) -> Tensor:
    """Mean over all tasks but the last of what was lost since they were known best, max over i < T−1 of R[i, j] − R[T−1, j].

    Args: R: (T, T), T ≥ 2.
    Returns: 0-dim; negative when the end is better than all before.
    Raises: ArgumentError, as `average_accuracy`.
    Source: Chaudhry et al. 2018, eq. 3.
    """
    R = _checked(R, least=2)
    before = R[:-1, :-1]
    known = before.new_ones(before.shape).tril() > 0
    return (before.where(known, -float("inf")).amax(dim=0) - R[-1, :-1]).mean()


def _checked(R: Tensor, *, least: int) -> Tensor:
    if R.ndim != 2 or R.shape[0] != R.shape[1] or len(R) < least:
        raise ArgumentError("R", f"a square matrix of at least {least} tasks", tuple(R.shape))
    if R.tril().isnan().any():
        raise ArgumentError("R", "free of NaN on and below the diagonal", R)
    return R
