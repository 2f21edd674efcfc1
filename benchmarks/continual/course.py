"""A learner's way through tasks, and the figures of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.continual.ewc import EWC
from benchmarks.continual.methods import JOINT, JOINT_EPOCHS, Keeps, create
from benchmarks.continual.state_size import state_floats
from benchmarks.continual.tasks import Task
from benchmarks.prequential import accuracy
from benchmarks.scenario import Variant
from models import Architecture
from models.forgetting import average_accuracy, backward_transfer, forgetting


def figures(
    tasks: Sequence[Task], net: Architecture, method: str, variant: Variant, block: int, seed: int
) -> dict[str, float]:
    """Of one pass through the tasks: the seed is of the order within them and of the initialisation."""
    learner = create(net, method, variant, seed)
    if method == JOINT:
        learn_jointly(learner, tasks, block, seed)
        last = accuracies(learner, tasks)
        stored = sum(task.train.x.numel() + task.train.y.numel() for task in tasks)
        matrix = None
    else:
        matrix = learn_in_turn(learner, tasks, block, seed)
        last, stored = matrix[-1], 0
    sizes = torch.tensor([len(task.test.y) for task in tasks], dtype=torch.float64)
    found = {"final": float(last @ sizes / sizes.sum()), "average_accuracy": float(last.mean())}
    if matrix is not None:
        found["average_accuracy"] = float(average_accuracy(matrix))
        found |= {"backward_transfer": float(backward_transfer(matrix)), "forgetting": float(forgetting(matrix))}
    return found | {"state_floats": float(state_floats(learner.state_dict()) + stored)}


def learn_in_turn(learner: Keeps, tasks: Sequence[Task], block: int, seed: int) -> Tensor:
    """Returns: the accuracy matrix (T, T) of `models.forgetting`, NaN for tasks still to come."""
    matrix = torch.full((len(tasks), len(tasks)), torch.nan, dtype=torch.float64)
    for number, task in enumerate(tasks):
        x, y = task.samples(seed)
        for inputs, targets in zip(torch.split(x, block), torch.split(y, block), strict=True):
            learner.learn(inputs, targets)
        if isinstance(learner, EWC):
            learner.end_task(x)
        matrix[number, : number + 1] = accuracies(learner, tasks[: number + 1])
    return matrix


def learn_jointly(learner: Keeps, tasks: Sequence[Task], block: int, seed: int) -> None:
    parts = [task.samples(seed) for task in tasks]
    x, y = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(JOINT_EPOCHS):
        for chosen in torch.split(torch.randperm(len(y), generator=generator), block):
            learner.learn(x[chosen], y[chosen])


def accuracies(learner: Keeps, tasks: Sequence[Task]) -> Tensor:
    return torch.tensor([accuracy(learner, task.tested) for task in tasks], dtype=torch.float64)
