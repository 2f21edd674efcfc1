"""Epochs over a data set, for learners that otherwise see a stream: the paper's multi-epoch and offline runs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.errors import ArgumentError
from models.learner import Learner


def fit(
    learner: Learner,
    inputs: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    *,
    epochs: int,
    block: int | None,
    seed: int = 0,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> int:
    """Learns a data set over and over, each epoch in an order of its own.

    With `block=None` the whole set is one block, in its own order: AM-mem-off and AM-Adam-off are AM-mem and AM-Adam run
    like that (the paper's section 4), one iteration an epoch.

    Args:
        inputs, targets, weight: as in `Learner.learn`, n samples.
        epochs: at least 1; at the end of each the learner's schedules that count epochs move on.
        block: samples a block, at least 1, the last one maybe smaller; None for all.
        seed: of the orders.
        on_epoch: called with the number of each epoch that is over, from 1: for progress bars and learning curves.
    Returns: how many blocks were discarded because their update was not finite.
    Raises: ArgumentError; ValueError as `Learner.learn`.
    """
    if epochs < 1:
        raise ArgumentError("epochs", "at least 1", epochs)
    if block is not None and block < 1:
        raise ArgumentError("block", "at least 1, or None", block)
    generator = torch.Generator().manual_seed(seed)
    finite: list[Tensor] = []
    for epoch in range(1, epochs + 1):
        whole = block is None or block >= len(inputs)
        order = torch.arange(len(inputs)) if whole else torch.randperm(len(inputs), generator=generator)
        for chosen in torch.split(order, len(inputs) if block is None else block):
            finite.append(learner.learn(inputs[chosen], targets[chosen], None if weight is None else weight[chosen]))
        learner.end_epoch()
        on_epoch(epoch)
    return len(finite) - int(torch.stack(finite).sum())
