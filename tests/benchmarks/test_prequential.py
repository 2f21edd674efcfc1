from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarks.baselines import LastClass, MostFrequent
from benchmarks.prequential import prequential, prequential_accuracy


class Memoriser:
    """Knows the class of exactly the inputs that it has learned, and says class 0 of any other."""

    def __init__(self) -> None:
        self.known: dict[float, int] = {}
        self.calls: list[str] = []

    def predict(self, inputs: Tensor) -> Tensor:
        self.calls.append(f"predict {len(inputs)}")
        return one_hot(torch.tensor([self.known.get(float(x), 0) for x in inputs]), 3)

    def learn(self, inputs: Tensor, targets: Tensor) -> None:
        self.calls.append(f"learn {len(inputs)}")
        self.known |= {float(x): int(y) for x, y in zip(inputs, targets, strict=True)}


def test_every_block_is_predicted_before_it_is_learned_the_first_included() -> None:
    learner = Memoriser()
    x = torch.tensor([[1.0], [2.0], [1.0], [2.0], [3.0]])
    y = torch.tensor([1, 2, 1, 2, 0])
    assert list(prequential(learner, x, y, block=2)) == [0, 2, 1]
    assert learner.calls == ["predict 2", "learn 2", "predict 2", "learn 2", "predict 1", "learn 1"]
    assert prequential_accuracy(Memoriser(), x, y, block=2) == 3 / 5


def test_within_one_block_nothing_is_known_of_it() -> None:
    x, y = torch.ones(4, 1), torch.tensor([1, 1, 1, 1])
    assert [prequential_accuracy(Memoriser(), x, y, block) for block in (4, 2, 1)] == [0, 2 / 4, 3 / 4]


LABELS = torch.tensor([1, 2, 2, 1, 1, 0, 0])


def test_most_frequent_by_hand() -> None:
    # block 1 predicts 0 1 1 2 1 1 1 (the lower class among equals); block 3 predicts 0 0 0, 2 2 2, 1
    assert list(prequential(MostFrequent(3), torch.zeros(7, 1), LABELS, block=1)) == [0, 0, 0, 0, 1, 0, 0]
    y = torch.tensor([1, 2, 2, 2, 1, 1, 1])
    assert list(prequential(MostFrequent(3), torch.zeros(7, 1), y, block=3)) == [0, 1, 1]


def test_last_class_by_hand() -> None:
    # block 1 predicts 0 1 2 2 1 1 0; block 3 predicts 0 0 0, 2 2 2, 0
    assert list(prequential(LastClass(3), torch.zeros(7, 1), LABELS, block=1)) == [0, 0, 1, 0, 1, 0, 1]
    assert list(prequential(LastClass(3), torch.zeros(7, 1), LABELS, block=3)) == [0, 0, 1]
