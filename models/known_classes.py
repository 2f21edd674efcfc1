"""Which samples an error says something about: those of classes that were learned before they were predicted.

Nobody predicts a class that it has never seen, so the errors on a new class say nothing about drift, nor about which of two
predictors is better. Counts are those before the block: all of it was predicted before any of it was learned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses import one_hot


def no_counts(classes: int, device: torch.device) -> Tensor:
    """Samples learned of each class so far, (classes,) int64: a part of the state. A class that is added starts at 0."""
    return torch.zeros(classes, dtype=torch.int64, device=device)


def updated_counts(counts: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """With one block learned.

    Args:
        counts: (m,).
        targets: class indices, (n,); one out of range counts nowhere.
        weight: (n,); a sample of weight 0 was not learned and does not count, any other counts once.
    """
    return counts + (one_hot(targets, len(counts)) & (weight > 0).unsqueeze(1)).sum(dim=0)


def of_known_classes(targets: Tensor, counts: Tensor, more_than: int) -> Tensor:
    """(n,) bool: whether a sample's class had been learned from more than so many samples, before this block.

    Args: targets: (n,); counts: before the block, (m,).
    """
    return (one_hot(targets, len(counts)) & (counts > more_than)).any(dim=1)
