from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import Architecture
from models.blocks import all_finite, checked_block, checked_state, unless_poisoned

CPU = torch.device("cpu")
NET = Architecture(4, (3,), 2)
X, Y, W = torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64), torch.ones(5)


def test_a_block_without_weights_weighs_one_a_sample(device: torch.device) -> None:
    x, y, w = checked_block(X, Y, None, NET, device)
    assert w.tolist() == [1] * 5
    assert {x.device.type, y.device.type, w.device.type} == {device.type}


@pytest.mark.parametrize(
    ("x", "y", "w", "message"),
    [
        (torch.zeros(4), Y, W, r"inputs must have shape \(n >= 1, 4\), not \(4,\)"),
        (torch.zeros(()), Y, W, r"inputs must have shape \(n >= 1, 4\), not \(\)"),
        (torch.zeros(5, 3), Y, W, r"inputs must have shape .* not \(5, 3\)"),
        (torch.zeros(0, 4), Y[:0], W[:0], r"inputs must have shape .* not \(0, 4\)"),
        (X, Y[:4], W, r"targets must have shape \(5,\), not \(4,\)"),
        (X, Y.unsqueeze(1), W, r"targets must have shape \(5,\), not \(5, 1\)"),
        (X, Y.float(), W, "targets must be torch.int64, not torch.float32"),
        (X, Y, W[:1], r"weight must have shape \(5,\), not \(1,\)"),
    ],
)
def test_wrong_shapes_are_refused_by_name(x: Tensor, y: Tensor, w: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_block(x, y, w, NET, CPU)


def test_targets_that_are_no_class_and_negative_weights_become_poison() -> None:
    y, w = torch.tensor([0, 1, 2, -1, 1]), torch.tensor([1.0, 0.0, 1.0, 1.0, -0.5])
    assert checked_block(X, y, w, NET, CPU)[2].isnan().tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_number_that_is_not_finite_is_found_anywhere(poison: float, dtype: torch.dtype) -> None:
    tensors = {"a": torch.full((7, 9), 3e38), "b": torch.zeros(3, dtype=dtype), "steps": torch.tensor(3)}
    assert all_finite(tensors)
    tensors["b"][2] = poison
    assert not all_finite(tensors)


def test_infinities_of_both_signs_do_not_cancel() -> None:
    assert not all_finite({"a": torch.tensor([torch.inf, -torch.inf])})


def test_a_poisoned_state_is_discarded_whole_and_a_sound_one_taken_whole() -> None:
    old = {"a": torch.zeros(2), "steps": torch.tensor(1)}
    sound, taken = unless_poisoned({"a": torch.ones(2), "steps": torch.tensor(2)}, old)
    assert (sound["a"].tolist(), sound["steps"].item(), taken.item()) == ([1, 1], 2, True)
    kept, taken = unless_poisoned({"a": torch.tensor([1.0, torch.nan]), "steps": torch.tensor(2)}, old)
    assert (kept["a"].tolist(), kept["steps"].item(), taken.item()) == ([0, 0], 1, False)


def test_what_is_taken_is_contiguous_whatever_a_solver_left() -> None:
    state, _ = unless_poisoned({"a": torch.ones(3, 2).T}, {"a": torch.zeros(2, 3)})
    assert state["a"].is_contiguous()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "state tensor 'a' is missing"),
        ({"a": torch.zeros(2), "b": torch.zeros(2)}, "state tensor 'b' is unknown"),
        ({"a": torch.zeros(3)}, r"state tensor 'a' must be \(\(2,\), torch.float32\), not \(\(3,\), torch.float32\)"),
        ({"a": torch.zeros(2).double()}, "state tensor 'a' must be .*, not .*float64"),
    ],
)
def test_a_state_of_another_form_is_refused_by_name(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_state(state, {"a": torch.zeros(2)})
