from __future__ import annotations

import pytest
import torch

from models.errors import ArgumentError
from models.forgetting import average_accuracy, backward_transfer, forgetting

NAN = float("nan")
R = torch.tensor([[0.9, NAN, NAN], [0.95, 0.8, NAN], [0.5, 0.9, 0.7]])


def test_the_average_is_that_of_the_last_row() -> None:
    assert float(average_accuracy(R)) == pytest.approx((0.5 + 0.9 + 0.7) / 3)


def test_backward_transfer_compares_the_end_with_when_a_task_was_learned() -> None:
    assert float(backward_transfer(R)) == pytest.approx(((0.5 - 0.9) + (0.9 - 0.8)) / 2)


def test_forgetting_compares_the_best_before_the_end_with_the_end() -> None:
    assert float(forgetting(R)) == pytest.approx(((0.95 - 0.5) + (0.8 - 0.9)) / 2)


def test_tasks_still_to_come_are_never_read() -> None:
    full = R.nan_to_num(1.0)
    for figure in (average_accuracy, backward_transfer, forgetting):
        assert figure(full) == figure(R)


@pytest.mark.parametrize("figure", [backward_transfer, forgetting])
def test_one_task_has_nothing_to_forget(figure: object) -> None:
    assert callable(figure)
    assert float(average_accuracy(torch.ones(1, 1))) == 1
    with pytest.raises(ArgumentError, match="at least 2 tasks"):
        figure(torch.ones(1, 1))


@pytest.mark.parametrize("wrong", [torch.ones(2, 3), torch.ones(2), torch.tensor([[1.0, 1.0], [NAN, 1.0]])])
def test_what_is_no_accuracy_matrix_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ArgumentError, match="R must be"):
        average_accuracy(wrong)
