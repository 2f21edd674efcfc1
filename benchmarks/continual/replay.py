"""Experience replay: stored samples are learned again beside the new ones."""

from __future__ import annotations

import torch
from torch import Tensor

from models.learner import Learner


class Reservoir:
    """A uniform sample, without replacement, of all samples seen so far.

    Args: capacity: samples, at least 1.
    Source: Vitter 1985, Algorithm R. Differs: nothing.
    """

    def __init__(self, capacity: int, inputs: int, seed: int) -> None:
        self.x = torch.zeros(capacity, inputs)
        self.y = torch.zeros(capacity, dtype=torch.int64)
        self.seen = 0
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return min(self.seen, len(self.y))

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        for x, y in zip(inputs, targets, strict=True):
            place = self.seen
            if place >= len(self.y):
                place = int(torch.randint(self.seen + 1, (), generator=self.generator))
            if place < len(self.y):
                self.x[place], self.y[place] = x, y
            self.seen += 1

    def draw(self, samples: int) -> tuple[Tensor, Tensor]:
        """At most so many, without replacement."""
        chosen = torch.randperm(len(self), generator=self.generator)[:samples]
        return self.x[chosen], self.y[chosen]


class Replay:
    """Every block is learned together with as many samples drawn from a reservoir, then offered to the reservoir.

    Args:
        learner: does the learning.
        capacity: of the reservoir; it is plain: not balanced by class.
        steps: how often the block is learned, each time with an own draw.
        seed: of the draws.
    Source: Chaudhry et al. 2019, "On tiny episodic memories" (ER-Reservoir). Differs: nothing but the sizes.
    """

    def __init__(self, learner: Learner, *, capacity: int, steps: int, inputs: int, seed: int) -> None:
        self.learner = learner
        self.steps = steps
        self.reservoir = Reservoir(capacity, inputs, seed)

    def predict(self, inputs: Tensor) -> Tensor:
        return self.learner.predict(inputs)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        for _ in range(self.steps):
            old_x, old_y = self.reservoir.draw(len(targets))
            self.learner.learn(torch.cat([inputs, old_x]), torch.cat([targets, old_y]))
        self.reservoir.add(inputs, targets)

    def state_dict(self) -> dict[str, Tensor]:
        return self.learner.state_dict() | {"buffer.x": self.reservoir.x, "buffer.y": self.reservoir.y}
