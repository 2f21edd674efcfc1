from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import Architecture, RunningScale, create_learner
from models.drift import DriftState, PageHinkley
from models.known_classes import no_counts, of_known_classes, updated_counts
from tests.models.test_learner_contract import NO_WAITING

CPU = torch.device("cpu")


def test_a_class_is_known_once_it_was_learned_from_more_samples_than_asked() -> None:
    counts = no_counts(3, CPU)
    y = torch.tensor([0, 0, 1])
    assert of_known_classes(y, counts, 0).tolist() == [False, False, False]
    counts = updated_counts(counts, y, torch.tensor([1.0, 0.5, 0.0]))
    assert counts.tolist() == [2, 0, 0]
    assert of_known_classes(y, counts, 1).tolist() == [True, True, False]
    assert of_known_classes(y, counts, 2).tolist() == [False, False, False]


def test_a_target_that_is_no_class_is_never_known_and_counts_nowhere(device: torch.device) -> None:
    y, counts = torch.tensor([-1, 3, 1], device=device), torch.tensor([9, 9, 9], device=device)
    with NO_WAITING:
        known = of_known_classes(y, counts, 5)
        after = updated_counts(counts, y, torch.ones(3, device=device))
    assert known.tolist() == [False, False, True]
    assert after.tolist() == [9, 10, 9]


def stream(happens: str, seed: int) -> tuple[Tensor, Tensor]:
    """Two blobs a class each; after 1,000 of 2,000 samples a third one joins them, or their labels are swapped."""
    draw = torch.Generator().manual_seed(seed)
    y, later = torch.randint(2, (2000,), generator=draw), torch.arange(2000) >= 1000
    new = later & (torch.rand(2000, generator=draw) < 1 / 3)
    if happens == "new class":
        y = torch.where(new, 2, y)
    x = 5 * torch.eye(3)[y] + torch.randn(2000, 3, generator=draw)
    return x, torch.where(later, 1 - y, y) if happens == "swap" else y


def alarms(happens: str, seed: int, *, more_than: int) -> list[int]:
    x, y = stream(happens, seed)
    net = Architecture(3, (10,), 3)
    learner = create_learner("sgd", net, hyperparameters={"lr": 0.02}, scale=RunningScale(), seed=0, device=CPU)
    test, state, counts = PageHinkley(threshold=15.0), DriftState.fresh(CPU), no_counts(3, CPU)
    found = []
    for inputs, targets in zip(torch.split(x, 8), torch.split(y, 8), strict=True):
        wrong = learner.predict(inputs).argmax(dim=1) != targets
        state, drifted = test.updated(state, wrong.double(), of_known_classes(targets, counts, more_than))
        counts = updated_counts(counts, targets, torch.ones(len(targets)))
        learner.learn(inputs, targets)
        found.append(drifted)
    return torch.cat(found).nonzero().flatten().tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_new_class_raises_no_alarm_and_swapped_labels_do(seed: int) -> None:
    everything = -1  # no class has been learned from fewer samples
    assert alarms("new class", seed, more_than=everything) != []
    assert alarms("new class", seed, more_than=30) == []
    [swapped] = alarms("swap", seed, more_than=30)
    assert 1000 <= swapped < 1040
